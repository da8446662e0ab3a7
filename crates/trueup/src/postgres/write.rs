//! Transactions on the database of record, with a token for what they wrote.

use std::sync::Arc;

use deadpool_postgres::Object;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_postgres::{
    Client, Row,
    error::SqlState,
    types::{PgLsn, ToSql},
};
use trueup_core::{
    proof::{Position, Token},
    source::Outcome,
    write::Publication,
};

use super::{
    error::{At, PostgresError},
    handle::{Postgres, Shared, lease},
    load::timeline,
};
use crate::noted::{After, Committed, Noted};

/// Where the log is, asked after COMMIT. Not `pg_current_wal_lsn()`: under asynchronous commit that can be behind one's own
/// commit.
const TOKEN: &str =
    "SELECT pg_current_wal_insert_lsn(), substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";
/// Fails where there is no transaction, or a failed one, which COMMIT alone would turn into a silent rollback.
///
/// PostgreSQL ends the statement's time limit before it commits, so that the wait for a synchronous standby is never cut short
/// and called success.
const COMMIT: &str = "SAVEPOINT trueup_end; COMMIT";
/// What a caller may have set for the session must not change how a row is written that others are going to read.
const RESET: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL";

/// A transaction on the primary. Rows that it reads with a lock cannot change until it ends.
pub struct PgTx {
    client: Open,
    notes: Mutex<Vec<Arc<dyn Noted>>>,
}

/// A connection with an open transaction. If it is dropped before the end, the connection goes too, and the server rolls
/// back.
struct Open(Option<Object>);

impl Open {
    fn close(mut self) -> Option<Object> {
        self.0.take()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl PgTx {
    /// Executes one statement; how many rows it changed.
    ///
    /// # Errors
    /// Whatever PostgreSQL reports.
    pub async fn execute(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        let client = self.object();
        client.execute(&client.prepare_cached(sql).await?, params).await
    }

    /// The first row of a query, or none.
    ///
    /// # Errors
    /// Whatever PostgreSQL reports.
    pub async fn query_row(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// Whatever PostgreSQL reports.
    pub async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = self.object();
        client.query(&client.prepare_cached(sql).await?, params).await
    }

    /// The driver's own connection. Whoever uses it must not end the transaction.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.object()
    }

    /// Has a row published once the transaction has committed.
    #[cfg(feature = "sqlite")]
    pub(crate) fn note(&self, row: Arc<dyn Noted>) {
        self.notes.lock().push(row);
    }

    pub(super) fn object(&self) -> &Object {
        #[expect(
            clippy::expect_used,
            reason = "taken out only where the transaction ends, which consumes it"
        )]
        self.client.0.as_ref().expect("the transaction is open")
    }
}

/// A transaction came to nothing; everything was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The caller's own work failed.
    #[error(transparent)]
    Work(E),
    /// The database refused.
    #[error(transparent)]
    Source(#[from] PostgresError),
}

impl Postgres {
    /// Runs `work` in a transaction, commits, and returns a token for it. On an error, or when the future is dropped,
    /// everything is rolled back.
    ///
    /// An error that the database reports for the COMMIT itself, such as a broken connection, leaves open whether it
    /// happened.
    ///
    /// # Errors
    /// [`WriteError::Work`] with the error of `work`; [`PostgresError::TimedOut`] when a lock was waited for longer than
    /// [`PostgresOptions::write_lock_wait`](super::PostgresOptions::write_lock_wait).
    pub async fn write<T, E>(
        &self,
        work: impl AsyncFnOnce(&PgTx) -> Result<T, E>,
    ) -> Result<(T, Token), WriteError<E>> {
        let Committed { value, token, .. } = self.write_and_publish(work, None).await?;
        Ok((value, token))
    }

