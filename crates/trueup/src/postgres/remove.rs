//! Taking the feed out again.

use std::time::Duration;

use super::{
    error::PostgresError,
    handle::Postgres,
    install::{INSTALL_LOCK_WAIT, execute},
    names::{PUBLICATION, SCHEMA, identifier, literal},
};

/// Names of the slots that Trueup makes begin so.
const SLOT_PATTERN: &str = r"trueup%";

/// What removing the feed would do, statement by statement.
#[derive(Clone, Debug)]
pub struct RemovePlan {
    postgres: Postgres,
    statements: Vec<String>,
    warnings: Vec<String>,
}

impl RemovePlan {
    /// Plans the removal of everything that Trueup installed into a database.
    ///
    /// # Errors
    /// [`PostgresError`] where the catalogue cannot be read.
    pub async fn new(postgres: &Postgres) -> Result<Self, PostgresError> {
        let at = postgres.shared.at("planning the removal");
        let client = postgres.shared.writer(at).await?;
        let (mut statements, mut warnings) = (Vec::new(), Vec::new());
        let read = async {
            let sql = "SELECT slot_name::text, active_pid FROM pg_replication_slots \
                       WHERE slot_name LIKE $1 AND database = current_database() AND NOT temporary ORDER BY slot_name";
            for row in client.query(sql, &[&SLOT_PATTERN]).await? {
                let slot: String = row.get(0);
                match row.get::<_, Option<i32>>(1) {
                    None => statements.push(format!("SELECT pg_drop_replication_slot({})", literal(&slot))),
                    Some(pid) => warnings.push(format!(
                        "slot `{slot}` is in use by process {pid}: stop the nodes that follow it and remove again, or \
                         the slot keeps the log"
                    )),
                }
            }
            let sql = "SELECT to_regclass('trueup.altered') IS NOT NULL, to_regnamespace('trueup') IS NOT NULL, \
                       EXISTS (SELECT FROM pg_publication WHERE pubname = $1)";
            let there = client.query_one(sql, &[&PUBLICATION]).await?;
            let (has_altered, has_schema, has_publication): (bool, bool, bool) =
                (there.get(0), there.get(1), there.get(2));
            if has_altered {
                let sql = "SELECT undo FROM trueup.altered WHERE to_regclass(relation) IS NOT NULL ORDER BY relation";
                statements.extend(client.query(sql, &[]).await?.iter().map(|row| row.get::<_, String>(0)));
            }
            if has_publication {
                statements.push(format!("DROP PUBLICATION {}", identifier(PUBLICATION)));
            }
            if has_schema {
                let sql = "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = to_regnamespace('trueup') \
                           AND c.relkind = 'r' ORDER BY c.relname";
                let ours = client.query(sql, &[]).await?;
                let drop = |row: &tokio_postgres::Row| {
                    format!("DROP TABLE {SCHEMA}.{}", identifier(row.get::<_, &str>(0)))
                };
                statements.extend(ours.iter().map(drop));
                statements.push(format!("DROP SCHEMA {SCHEMA}"));
            }
            Ok::<_, tokio_postgres::Error>(())
        };
        read.await.map_err(|e| at.error(&e))?;
        Ok(Self { postgres: postgres.clone(), statements, warnings })
    }

    /// Every statement that would be executed, in order; empty where nothing is installed.
    #[must_use]
    pub fn statements(&self) -> &[String] {
        &self.statements
    }

    /// What cannot be removed now, and what to do.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Executes the plan. Rights that were granted to a role stay.
    ///
    /// # Errors
    /// [`PostgresError`]; nothing was removed then but slots.
    pub async fn apply(&self) -> Result<(), PostgresError> {
        self.apply_within(INSTALL_LOCK_WAIT).await
    }

    /// The same with another patience for locks.
    ///
    /// # Errors
    /// As [`RemovePlan::apply`].
    pub async fn apply_within(&self, lock_wait: Duration) -> Result<(), PostgresError> {
        let all: Vec<&String> = self.statements.iter().collect();
        execute(&self.postgres, &all, lock_wait, "removing the feed").await
    }
}
