//! What stops the lab itself, as opposed to what it finds.

use std::fmt::Display;

/// Something that the lab needs does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// It was asked wrongly.
    #[error("{0}")]
    Usage(String),
    /// A server, a file or a process cannot be reached.
    #[error("{0}")]
    Unreachable(String),
}

impl LabError {
    /// `what` could not be done, because of `why`.
    pub(crate) fn failed(what: impl Display, why: impl Display) -> Self {
        Self::Unreachable(format!("{what}: {why}"))
    }
}

impl From<trueup_testbed::Failed> for LabError {
    fn from(failed: trueup_testbed::Failed) -> Self {
        Self::Unreachable(failed.to_string())
    }
}

impl From<once::OnceError> for LabError {
    fn from(error: once::OnceError) -> Self {
        Self::Unreachable(format!("the record of what was done: {error}"))
    }
}

impl From<once::store::StoreError> for LabError {
    fn from(error: once::store::StoreError) -> Self {
        once::OnceError::from(error).into()
    }
}

impl From<trueup::ReadError> for LabError {
    fn from(error: trueup::ReadError) -> Self {
        Self::Unreachable(format!("a read through Trueup: {error}"))
    }
}

impl From<rusqlite::Error> for LabError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreachable(format!("the SQLite database of the run: {error}"))
    }
}

impl From<tokio_postgres::Error> for LabError {
    fn from(error: tokio_postgres::Error) -> Self {
        let why = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
        Self::Unreachable(format!("the PostgreSQL server of the run: {why}"))
    }
}

impl From<redis::RedisError> for LabError {
    fn from(error: redis::RedisError) -> Self {
        Self::Unreachable(format!("a connection that speaks RESP: {error}"))
    }
}

impl From<std::io::Error> for LabError {
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(format!("input or output: {error}"))
    }
}