    /// The same; what the work has noted, and `row`, are published behind the COMMIT.
    pub(crate) async fn write_and_publish<T, E>(
        &self,
        work: impl AsyncFnOnce(&PgTx) -> Result<T, E>,
        row: Option<&dyn Noted>,
    ) -> Result<Committed<T>, WriteError<E>> {
        let shared = &*self.shared;
        let at = shared.writing();
        let client = lease(&shared.writers, at, at.patience).await?;
        let tx = PgTx { client: Open(Some(client)), notes: Mutex::default() };
        tx.client().batch_execute("BEGIN").await.map_err(|e| at.error(&e))?;
        let value = match work(&tx).await {
            Ok(value) => value,
            Err(error) => {
                if tx.client().batch_execute("ROLLBACK").await.is_ok() {
                    drop(tx.client.close());
                }
                return Err(WriteError::Work(error));
            }
        };
        let (token, published) = shared.commit(&tx, row, at).await?;
        drop(tx.client.close());
        Ok(Committed { value, token, published })
    }
}

impl Shared {
    fn writing(&self) -> At<'_> {
        At { patience: self.options.write_lock_wait, ..self.at("writing") }
    }

    /// Commits, and asks where the log is, in one round trip on the connection that made the commit. In the same round trip
    /// the rows to be published are loaded.
    async fn commit(
        &self,
        tx: &PgTx,
        row: Option<&dyn Noted>,
        at: At<'_>,
    ) -> Result<(Token, Vec<Publication>), PostgresError> {
        let client = tx.object();
        let ask = client.prepare_cached(TOKEN).await.map_err(|e| ended(at, &e))?;
        let notes = std::mem::take(&mut *tx.notes.lock());
        let rows: Vec<&dyn Noted> = notes.iter().map(|note| &**note).chain(row).collect();
        let (end, outcome) = Outcome::open();
        let commit = async {
            let reset = async { if rows.is_empty() { Ok(()) } else { client.batch_execute(RESET).await } };
            let (committed, reset) = tokio::join!(biased; client.batch_execute(COMMIT), reset);
            end.tell(committed.is_ok() && reset.is_ok());
            committed
        };
        let publish = join_all(rows.iter().map(|row| row.publish(After::Postgres(client), outcome.clone())));
        let (committed, row, published) = tokio::join!(biased; commit, client.query_one(&ask, &[]), publish);
        committed.map_err(|e| ended(at, &e))?;
        let token = self.token_of(&row.map_err(|e| at.error(&e))?, at)?;
        Ok((token, published.into_iter().flatten().collect()))
    }

    fn token_of(&self, row: &Row, at: At<'_>) -> Result<Token, PostgresError> {
        let timeline = timeline(row.try_get(1).ok()).ok_or_else(|| PostgresError::Database {
            place: at.place.to_owned(),
            doing: at.doing,
            code: None,
            reason: "the server answered with a strange timeline".to_owned(),
        })?;
        Ok(Token { epoch: self.epoch(timeline), position: Position(row.get::<_, PgLsn>(0).into()) })
    }

    /// A token for now: at or after every commit acknowledged before the call.
    pub(super) async fn token(&self) -> Result<Token, PostgresError> {
        let at = self.at("asking for a token");
        let client = self.asker(at).await?;
        let ask = client.prepare_cached(TOKEN).await.map_err(|e| at.error(&e))?;
        let row = client.query_one(&ask, &[]).await.map_err(|e| at.error(&e))?;
        self.token_of(&row, at)
    }
}

/// What a failure to commit means.
fn ended(at: At<'_>, error: &tokio_postgres::Error) -> PostgresError {
    let reason = match error.code() {
        Some(code) if *code == SqlState::IN_FAILED_SQL_TRANSACTION => {
            "was rolled back, because one of its statements had failed; return that error instead of going on"
        }
        Some(code) if *code == SqlState::NO_ACTIVE_SQL_TRANSACTION => {
            "was ended from within; leave COMMIT and ROLLBACK to the caller"
        }
        _ => return at.error(error),
    };
    PostgresError::Transaction { reason: reason.to_owned() }
}

impl std::fmt::Debug for PgTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgTx").finish_non_exhaustive()
    }
}
