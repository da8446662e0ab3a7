//! What can go wrong with a PostgreSQL source, and what to do about it.

use std::{error::Error as _, path::PathBuf, sync::Arc, time::Duration};

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use tokio_postgres::{Error, error::SqlState};
use trueup_core::source::LoadError;

/// A PostgreSQL source could not be reached, looked at, followed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL cannot be used.
    #[error("the source's URL: {reason}")]
    Url {
        /// What is wrong with it; never a part of it that may hold a password.
        reason: String,
    },
    /// The password file cannot be read.
    #[error("password file {}: {reason}; check its path and permissions", path.display())]
    Password {
        /// The path.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("{place}: TLS: {reason}")]
    Tls {
        /// The server and database.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// No connection came about.
    #[error(
        "{place}: cannot connect: {reason}; check that the server runs, and host, port, `sslmode` and firewalls"
    )]
    Unreachable {
        /// The server and database.
        place: String,
        /// What the system says.
        reason: String,
    },
    /// The server turned the connection away.
    #[error(
        "{place}: the server refuses role `{user}`: {reason}; check user, password, database and pg_hba.conf"
    )]
    TurnedAway {
        /// The server and database.
        place: String,
        /// The role.
        user: String,
        /// What the server says.
        reason: String,
    },
    /// The server is a standby.
    #[error(
        "{place}: the server is in recovery (a standby); give the URL of the primary, standbys are `replicas`"
    )]
    NotPrimary {
        /// The server and database.
        place: String,
    },
    /// The server is older than what the feed needs.
    #[error("{place}: PostgreSQL {found} is too old; version {needed} or later is needed")]
    TooOld {
        /// The server and database.
        place: String,
        /// The server's version.
        found: String,
        /// The oldest one that will do.
        needed: i32,
    },
    /// The role lacks a right.
    #[error(
        "{place}: role `{user}` may not do this while {doing}: {reason}; grant it, `trueup init` prints the GRANTs"
    )]
    Permission {
        /// The server and database.
        place: String,
        /// The role.
        user: String,
        /// What was attempted.
        doing: &'static str,
        /// What the server says.
        reason: String,
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
    /// A transaction ended otherwise than by its caller.
    #[error("the transaction {reason}")]
    Transaction {
        /// How, and what to do.
        reason: String,
    },
    /// Something took too long.
    #[error("{place}: no answer within {waited_ms} ms while {doing}; look for locks, load and the network")]
    TimedOut {
        /// The server and database.
        place: String,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// What was attempted.
        doing: &'static str,
    },
    /// The answer of a load is too large.
    #[error("the answer has more than {limit} bytes ({bytes} were read); select less")]
    TooLarge {
        /// Bytes read before the load was given up.
        bytes: usize,
        /// The most that such a load brings, in bytes.
        limit: usize,
    },
    /// The connection broke, or anything else that the server reports.
    #[error("{place}: PostgreSQL failed while {doing}: {reason}")]
    Database {
        /// The server and database.
        place: String,
        /// What was attempted.
        doing: &'static str,
        /// Its SQLSTATE, where the server answered.
        code: Option<String>,
        /// What the server or the driver says, without values.
        reason: String,
    },
}

/// Where something was attempted, to turn the driver's errors into [`PostgresError`].
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) place: &'a str,
    pub(super) user: &'a str,
    pub(super) doing: &'static str,
    /// How long was waited before giving up.
    pub(super) patience: Duration,
}

