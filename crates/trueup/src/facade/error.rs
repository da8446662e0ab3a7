//! What can go wrong while a cache or a class is set up.

use std::sync::Arc;

use trueup_core::{
    class::{ClassName, PlanError},
    error::ClassError,
    key::KeyError,
};

use crate::{catalog::CatalogError, plan::UnknownClass, postgres::PostgresError, sqlite::SqliteError};

/// A cache, or a class of it, could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrueupError {
    /// No class of that name.
    #[error(transparent)]
    UnknownClass(#[from] UnknownClass),
    /// The class must never be cached.
    #[error(transparent)]
    Plan(Box<PlanError>),
    /// The engine refuses the class.
    #[error(transparent)]
    Class(Box<ClassError>),
    /// The class cannot be served from this database.
    #[error(transparent)]
    Catalog(Arc<CatalogError>),
    /// The key type does not fit the class.
    #[error("class `{class}`: {why}")]
    Key {
        /// The class.
        class: ClassName,
        /// What does not fit.
        why: KeyError,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Source(Box<SqliteError>),
    /// The PostgreSQL database cannot be read.
    #[error(transparent)]
    Postgres(Box<PostgresError>),
    /// The remote tier can't be set up.
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Remote(Box<crate::redis::RedisError>),
    /// The feed has not caught up in time.
    #[error("the feed has not caught up within {waited_s} s: {problem}")]
    NotReady {
        /// How long was waited, in seconds.
        waited_s: u64,
        /// What the feed says.
        problem: String,
    },
}

macro_rules! boxed {
    ($($variant:ident: $error:ty;)+) => {$(
        impl From<$error> for TrueupError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )+};
}

#[cfg(feature = "redis")]
boxed! {
    Remote: crate::redis::RedisError;
}

boxed! {
    Source: SqliteError;
    Postgres: PostgresError;
    Class: ClassError;
    Plan: PlanError;
}

impl From<Arc<CatalogError>> for TrueupError {
    fn from(error: Arc<CatalogError>) -> Self {
        Self::Catalog(error)
    }
}
