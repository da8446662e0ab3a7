//! What a follower has to write: heartbeats, vouching for others, trimming. A thread of its own, because a write may
//! wait for another program's transaction, and the reader must not.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use rusqlite::Connection;

use super::{
    connection,
    error::{At, SqliteError},
    membership::{self, ReaderId},
    registry::FeedName,
    trim,
};

/// Time between two heartbeats, each of which is one small write.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long one of these writes waits for a lock; what does not get it is tried again later.
const KEEPER_LOCK_WAIT: Duration = Duration::from_millis(200);
/// How long the end of following waits for the keeper's own end.
const LEAVE_WAIT: Duration = Duration::from_secs(1);
/// Chunks of rows trimmed at one go.
const TRIM_CHUNKS_MAX: usize = 200;

enum Order {
    Vouch {
        joining: i64,
        name: FeedName,
    },
    /// Another file may stand behind the path.
    Reopen,
    Stop,
}

/// The keeper, as the follower sees it.
pub(super) struct Keeper {
    orders: Sender<Order>,
    applied: Arc<AtomicI64>,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

impl Keeper {
    /// Starts the keeper of reader `me`, which ends when it is dropped.
    pub(super) fn start(runtime: &tokio::runtime::Handle, path: PathBuf, me: ReaderId) -> Self {
        let (orders, inbox) = channel();
        let (ending, ended) = channel();
        let applied = Arc::new(AtomicI64::new(0));
        let work = Work { path, me, applied: Arc::clone(&applied), conn: None, warned: None };
        drop(runtime.spawn_blocking(move || {
            work.run(&inbox);
            drop(ending);
        }));
        Self { orders, applied, ended }
    }

    /// The follower has applied the log through `seq`.
    pub(super) fn applied(&self, seq: i64) {
        self.applied.store(seq, Ordering::Relaxed);
    }

    /// Has the keeper vouch for `joining`.
    pub(super) fn vouch(&self, joining: i64, name: FeedName) {
        // A keeper that is gone is one whose follower ends as well.
        let _ = self.orders.send(Order::Vouch { joining, name });
    }

    /// Has the keeper open the database anew.
    pub(super) fn reopen(&self) {
        self.applied(0);
        let _ = self.orders.send(Order::Reopen);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        // So that whoever waits for the follower finds the database closed.
        let _ = self.ended.recv_timeout(LEAVE_WAIT);
    }
}

/// The keeper's own side.
pub(super) struct Work {
    path: PathBuf,
    me: ReaderId,
    applied: Arc<AtomicI64>,
    conn: Option<Connection>,
    warned: Option<String>,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            match inbox.recv_timeout(HEARTBEAT) {
                Ok(Order::Vouch { joining, name }) => {
                    self.attempt("vouching for another reader", |conn| {
                        membership::vouch(conn, joining, name)
                    });
                }
                Ok(Order::Reopen) => self.conn = None,
                Err(RecvTimeoutError::Timeout) => self.keep(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let me = self.me;
        self.attempt("taking leave", |conn| membership::leave(conn, me));
    }

    fn keep(&mut self) {
        let (me, position) = (self.me, self.applied.load(Ordering::Relaxed));
        if position > 0 {
            self.attempt("writing a heartbeat", |conn| membership::heartbeat(conn, me, position));
        }
        self.attempt("trimming the log", |conn| {
            trim::forget_readers(conn)?;
            for _ in 0..TRIM_CHUNKS_MAX {
                if trim::trim_chunk(conn)? == 0 {
                    break;
                }
            }
            Ok(())
        });
    }

    /// Tries once. A failure is told once, until something else fails or all is well again; nothing depends on it but the
    /// size of the log.
    pub(super) fn attempt(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) {
        let result = self.connection().and_then(|conn| {
            let at = At { path: &conn.0, doing, patience: KEEPER_LOCK_WAIT };
            work(conn.1).map_err(|e| at.error(e))
        });
        match result {
            Ok(()) => self.warned = None,
            Err(error) => {
                // The file may have been replaced: the next attempt opens it anew.
                self.conn = None;
                let problem = error.to_string();
                if self.warned.as_ref() != Some(&problem) {
                    tracing::warn!(%problem, "the log of changes could not be kept; retrying later, nothing is lost");
                    self.warned = Some(problem);
                }
            }
        }
    }

    fn connection(&mut self) -> Result<(PathBuf, &Connection), SqliteError> {
        if self.conn.is_none() {
            self.conn = Some(connection::open_writer(&self.path, KEEPER_LOCK_WAIT)?);
        }
        match &self.conn {
            Some(conn) => Ok((self.path.clone(), conn)),
            None => Err(SqliteError::Missing { path: self.path.clone() }),
        }
    }
}

#[cfg(test)]
impl Work {
    /// A keeper whose first connection is `conn`.
    pub(super) fn for_test(path: PathBuf, conn: Connection) -> Self {
        Self { path, me: ReaderId(1), applied: Arc::default(), conn: Some(conn), warned: None }
    }

    /// What it has warned of and not got over.
    pub(super) fn problem(&self) -> Option<&str> {
        self.warned.as_deref()
    }
}
