//! The handle of a SQLite source.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use trueup_core::{entry::EpochId, env::Clock};

use super::{
    connection,
    error::{At, SqliteError},
    pool::{Access, Pool},
    registry::{FeedName, Registry},
    state::State,
};

/// How long a read waits for a lock, which WAL mode needs for moments only.
pub const READ_LOCK_WAIT: Duration = Duration::from_millis(500);
/// How long a write waits for another program's transaction.
pub const WRITE_LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// Pause between two looks at the database while it is in use.
pub const POLL_BUSY_DEFAULT: Duration = Duration::from_millis(1);
/// Pause between two looks once nothing has changed for a while.
pub const POLL_IDLE_DEFAULT: Duration = Duration::from_millis(2);

/// Where a load runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// On the thread that asks: a point read takes a few microseconds, a hop to another thread several times that.
    #[default]
    InPlace,
    /// On a thread for blocking work: for queries that scan, or a database on a slow disk.
    Blocking,
}

/// Settings of a SQLite source.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Where loads run.
    pub load_mode: LoadMode,
    /// How long a write waits for another program's transaction.
    pub write_lock_wait: Duration,
    /// Pause between two looks at the database while it is in use.
    pub poll_busy: Duration,
    /// Pause between two looks once nothing has changed for a while.
    pub poll_idle: Duration,
    /// The clock for deadlines of loads.
    pub clock: Clock,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            load_mode: LoadMode::default(),
            write_lock_wait: WRITE_LOCK_WAIT_DEFAULT,
            poll_busy: POLL_BUSY_DEFAULT,
            poll_idle: POLL_IDLE_DEFAULT,
            clock: Clock::system(),
        }
    }
}

/// A SQLite database whose changes are followed. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: SqliteOptions,
    pub(super) readers: Pool,
    pub(super) writers: Pool,
    /// One writer of this process at a time, in order of arrival.
    pub(super) write_gate: tokio::sync::Mutex<()>,
    latest: Mutex<Option<Latest>>,
    registry: Mutex<Option<(i64, Arc<Registry>)>>,
}

/// The newest state that any transaction of this process has seen.
#[derive(Clone, Copy)]
struct Latest {
    name: FeedName,
    schema_version: i64,
    epoch: EpochId,
    told: i64,
}

impl Sqlite {
    /// Opens the database at `path`, in which a feed must be installed (see [`FeedPlan`](super::FeedPlan)).
    ///
    /// # Errors
    /// [`SqliteError`], naming the file and the fix.
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, SqliteError> {
        let path = path.as_ref();
        let conn = connection::open_reader(path, READ_LOCK_WAIT)?;
        connection::check_ready(&conn, path)?;
        let pool = |access, patience| Pool::new(path, access, patience, options.clock.clone(), None);
        let shared = Shared {
            path: path.to_owned(),
            readers: pool(Access::Read, READ_LOCK_WAIT),
            // Waiting is done outside of SQLite, so that it blocks no thread.
            writers: pool(Access::Write, Duration::ZERO),
            write_gate: tokio::sync::Mutex::new(()),
            latest: Mutex::new(None),
            registry: Mutex::new(None),
            options,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &SqliteOptions {
        &self.shared.options
    }

    /// Tables whose changes are followed as their triggers are now.
    ///
    /// # Errors
    /// [`SqliteError`] where the database cannot be read.
    pub fn followed_tables(&self) -> Result<Vec<FollowedTable>, SqliteError> {
        let conn = self.shared.readers.lease(None)?;
        let registry = Registry::read(&conn).map_err(|e| self.shared.at("reading the feed").error(e))?;
        let table = |followed: &super::registry::Followed| FollowedTable {
            name: followed.name.clone(),
            groups: followed.groups.clone(),
            outdated: followed.outdated.clone(),
        };
        Ok(registry.tables.iter().map(table).collect())
    }
}

/// A table that the installed feed follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedTable {
    /// Its name, as it stands in tags.
    pub name: String,
    /// Groups by which its rows can be invalidated.
    pub groups: Vec<super::registry::GroupSpec>,
    /// Why its triggers no longer tell everything; install again.
    pub outdated: Option<String>,
}

impl Shared {
    pub(super) fn at(&self, doing: &'static str) -> At<'_> {
        At { path: &self.path, doing, patience: READ_LOCK_WAIT }
    }

    /// The epoch of a state. Also notes how far the source is known to be.
    pub(super) fn epoch(&self, state: &State) -> EpochId {
        let mut latest = self.latest.lock();
        if let Some(latest) = latest.as_mut()
            && latest.name == state.name
        {
            latest.told = latest.told.max(state.seq);
            if latest.schema_version == state.schema_version {
                return latest.epoch;
            }
        }
        let told = latest.filter(|latest| latest.name == state.name).map_or(state.seq, |latest| latest.told);
        let epoch = state.name.epoch(state.schema_version);
        *latest = Some(Latest { name: state.name, schema_version: state.schema_version, epoch, told });
        epoch
    }

    /// The highest log row that this process has seen under `name`.
    pub(super) fn told(&self, name: FeedName) -> i64 {
        self.latest.lock().filter(|latest| latest.name == name).map_or(0, |latest| latest.told)
    }

    /// What is followed while the schema has the version that `conn` sees in its transaction.
    pub(super) fn registry(
        &self,
        conn: &rusqlite::Connection,
        schema_version: i64,
    ) -> rusqlite::Result<Arc<Registry>> {
        if let Some((version, registry)) = &*self.registry.lock()
            && *version == schema_version
        {
            return Ok(Arc::clone(registry));
        }
        let registry = Arc::new(Registry::read(conn)?);
        *self.registry.lock() = Some((schema_version, Arc::clone(&registry)));
        Ok(registry)
    }

    /// Forgets everything that was learned from the files before: another database may stand behind the path.
    pub(super) fn renew(&self) {
        self.readers.renew();
        self.writers.renew();
        *self.registry.lock() = None;
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.shared.path).finish_non_exhaustive()
    }
}
