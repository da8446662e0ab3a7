//! Transactions on a SQLite file.
//!
//! Statements run in place: a few microseconds each, where a hop to another thread costs more. What can take long is
//! done without blocking: waiting for the write lock, and COMMIT, which waits for the disk.

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::Connection;
use trueup_core::env::Clock;

use super::{
    error::{failed, is_busy},
    pool::{Connections, Lease, RETRY_PAUSE},
    value::{execute, query},
};
use crate::store::{Dialect, Owned, Row, Store, StoreError, StoreErrorKind, Transaction, Value};

/// Longest wait for the write lock.
const LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// Connections that read side by side.
const READERS_DEFAULT: usize = 4;

/// Limits of a [`SqliteStore`].
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// Longest wait for the write lock, or for a place among readers.
    pub lock_wait: Duration,
    /// Connections that read side by side; there is one that writes.
    pub readers: usize,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { lock_wait: LOCK_WAIT_DEFAULT, readers: READERS_DEFAULT }
    }
}

/// A SQLite file, in WAL mode. Other processes, and other stores of this one, may use the file too.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: Arc<Connections>,
    readers: Arc<Connections>,
    lock_wait: Duration,
}

impl SqliteStore {
    /// The file at `path`, made where it is missing, with [`SqliteOptions::default`].
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self::with_options(path, SqliteOptions::default())
    }

    /// The file at `path`, made where it is missing. It is opened when the first transaction begins.
    #[must_use]
    pub fn with_options(path: impl AsRef<Path>, options: SqliteOptions) -> Self {
        let path = path.as_ref();
        Self {
            writer: Connections::new(path.to_owned(), 1),
            readers: Connections::new(path.to_owned(), options.readers.max(1)),
            lock_wait: options.lock_wait,
        }
    }

    /// Begins, again and again while another process holds the lock, without blocking the thread.
    async fn open(&self, home: &Arc<Connections>, begin: &str) -> Result<SqliteTx, StoreError> {
        let clock = Clock::system();
        let started = clock.now();
        let lease = home.lease(self.lock_wait).await?;
        let tx = SqliteTx { lease: Mutex::new(lease) };
        loop {
            match tx.with(|conn| conn.execute_batch(begin)) {
                Ok(()) => return Ok(tx),
                Err(why) if is_busy(&why) && clock.now().since(started) < self.lock_wait => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(why) => return Err(failed("beginning a transaction", &why)),
            }
        }
    }
}

impl Store for SqliteStore {
    type Tx = SqliteTx;

    async fn begin(&self) -> Result<SqliteTx, StoreError> {
        self.open(&self.writer, "BEGIN IMMEDIATE").await
    }

    async fn begin_read(&self) -> Result<SqliteTx, StoreError> {
        self.open(&self.readers, "BEGIN DEFERRED").await
    }

    async fn read(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let lease = self.readers.lease(self.lock_wait).await?;
        query(lease.conn(), sql, params)
    }
}

/// A transaction on SQLite. If it is dropped before its end, it is rolled back at once.
pub struct SqliteTx {
    lease: Mutex<Lease>,
}

impl SqliteTx {
    /// Runs `work` on the connection itself. It must not end the transaction.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        work(self.lease.lock().conn())
    }

    /// Runs a statement, unless SQLite has rolled back by itself (a full disk): what follows would commit at once.
    fn in_transaction<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(
            |conn| if conn.is_autocommit() { Err(ended_early("running a statement")) } else { work(conn) },
        )
    }

    async fn end(self, sql: &'static str, doing: &'static str) -> Result<(), StoreError> {
        let ended = tokio::task::spawn_blocking(move || {
            let lease = self.lease.into_inner();
            let conn = lease.conn();
            if conn.is_autocommit() {
                return Err(ended_early(doing));
            }
            conn.execute_batch(sql).map_err(|why| ended(doing, &why))
        });
        ended.await.unwrap_or_else(|why| {
            Err(StoreError::new(StoreErrorKind::Unknown, format!("{doing}: its thread ended: {why}")))
        })
    }
}

fn ended_early(doing: &str) -> StoreError {
    let reason =
        format!("{doing}: the transaction was ended from within, or SQLite rolled it back; begin again");
    StoreError::new(StoreErrorKind::Usage, reason)
}

/// An error of COMMIT: where the disk failed it is open what is on it.
fn ended(doing: &str, error: &rusqlite::Error) -> StoreError {
    let told = failed(doing, error);
    match told.kind() {
        StoreErrorKind::Unavailable => StoreError::new(StoreErrorKind::Unknown, told.to_string()),
        _ => told,
    }
}

impl Transaction for SqliteTx {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
        self.in_transaction(|conn| execute(conn, sql, params))
    }

    async fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.in_transaction(|conn| query(conn, sql, params))
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.in_transaction(|conn| conn.execute_batch(sql).map_err(|why| failed("running a batch", &why)))
    }
}

impl Owned for SqliteTx {
    async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT", "committing").await
    }

    async fn rollback(self) -> Result<(), StoreError> {
        self.end("ROLLBACK", "rolling back").await
    }
}

impl std::fmt::Debug for SqliteTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteTx").finish_non_exhaustive()
    }
}
