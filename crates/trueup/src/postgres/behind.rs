//! Where accepted writes go: batches in transactions, with a note of how far each journal has come.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use trueup_core::{
    behind::{Applied, ApplyError, Batch, Change, JournalId, Sink},
    class::ClassName,
    env::BoxFuture,
    proof::Token,
    source::LoadError,
};

use super::{
    error::{At, PostgresError, words},
    handle::Postgres,
    put::{Ready, Target, is_error_of_the_row, is_of_the_row},
    row::RowLoader,
    write::{PgTx, WriteError},
};

/// How far each journal has come, and what was refused for what it holds.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS trueup.write_behind (journal bytea PRIMARY KEY, through bigint NOT NULL, \
     at timestamptz NOT NULL DEFAULT now()); \
     CREATE TABLE IF NOT EXISTS trueup.write_behind_refused (journal bytea NOT NULL, sequence bigint NOT NULL, \
     class text NOT NULL, key text NOT NULL, kind text NOT NULL, row jsonb, reason text NOT NULL, \
     at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (journal, sequence))";
/// Takes effect only where the source has nothing of the batch.
const ADVANCE: &str = "INSERT INTO trueup.write_behind AS w (journal, through) VALUES ($1, $3) ON CONFLICT (journal) \
     DO UPDATE SET through = excluded.through, at = now() WHERE w.through <= $2 RETURNING through";
const THROUGH: &str = "SELECT through FROM trueup.write_behind WHERE journal = $1";
const REFUSE: &str = "INSERT INTO trueup.write_behind_refused (journal, sequence, class, key, kind, row, reason) \
     VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7)";

/// Applies accepted writes to the tables of a PostgreSQL database.
pub struct BehindSink {
    postgres: Postgres,
    classes: BTreeMap<ClassName, RowLoader>,
}

/// Why a transaction came to nothing.
enum Fault {
    Sql(tokio_postgres::Error),
    Other(LoadError),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

/// What a transaction found.
enum Found {
    Done(Vec<usize>),
    Through(u64),
}

/// How a batch is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As few statements as can be.
    Together,
    /// One row after the other, so that one that is refused keeps back no other.
    OneByOne,
}

impl BehindSink {
    /// Writes of these classes, whose rows are those of a table.
    #[must_use]
    pub const fn new(postgres: Postgres, classes: BTreeMap<ClassName, RowLoader>) -> Self {
        Self { postgres, classes }
    }

