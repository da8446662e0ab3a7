//! Loads: one read transaction, whose place in the log is read by its first statement.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use trueup_core::{
    env::BoxFuture,
    proof::{Seen, Snapshot},
    source::{LoadError, Loaded, LoadedMany},
};

use super::{
    error::SqliteError,
    handle::{LoadMode, READ_LOCK_WAIT, Shared, Sqlite},
    pool::Pool,
    state::State,
};

/// Largest value that a load of a class brings, in bytes, whatever its class keeps: a mistaken query must not fill the
/// process's memory.
pub const LOAD_BYTES_MAX: usize = 64 << 20;

/// Why a load failed inside its transaction.
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Load(LoadError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl Sqlite {
    /// Runs `work` in one read transaction, and says what it saw. Writing is refused; statements are interrupted after
    /// `limit`. Runs on the calling thread.
    ///
    /// What the result depends on is the caller's to say; [`RowLoader`](super::RowLoader) and
    /// [`QueryLoader`](super::QueryLoader) find it by themselves.
    ///
    /// # Errors
    /// [`LoadError`] when the database does not answer, or not in time, or refuses a statement.
    pub fn load<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<(T, Seen), LoadError> {
        self.shared.read(&self.shared.readers, limit, |conn, _| Ok(work(conn)?))
    }
}

impl Shared {
    /// Runs `work` in one read transaction on a connection of `pool`.
    pub(super) fn read<T>(
        &self,
        pool: &Pool,
        limit: Duration,
        work: impl FnOnce(&Connection, &State) -> Result<T, Fault>,
    ) -> Result<(T, Seen), LoadError> {
        let conn = pool.lease(Some(limit)).map_err(|error| error.to_load_error())?;
        let run = || -> Result<(T, State), Fault> {
            conn.prepare_cached("BEGIN")?.execute([])?;
            let state = State::read(&conn)?;
            let value = work(&conn, &state)?;
            if conn.is_autocommit() {
                let why = "a loader must not end the transaction that it runs in";
                return Err(LoadError::Refused(why.into()).into());
            }
            conn.prepare_cached("COMMIT")?.execute([])?;
            Ok((value, state))
        };
        let (value, state) = run().map_err(|fault| self.load_error(fault, limit))?;
        let upper = state.position();
        Ok((value, Seen { snapshot: Snapshot::Sequence(upper), upper, epoch: self.epoch(&state) }))
    }

    pub(super) fn load_error(&self, fault: Fault, limit: Duration) -> LoadError {
        match fault {
            Fault::Load(error) => error,
            Fault::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                LoadError::TimedOut { limit_ms: limit.as_millis() as u64 }
            }
            Fault::Sql(error) => {
                let at = super::error::At { path: &self.path, doing: "loading", patience: READ_LOCK_WAIT };
                at.error(error).to_load_error()
            }
        }
    }
}

/// A loader that answers on the calling thread.
pub(super) trait LoadNow<K, V>: Send + Sync + 'static {
    /// Loads all keys in one read transaction.
    fn load_now(&self, keys: &[K]) -> Result<LoadedMany<V>, LoadError>;
}

/// Runs a loader where the source's settings say.
pub(super) fn dispatch<'a, K, V, L>(
    mode: LoadMode,
    loader: &'a std::sync::Arc<L>,
    keys: &'a [K],
) -> BoxFuture<'a, Result<LoadedMany<V>, LoadError>>
where
    K: Clone + Send + Sync + 'static,
    V: Send + 'static,
    L: LoadNow<K, V>,
{
    match mode {
        LoadMode::InPlace => Box::pin(async move { loader.load_now(keys) }),
        LoadMode::Blocking => {
            let (loader, keys) = (std::sync::Arc::clone(loader), keys.to_vec());
            Box::pin(async move {
                let thread = tokio::task::spawn_blocking(move || loader.load_now(&keys));
                // The runtime is going down, or the loader panicked: nobody has an answer.
                thread.await.unwrap_or(Err(LoadError::Lost))
            })
        }
    }
}

/// The same error for the engine, for those who need a handle before they can load.
impl From<SqliteError> for LoadError {
    fn from(error: SqliteError) -> Self {
        error.to_load_error()
    }
}

/// The one answer to a load of one key.
pub(super) fn only<V>(mut many: LoadedMany<V>) -> Result<Loaded<V>, LoadError> {
    let (value, tags) = many.values.pop().ok_or(LoadError::Lost)?;
    Ok(Loaded { value, tags, seen: many.seen })
}
