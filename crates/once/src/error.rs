//! What operations of this crate fail with.

use crate::store::{StoreError, StoreErrorKind};

/// An operation came to nothing. Return it from where the transaction is open, so that it is rolled back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnceError {
    /// The database refused, or could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else has taken the key over, or moved it on. What this transaction did must not be: roll back, and look at
    /// the key for what came of it.
    #[error(
        "key row {id} is no longer at {point} under fence {fence}: another worker has it, or has finished it; \
         roll back, and look the key up for what came of it"
    )]
    Discarded {
        /// The key's row.
        id: i64,
        /// The fence that was held.
        fence: i64,
        /// The recovery point that was expected.
        point: String,
    },
    /// The lease has ended or has another holder. Roll back and stop working.
    #[error("the lease {name} is no longer held under fence {fence}; roll back and stop this work")]
    LeaseLost {
        /// The lease.
        name: String,
        /// The fence that was held.
        fence: i64,
    },
    /// What was given to the operation is no good.
    #[error("{what} {why}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// The database holds something that this version did not write.
    #[error("{what} in the database cannot be read: {why}; was it written by a newer version?")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl OnceError {
    /// Whether the same transaction, run again from its beginning, may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// Whether it is open if the transaction was committed.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Store(error) if matches!(error.kind(), StoreErrorKind::Unknown))
    }

    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }
}

/// Says of an error whether the transaction that it ended may be run again: see [`Once::run`](crate::Once::run).
pub trait Transient {
    /// Whether the same transaction, run again from its beginning, may succeed. `false` is always safe.
    fn is_transient(&self) -> bool;
}

impl Transient for OnceError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }
}

impl Transient for std::convert::Infallible {
    fn is_transient(&self) -> bool {
        false
    }
}

/// Checks the length of a name that the caller chose, and that it holds no control characters.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), OnceError> {
    use crate::limits::NAME_BYTES_MAX;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(OnceError::invalid(
            what,
            format!("has {} bytes; 1 to {NAME_BYTES_MAX} are allowed", name.len()),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(OnceError::invalid(what, "holds a control character; leave it out"));
    }
    Ok(())
}

pub(crate) fn check_bytes(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), OnceError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(OnceError::invalid(what, format!("has {bytes} bytes; at most {bytes_max} are kept")))
}
