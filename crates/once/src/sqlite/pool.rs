//! Connections: one that writes, a few that read.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trueup_core::env::Clock;

use super::error::{failed, is_busy};
use crate::store::{StoreError, StoreErrorKind};

/// Pause between two attempts while another process holds the file.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(2);
/// How long a single statement may wait for a lock; short, since it blocks a thread of the runtime.
const BUSY_TIMEOUT: Duration = Duration::from_millis(50);
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 128;

/// Connections of one kind.
#[derive(Debug)]
pub(super) struct Connections {
    path: PathBuf,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection, and the place among connections that it takes.
pub(super) struct Lease {
    conn: Option<Connection>,
    home: Arc<Connections>,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(path: PathBuf, count: usize) -> Arc<Self> {
        Arc::new(Self { path, places: Arc::new(Semaphore::new(count)), idle: Mutex::default() })
    }

    /// A connection, once there is a place for it.
    pub(super) async fn lease(self: &Arc<Self>, wait: Duration) -> Result<Lease, StoreError> {
        let place = tokio::time::timeout(wait, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let reason =
                format!("no connection to SQLite within {} ms: others hold them all", wait.as_millis());
            return Err(StoreError::new(StoreErrorKind::Busy, reason));
        };
        let idle = self.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.open(wait).await?,
        };
        Ok(Lease { conn: Some(conn), home: Arc::clone(self), _place: place })
    }

    /// Whoever makes the file a WAL one needs it for itself: tried again while others hold it.
    async fn open(&self, wait: Duration) -> Result<Connection, StoreError> {
        let clock = Clock::system();
        let started = clock.now();
        loop {
            match open(&self.path) {
                Ok(conn) => return Ok(conn),
                Err(why) if is_busy(&why) && clock.now().since(started) < wait => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(why) => return Err(failed("opening the SQLite file", &why)),
            }
        }
    }
}

impl Lease {
    pub(super) fn conn(&self) -> &Connection {
        #[expect(clippy::expect_used, reason = "taken out only where the lease is dropped")]
        self.conn.as_ref().expect("the connection is leased")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // A transaction that was left open, or that cannot be ended, must not be met by the next one.
        if conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok() {
            self.home.idle.lock().push(conn);
        }
    }
}

fn open(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // FULL: with WAL and NORMAL a power cut takes back commits that were acknowledged.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    Ok(conn)
}
