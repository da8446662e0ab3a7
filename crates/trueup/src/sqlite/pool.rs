//! A few connections that are used again, the latest first: its caches are warm.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext},
};
use trueup_core::env::Clock;

use super::{
    connection,
    error::{At, SqliteError},
    file_id::{Inode, inode},
};

/// Connections that are kept open while nobody uses them.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// Virtual machine steps between two looks at the clock: about 50 us of work, so a point read never looks.
const STEPS_PER_DEADLINE_CHECK: i32 = 10_000;
/// No deadline.
const NEVER: u64 = u64::MAX;

/// Sees every table, column and function that a statement compiled on a connection names.
pub(super) trait Watch: Send + Sync {
    /// One action; `false` forbids it.
    fn allow(&self, context: &AuthContext<'_>) -> bool;
}

/// What a pool's connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Connections to one database.
pub(super) struct Pool {
    path: PathBuf,
    access: Access,
    patience: Duration,
    clock: Clock,
    watch: Option<Arc<dyn Watch>>,
    idle: Mutex<Vec<Pooled>>,
    generation: AtomicU64,
}

struct Pooled {
    conn: Connection,
    file: Inode,
    deadline: Arc<AtomicU64>,
    generation: u64,
}

/// A connection, until it is dropped.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    pooled: Option<Pooled>,
}

impl Pool {
    pub(super) fn new(
        path: &Path,
        access: Access,
        patience: Duration,
        clock: Clock,
        watch: Option<Arc<dyn Watch>>,
    ) -> Self {
        let (idle, generation) = (Mutex::default(), AtomicU64::new(0));
        Self { path: path.to_owned(), access, patience, clock, watch, idle, generation }
    }

    /// A connection to the file that stands behind the path NOW, whose statements are interrupted after `limit`.
    pub(super) fn lease(&self, limit: Option<Duration>) -> Result<Lease<'_>, SqliteError> {
        let at = |_| SqliteError::Missing { path: self.path.clone() };
        let pooled = loop {
            let now = inode(&self.path).map_err(at)?;
            let Some(pooled) = self.idle.lock().pop() else {
                let opened = self.open(now)?;
                // The name may have moved to another file while it was being opened.
                if inode(&self.path).map_err(at)? == now {
                    break opened;
                }
                continue;
            };
            if pooled.file == now && pooled.generation == self.generation.load(Ordering::Acquire) {
                break pooled;
            }
        };
        let until = limit.map_or(NEVER, |limit| self.clock.now().after(limit).0);
        pooled.deadline.store(until, Ordering::Relaxed);
        Ok(Lease { pool: self, pooled: Some(pooled) })
    }

    /// Closes what is idle and, when it comes back, what is in use.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.idle.lock().clear();
    }

    fn open(&self, file: Inode) -> Result<Pooled, SqliteError> {
        let mut conn = match self.access {
            Access::Read => connection::open_reader(&self.path, self.patience)?,
            Access::Write => connection::open_writer(&self.path, self.patience)?,
        };
        let at = At { path: &self.path, doing: "opening it", patience: self.patience };
        let deadline = Arc::new(AtomicU64::new(NEVER));
        let (until, clock) = (Arc::clone(&deadline), self.clock.clone());
        let late = move || clock.now().0 > until.load(Ordering::Relaxed);
        conn.progress_handler(STEPS_PER_DEADLINE_CHECK, Some(late)).map_err(|e| at.error(e))?;
        if let Some(watch) = self.watch.clone() {
            let judge = move |context: AuthContext<'_>| match (&context.action, watch.allow(&context)) {
                (AuthAction::Unknown { .. }, _) | (_, false) => rusqlite::hooks::Authorization::Deny,
                (_, true) => rusqlite::hooks::Authorization::Allow,
            };
            conn.authorizer(Some(judge)).map_err(|e| at.error(e))?;
        }
        Ok(Pooled { conn, file, deadline, generation: self.generation.load(Ordering::Acquire) })
    }
}

impl Lease<'_> {
    #[expect(clippy::expect_used, reason = "taken out by drop alone")]
    fn pooled(&self) -> &Pooled {
        self.pooled.as_ref().expect("a lease holds its connection until it is dropped")
    }
}

impl Deref for Lease<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.pooled().conn
    }
}

impl DerefMut for Lease<'_> {
    #[expect(clippy::expect_used, reason = "taken out by drop alone")]
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.pooled.as_mut().expect("a lease holds its connection until it is dropped").conn
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(pooled) = self.pooled.take() else { return };
        pooled.deadline.store(NEVER, Ordering::Relaxed);
        // A transaction that cannot be ended would hold its snapshot for ever: the connection goes with it.
        if !pooled.conn.is_autocommit() && pooled.conn.execute_batch("ROLLBACK").is_err() {
            return;
        }
        let mut idle = self.pool.idle.lock();
        if idle.len() < IDLE_CONNECTIONS_MAX
            && pooled.generation == self.pool.generation.load(Ordering::Acquire)
        {
            idle.push(pooled);
        }
    }
}