impl At<'_> {
    /// What `error` means here.
    pub(super) fn error(self, error: &Error) -> PostgresError {
        let (place, user, doing) = (self.place.to_owned(), self.user.to_owned(), self.doing);
        let reason = words(error);
        let Some(code) = error.code() else {
            return match error.source() {
                Some(cause) if cause.is::<std::io::Error>() && error.to_string().contains("connecting") => {
                    PostgresError::Unreachable { place, reason }
                }
                _ => PostgresError::Database { place, doing, code: None, reason },
            };
        };
        match *code {
            SqlState::INVALID_PASSWORD
            | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            | SqlState::INVALID_CATALOG_NAME => PostgresError::TurnedAway { place, user, reason },
            SqlState::INSUFFICIENT_PRIVILEGE => PostgresError::Permission { place, user, doing, reason },
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => self.late(),
            // `pg_current_wal_insert_lsn()` during recovery.
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE if reason.contains("recovery") => {
                PostgresError::NotPrimary { place }
            }
            _ => PostgresError::Database { place, doing, code: Some(code.code().to_owned()), reason },
        }
    }

    /// What a failure to get a connection means here.
    pub(super) fn pool(self, error: &PoolError) -> PostgresError {
        match error {
            PoolError::Backend(error) if error.code().is_none() => {
                PostgresError::Unreachable { place: self.place.to_owned(), reason: words(error) }
            }
            PoolError::Backend(error) => self.error(error),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => PostgresError::Unreachable {
                place: self.place.to_owned(),
                reason: "no answer in time".to_owned(),
            },
            PoolError::Timeout(TimeoutType::Wait) => self.late(),
            PoolError::PostCreateHook(HookError::Message(why)) => {
                PostgresError::Unreachable { place: self.place.to_owned(), reason: why.to_string() }
            }
            other => PostgresError::Database {
                place: self.place.to_owned(),
                doing: self.doing,
                code: None,
                reason: other.to_string(),
            },
        }
    }

    /// It took too long.
    pub(super) fn late(self) -> PostgresError {
        PostgresError::TimedOut {
            place: self.place.to_owned(),
            waited_ms: self.patience.as_millis() as u64,
            doing: self.doing,
        }
    }
}

/// The words of an error, without values: those of a data exception or a violated constraint repeat what was given.
pub(super) fn words(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        let code = db.code().code();
        return match code.get(..2) {
            Some("22") => format!("a value does not fit its type (SQLSTATE {code})"),
            Some("23") => format!("a constraint is violated (SQLSTATE {code})"),
            _ => db.message().to_owned(),
        };
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}

impl PostgresError {
    /// The same for the engine: retrying helps, or not.
    #[must_use]
    pub fn to_load_error(&self) -> LoadError {
        match self {
            Self::TimedOut { waited_ms, .. } => LoadError::TimedOut { limit_ms: *waited_ms },
            Self::TooLarge { bytes, limit } => LoadError::TooLarge { bytes: *bytes, limit: *limit },
            Self::Table { .. } | Self::Query { .. } | Self::Permission { .. } | Self::Url { .. } => {
                LoadError::Refused(Arc::from(self.to_string()))
            }
            Self::Database { code: Some(code), .. } if is_query_fault(code) => {
                LoadError::Refused(Arc::from(self.to_string()))
            }
            _ => LoadError::Unavailable(Arc::from(self.to_string())),
        }
    }

    /// The SQLSTATE, where the server answered with an error of no kind of its own here.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Database { code, .. } => code.as_deref(),
            _ => None,
        }
    }
}

/// Whether the statement itself is wrong, so that trying again cannot help: data exceptions, syntax, unknown names, what is
/// not supported, and writing where only reading is allowed.
fn is_query_fault(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "22" | "42" | "0A")) || code == "25006"
}

/// The same error for the engine, for those who need a handle before they can load.
impl From<PostgresError> for LoadError {
    fn from(error: PostgresError) -> Self {
        error.to_load_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_to_retry_is_an_outage_and_the_rest_is_refused() {
        let database = |code: &str| PostgresError::Database {
            place: "h:1/d".into(),
            doing: "loading",
            code: Some(code.into()),
            reason: "r".into(),
        };
        for (code, refused) in
            [("42P01", true), ("22P02", true), ("25006", true), ("57P01", false), ("53300", false)]
        {
            let error = database(code).to_load_error();
            assert_eq!(matches!(error, LoadError::Refused(_)), refused, "{code}");
        }
        let at = At { place: "h:1/d", user: "u", doing: "loading", patience: Duration::from_millis(7) };
        assert_eq!(at.late().to_load_error(), LoadError::TimedOut { limit_ms: 7 });
        assert!(at.late().to_string().contains("h:1/d: no answer within 7 ms while loading"));
    }
}
