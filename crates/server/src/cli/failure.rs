//! How a command ends when it does not end well.

use std::process::ExitCode;

use trueup::{catalog::CatalogError, plan::ConfigErrors, postgres::PostgresError, sqlite::SqliteError};

use trueup_core::behind::BehindError;

use crate::serve::StartError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It looked, and found something wrong.
    #[error("{0}")]
    Findings(String),
    /// It was asked wrongly.
    #[error("{0}")]
    Usage(String),
    /// Something it needs cannot be reached.
    #[error("{0}")]
    Unreachable(String),
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Findings(_) => Self::from(1),
            Failure::Usage(_) => Self::from(2),
            Failure::Unreachable(_) => Self::from(3),
        }
    }
}

impl Failure {
    /// Names the class that it is about.
    fn of_class(self, class: &str) -> Self {
        match self {
            Self::Unreachable(why) => Self::Unreachable(format!("class `{class}`: {why}")),
            other => Self::Usage(format!("class `{class}`: {other}")),
        }
    }

    /// Something of the system refused.
    pub(super) fn system(doing: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Unreachable(format!("{doing}: {error}"))
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Usage(errors.to_string())
    }
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        let text = error.to_string();
        match error {
            SqliteError::FeedMissing { .. }
            | SqliteError::FeedNewer { .. }
            | SqliteError::NotWal { .. }
            | SqliteError::Table { .. }
            | SqliteError::Query { .. } => Self::Usage(text),
            _ => Self::Unreachable(text),
        }
    }
}

impl From<PostgresError> for Failure {
    fn from(error: PostgresError) -> Self {
        let text = error.to_string();
        match error {
            PostgresError::Unreachable { .. }
            | PostgresError::TurnedAway { .. }
            | PostgresError::TimedOut { .. }
            | PostgresError::Tls { .. }
            | PostgresError::Database { .. } => Self::Unreachable(text),
            _ => Self::Usage(text),
        }
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Sqlite(error) => (*error).into(),
            CatalogError::Source { class, why } => Self::from(*why).of_class(class.as_str()),
            CatalogError::Postgres(error) => (*error).into(),
            CatalogError::InPostgres { class, why } => Self::from(*why).of_class(class.as_str()),
            CatalogError::WriteBehind(why) if matches!(*why, BehindError::Source { .. }) => {
                Self::Unreachable(why.to_string())
            }
            other => Self::Usage(other.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let text = error.to_string();
        match error {
            StartError::NeedsToken { .. } => Self::Usage(text),
            StartError::Bind { .. } => Self::Unreachable(text),
        }
    }
}
