//! The database of record.

use std::path::{Path, PathBuf};

use super::{LabError, Settings, SqliteSession, postgres::PostgresSource, sql::Address};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    /// One file, followed by every node.
    Sqlite,
    /// A PostgreSQL server of our own, with a standby where a fault needs one.
    Postgres,
}

/// The database, as faults reach it.
#[derive(Debug)]
pub(crate) enum Source {
    Sqlite(PathBuf),
    Postgres(Box<PostgresSource>),
}

impl Source {
    pub(super) async fn start(settings: &Settings, folder: &Path) -> Result<Self, LabError> {
        match settings.source {
            SourceKind::Sqlite => {
                let path = folder.join("bank.db");
                SqliteSession::open(&path)?.conn().pragma_update(None, "journal_mode", "wal")?;
                Ok(Self::Sqlite(path))
            }
            SourceKind::Postgres => Ok(Self::Postgres(Box::new(PostgresSource::start(settings).await?))),
        }
    }

    /// Where writers connect: straight to the database.
    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Sqlite(path) => Address::Sqlite(path.clone()),
            Self::Postgres(postgres) => Address::Postgres(postgres.url()),
        }
    }

    /// What a node is told.
    pub(super) fn url(&self, node: usize) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(postgres) => postgres.url_of(node),
        }
    }

    pub(crate) fn sqlite(&self) -> Result<&Path, LabError> {
        match self {
            Self::Sqlite(path) => Ok(path),
            Self::Postgres(_) => Err(LabError::Usage("this fault is one of SQLite".to_owned())),
        }
    }

    pub(crate) fn postgres(&self) -> Result<&PostgresSource, LabError> {
        match self {
            Self::Postgres(postgres) => Ok(postgres),
            Self::Sqlite(_) => Err(LabError::Usage("this fault is one of PostgreSQL".to_owned())),
        }
    }
}