    fn at(&self) -> At<'_> {
        self.postgres.shared.at("applying accepted writes")
    }

    async fn make_tables(&self) -> Result<(), PostgresError> {
        let at = self.at();
        let client = self.postgres.shared.writer(at).await?;
        let sql = "SELECT to_regclass('trueup.write_behind') IS NOT NULL AND \
                   to_regclass('trueup.write_behind_refused') IS NOT NULL, to_regnamespace('trueup') IS NOT NULL";
        let there = client.query_one(sql, &[]).await.map_err(|e| at.error(&e))?;
        if there.get(0) {
            return Ok(());
        }
        let schema = if there.get(1) { "" } else { "CREATE SCHEMA IF NOT EXISTS trueup; " };
        let sql = format!("BEGIN; SELECT pg_advisory_xact_lock(7282711); {schema}{TABLES}; COMMIT");
        client.batch_execute(&sql).await.map_err(|error| {
            let _ = deadpool_postgres::Object::take(client);
            match at.error(&error) {
                PostgresError::Permission { place, user, doing, reason } => PostgresError::Permission {
                    place,
                    user,
                    doing,
                    reason: format!("{reason}; or have their owner make the tables: {TABLES}"),
                },
                other => other,
            }
        })
    }

    fn target(&self, change: &Change) -> Result<(Arc<Target>, Ready), LoadError> {
        let refuse = |why: String| LoadError::Refused(why.into());
        let loader = self.classes.get(change.class.as_str()).ok_or_else(|| {
            refuse(format!(
                "class `{}` is written behind no more, and the journal holds writes of it: put it back into the plan \
                 until they are applied",
                change.class
            ))
        })?;
        let key = loader.key_form().parse(&change.key).map_err(|error| refuse(error.to_string()))?;
        let (target, values) = loader.target(&key)?;
        let ready = target.ready(&values, &change.change).map_err(refuse)?;
        Ok((target, ready))
    }

    async fn attempt(
        &self,
        journal: &JournalId,
        batch: &Batch,
        way: Way,
    ) -> Result<(Found, Token), WriteError<Fault>> {
        let (id, after, through) = (&journal[..], batch.after as i64, batch.through as i64);
        let work = async |tx: &PgTx| -> Result<Found, Fault> {
            // First of all: whoever else is at it is waited for here.
            if tx.query_row(ADVANCE, &[&id, &after, &through]).await?.is_none() {
                let row = tx.query_row(THROUGH, &[&id]).await?;
                return Ok(Found::Through(row.map_or(0, |row| row.get::<_, i64>(0) as u64)));
            }
            match way {
                Way::Together => self.together(tx, batch).await.map(|()| Found::Done(Vec::new())),
                Way::OneByOne => self.one_by_one(tx, id, batch).await.map(Found::Done),
            }
        };
        self.postgres.write(work).await
    }

    async fn together(&self, tx: &PgTx, batch: &Batch) -> Result<(), Fault> {
        let mut by_class: BTreeMap<&str, (Arc<Target>, Vec<Ready>)> = BTreeMap::new();
        for change in &batch.changes {
            let (target, ready) = self.target(change).map_err(Fault::Other)?;
            by_class.entry(&change.class).or_insert((target, Vec::new())).1.push(ready);
        }
        for (target, changes) in by_class.into_values() {
            target.apply(tx, &changes).await?;
        }
        Ok(())
    }

    async fn one_by_one(&self, tx: &PgTx, journal: &[u8], batch: &Batch) -> Result<Vec<usize>, Fault> {
        let mut refused = Vec::new();
        // A constraint that waits for the COMMIT would refuse all rows for one.
        tx.client().batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        for (place, change) in batch.changes.iter().enumerate() {
            let (target, ready) = self.target(change).map_err(Fault::Other)?;
            tx.client().batch_execute("SAVEPOINT trueup_row").await?;
            match target.apply(tx, std::slice::from_ref(&ready)).await {
                Ok(()) => tx.client().batch_execute("RELEASE trueup_row").await?,
                Err(error) if is_of_the_row(&error) => {
                    tx.client().batch_execute("ROLLBACK TO trueup_row; RELEASE trueup_row").await?;
                    let row = change.change.row().map(|row| row.to_json());
                    let row = row.as_deref().map(String::from_utf8_lossy).map(Cow::into_owned);
                    let (sequence, reason) = (change.sequence as i64, words(&error));
                    tx.execute(
                        REFUSE,
                        &[
                            &journal,
                            &sequence,
                            &change.class,
                            &change.key,
                            &change.change.as_str(),
                            &row,
                            &reason,
                        ],
                    )
                    .await?;
                    refused.push(place);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused)
    }
}

impl Sink for BehindSink {
    fn prepare<'a>(&'a self, journal: &'a JournalId) -> BoxFuture<'a, Result<u64, LoadError>> {
        Box::pin(async move {
            self.make_tables().await?;
            let at = self.at();
            let client = self.postgres.shared.writer(at).await?;
            let row = client.query_opt(THROUGH, &[&&journal[..]]).await.map_err(|e| at.error(&e))?;
            Ok(row.map_or(0, |row| row.get::<_, i64>(0) as u64))
        })
    }

    fn apply<'a>(
        &'a self,
        journal: &'a JournalId,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Applied, ApplyError>> {
        Box::pin(async move {
            let refuses_a_row = |error: &WriteError<Fault>| match error {
                WriteError::Work(Fault::Sql(error)) => is_of_the_row(error),
                WriteError::Work(Fault::Other(_)) => false,
                WriteError::Source(error) => is_error_of_the_row(error),
            };
            let tried = match self.attempt(journal, batch, Way::Together).await {
                Err(error) if refuses_a_row(&error) => self.attempt(journal, batch, Way::OneByOne).await,
                other => other,
            };
            match tried {
                Ok((Found::Done(refused), token)) => Ok(Applied { token, refused }),
                // It was applied before, and the answer was lost.
                Ok((Found::Through(through), token)) if through == batch.through => {
                    Ok(Applied { token, refused: Vec::new() })
                }
                Ok((Found::Through(through), _)) => Err(ApplyError::Moved(through)),
                Err(WriteError::Work(Fault::Sql(error))) => {
                    Err(self.at().error(&error).to_load_error().into())
                }
                Err(WriteError::Work(Fault::Other(error))) => Err(error.into()),
                Err(WriteError::Source(error)) => Err(error.to_load_error().into()),
            }
        })
    }
}

impl std::fmt::Debug for BehindSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BehindSink").field("classes", &self.classes.keys()).finish_non_exhaustive()
    }
}
