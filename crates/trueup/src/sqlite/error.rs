//! What can go wrong with a SQLite source, and what to do about it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rusqlite::ErrorCode;
use trueup_core::source::LoadError;

/// A SQLite source could not be opened, installed, followed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// There is no such file.
    #[error("{}: there is no such file; check the path (a source is never created)", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error("{}: this file is not a SQLite database (or it is encrypted); check the path", path.display())]
    NotADatabase {
        /// The path.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error(
        "{}: the database can only be read; its feed keeps a log in it, so grant write permission on the file and on its directory",
        path.display()
    )]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused to open the file.
    #[error("{}: the file cannot be opened; check the permissions of the file and of its directory", path.display())]
    CannotOpen {
        /// The path.
        path: PathBuf,
    },
    /// The database keeps a rollback journal, so readers and writers would block each other.
    #[error(
        "{}: journal mode is `{mode}`, the feed needs WAL; run `trueup init --source sqlite:{} --apply`",
        path.display(), path.display()
    )]
    NotWal {
        /// The path.
        path: PathBuf,
        /// The journal mode found.
        mode: String,
    },
    /// No feed is installed.
    #[error(
        "{}: no feed is installed, so changes cannot be seen; run `trueup init --source sqlite:{} --apply`, or serve with `--install-feed`",
        path.display(), path.display()
    )]
    FeedMissing {
        /// The path.
        path: PathBuf,
    },
    /// The feed was installed by a later release.
    #[error("{}: the feed has version {found}, this release knows {known}; use a newer trueup", path.display())]
    FeedNewer {
        /// The path.
        path: PathBuf,
        /// Version in the database.
        found: i64,
        /// Version of this release.
        known: i64,
    },
    /// Another connection holds the lock.
    #[error(
        "{}: the database stayed locked for {waited_ms} ms while {doing}; find the program that holds a write transaction open, then retry",
        path.display()
    )]
    Locked {
        /// The path.
        path: PathBuf,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// What was attempted.
        doing: &'static str,
    },
    /// No room is left.
    #[error("{}: no space is left while {doing}; free disk space or raise `max_page_count`", path.display())]
    Full {
        /// The path.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
    },
    /// A table cannot be followed, or cannot be served as asked.
    #[error("table `{table}`: {reason}")]
    Table {
        /// The table.
        table: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A query cannot be a class's query.
    #[error("the query {reason}")]
    Query {
        /// Why, and what to do.
        reason: String,
    },
    /// The schema moved between planning and applying.
    #[error("{}: the schema changed since the plan was made; make the plan again", path.display())]
    PlanOutdated {
        /// The path.
        path: PathBuf,
    },
    /// Randomness was refused by the operating system.
    #[error(transparent)]
    Random(#[from] trueup_core::env::random::RandomError),
    /// Anything else that SQLite reports.
    #[error("{}: SQLite failed while {doing}: {source}", path.display())]
    Database {
        /// The path.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
}

/// How SQLite says that the tables of the feed are gone.
const MISSING_FEED: &str = "no such table: _trueup_";

/// Where something was attempted, to turn SQLite's codes into [`SqliteError`].
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) path: &'a std::path::Path,
    pub(super) doing: &'static str,
    /// How long the connection waits for a lock.
    pub(super) patience: Duration,
}

impl At<'_> {
    /// What `source` means here.
    pub(super) fn error(self, source: rusqlite::Error) -> SqliteError {
        let (path, doing) = (self.path.to_owned(), self.doing);
        match source.sqlite_error_code() {
            // Taken out while it was in use.
            Some(ErrorCode::Unknown) if source.to_string().contains(MISSING_FEED) => {
                SqliteError::FeedMissing { path }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                SqliteError::Locked { path, waited_ms: self.patience.as_millis() as u64, doing }
            }
            Some(ErrorCode::NotADatabase) => SqliteError::NotADatabase { path },
            Some(ErrorCode::DiskFull) => SqliteError::Full { path, doing },
            Some(ErrorCode::ReadOnly) => SqliteError::ReadOnly { path },
            Some(ErrorCode::CannotOpen) if !self.path.exists() => SqliteError::Missing { path },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => SqliteError::CannotOpen { path },
            _ => SqliteError::Database { path, doing, source },
        }
    }
}

impl SqliteError {
    /// The same for the engine: retrying helps, or not.
    #[must_use]
    pub fn to_load_error(&self) -> LoadError {
        match self {
            Self::Database { source, doing, .. }
                if source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) =>
            {
                // The limit is known where the load runs, which says it; here nothing but its passing is.
                LoadError::Unavailable(Arc::from(format!(
                    "it was interrupted while {doing}: its time was over"
                )))
            }
            Self::Table { .. } | Self::Query { .. } => LoadError::Refused(self.to_string().into()),
            Self::Database { source, .. } if is_query_fault(source) => {
                LoadError::Refused(Arc::from(self.to_string()))
            }
            _ => LoadError::Unavailable(Arc::from(self.to_string())),
        }
    }
}

/// Whether the statement itself is wrong, so that trying again cannot help.
fn is_query_fault(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => matches!(
            code.code,
            ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::AuthorizationForStatementDenied
        ),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::ffi;

    use super::*;

    /// Codes that a test cannot bring about as any user on any machine.
    #[test]
    fn codes_of_sqlite_become_messages_with_a_fix() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let at = At { path: &here, doing: "writing", patience: Duration::from_millis(7) };
        for (code, text) in [
            (ffi::SQLITE_READONLY, "can only be read; its feed keeps a log in it, so grant write permission"),
            (ffi::SQLITE_READONLY_DIRECTORY, "grant write permission on the file and on its directory"),
            (ffi::SQLITE_CANTOPEN, "cannot be opened; check the permissions"),
            (ffi::SQLITE_PERM, "cannot be opened; check the permissions"),
            (ffi::SQLITE_FULL, "no space is left while writing; free disk space"),
            (ffi::SQLITE_BUSY_SNAPSHOT, "stayed locked for 7 ms while writing"),
            (ffi::SQLITE_IOERR_READ, "SQLite failed while writing: "),
            (ffi::SQLITE_INTERRUPT, "SQLite failed while writing: "),
        ] {
            let error = at.error(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert!(error.to_string().contains(text), "{code}: {error}");
            let load_error = error.to_load_error();
            assert!(matches!(load_error, LoadError::Unavailable(_)), "{code}: retrying may help");
            assert!(load_error.to_string().contains("while writing") || code != ffi::SQLITE_INTERRUPT);
        }
    }
}
