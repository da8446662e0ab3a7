//! Transactions on the database of record, with a token for what they wrote.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, Params, Row};
use trueup_core::{proof::Token, source::Outcome};

use super::{
    error::{At, SqliteError},
    handle::{Shared, Sqlite},
    pool::Lease,
    state::State,
};
use crate::noted::{After, Committed, Noted};

/// Pause between two attempts to begin a transaction while another program holds the lock.
const WRITE_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// A transaction that holds the database's only write lock: what it reads cannot change until it ends.
pub struct SqliteTx<'a> {
    conn: Mutex<Lease<'a>>,
    notes: Mutex<Vec<Arc<dyn Noted>>>,
}

impl SqliteTx<'_> {
    /// Executes one statement; how many rows it changed.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.conn.lock().prepare_cached(sql)?.execute(params)
    }

    /// The first row of a query, or none.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let conn = self.conn.lock();
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn query<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let conn = self.conn.lock();
        let mut statement = conn.prepare_cached(sql)?;
        statement.query_map(params, read)?.collect()
    }

    /// Has a row published once the transaction has committed.
    #[cfg(feature = "postgres")]
    pub(crate) fn note(&self, row: Arc<dyn Noted>) {
        self.notes.lock().push(row);
    }

    /// Runs `work` on the connection itself. It must not end the transaction.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        work(&self.conn.lock())
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
    Source(#[from] SqliteError),
}

impl Sqlite {
    /// Runs `work` in a transaction that holds the write lock from its beginning, commits, and returns a token for it. On
    /// an error, or when the future is dropped, everything is rolled back.
    ///
    /// # Errors
    /// [`WriteError::Work`] with the error of `work`; [`SqliteError::Locked`] when another program, or another transaction
    /// of this one, holds the lock for longer than [`SqliteOptions::write_lock_wait`](super::SqliteOptions::write_lock_wait).
    pub async fn write<T, E>(
        &self,
        work: impl AsyncFnOnce(&SqliteTx<'_>) -> Result<T, E>,
    ) -> Result<(T, Token), WriteError<E>> {
        let Committed { value, token, .. } = self.write_and_publish(work, None).await?;
        Ok((value, token))
    }

    /// The same; what the work has noted, and `row`, are published after the COMMIT.
    pub(crate) async fn write_and_publish<T, E>(
        &self,
        work: impl AsyncFnOnce(&SqliteTx<'_>) -> Result<T, E>,
        row: Option<&dyn Noted>,
    ) -> Result<Committed<T>, WriteError<E>> {
        let shared = &*self.shared;
        let at = shared.writing();
        let gate = tokio::time::timeout(at.patience, shared.write_gate.lock()).await;
        let turn = gate.map_err(|_| shared.locked())?;
        let tx = SqliteTx { conn: Mutex::new(shared.writers.lease(None)?), notes: Mutex::default() };
        shared.retry(&tx, "BEGIN IMMEDIATE").await?;
        let value = work(&tx).await.map_err(WriteError::Work)?;
        if tx.with(Connection::is_autocommit) {
            let reason = "ended its own transaction; leave COMMIT and ROLLBACK to the caller".to_owned();
            return Err(SqliteError::Query { reason }.into());
        }
        shared.retry(&tx, "COMMIT").await?;
        // Asked after the commit, on the connection that made it: at or after everything that was written.
        let SqliteTx { conn, notes } = tx;
        let conn = conn.into_inner();
        let token = shared.token_on(&conn)?;
        // The next writer need not wait for what follows.
        drop((conn, turn));
        let notes = notes.into_inner();
        let (end, outcome) = Outcome::open();
        end.tell(true);
        let rows = notes.iter().map(|note| &**note).chain(row);
        let published = join_all(rows.map(|row| row.publish(After::Sqlite, outcome.clone()))).await;
        Ok(Committed { value, token, published: published.into_iter().flatten().collect() })
    }
}

impl Shared {
    fn writing(&self) -> At<'_> {
        At { path: &self.path, doing: "writing", patience: self.options.write_lock_wait }
    }

    /// A token at or after everything that was committed on `conn`.
    fn token_on(&self, conn: &Connection) -> Result<Token, SqliteError> {
        let at = self.writing();
        let after = conn.unchecked_transaction().map_err(|e| at.error(e))?;
        let state = State::read(&after).map_err(|e| at.error(e))?;
        after.commit().map_err(|e| at.error(e))?;
        Ok(Token { epoch: self.epoch(&state), position: state.position() })
    }

    fn locked(&self) -> SqliteError {
        let waited_ms = self.options.write_lock_wait.as_millis() as u64;
        SqliteError::Locked { path: self.path.clone(), waited_ms, doing: "writing" }
    }

    /// Tries until the lock is free, without blocking the thread.
    async fn retry(&self, tx: &SqliteTx<'_>, sql: &str) -> Result<(), SqliteError> {
        let clock = &self.options.clock;
        let started = clock.now();
        loop {
            match tx.with(|conn| conn.execute_batch(sql)) {
                Ok(()) => return Ok(()),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    if clock.now().since(started) >= self.options.write_lock_wait {
                        return Err(self.locked());
                    }
                    tokio::time::sleep(WRITE_RETRY_PAUSE).await;
                }
                Err(error) => return Err(self.writing().error(error)),
            }
        }
    }
}
