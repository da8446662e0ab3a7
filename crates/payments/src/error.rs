//! What work fails with. An error rolls back the transaction that it comes out of.

use once::{
    OnceError,
    store::{StoreError, StoreErrorKind},
};

use crate::domain::{Refused, Unbalanced};

/// Work came to nothing; nothing of it was committed, unless [`Failed::is_unknown`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// The database, or the engine of once-only effects.
    #[error(transparent)]
    Once(#[from] OnceError),
    /// The database is busy or away: the same work, done again, may succeed.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The database holds what this version does not understand, or refuses what it should take.
    #[error("{0}")]
    Broken(String),
    /// A posting that does not sum to zero: a mistake in this program. Nothing was posted.
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
    /// A change that the books do not allow, where it had been allowed before.
    #[error("the books refuse: {0}")]
    Refused(#[from] Refused),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Failed {
    /// Whether the same work, done again from its beginning, may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Once(error) => error.is_transient(),
            Self::Busy(_) => true,
            _ => false,
        }
    }

    /// Whether it is open if the transaction was committed.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Once(error) if error.is_unknown())
    }

    /// Whether another worker has taken this work over.
    #[must_use]
    pub const fn is_discarded(&self) -> bool {
        matches!(self, Self::Once(OnceError::Discarded { .. }))
    }

    /// Whether a row with the same unique name is there already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Once(OnceError::Store(error)) if error.kind() == StoreErrorKind::Unique)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Once(error.into())
    }
}

/// `what` should have changed one row and changed another number.
pub(crate) fn one_row(changed: u64, what: &str) -> Result<(), Failed> {
    if changed == 1 {
        return Ok(());
    }
    Err(Failed::Broken(format!("{what} changed {changed} rows, not one; nothing was done")))
}
