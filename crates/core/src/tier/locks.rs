//! Locks by which the nodes of a fleet agree who loads a key: a hint, never a guarantee.
//!
//! Nothing true depends on such a lock. Two nodes that both believe to hold it make one load more, a lock that nobody can be
//! asked about is as if there were none, and one that never ends keeps a reader for a bounded time. What a load brings is
//! judged by its proof alone, whoever made it.

use std::{fmt, time::Duration};

use super::{RemoteKey, RemoteResult};
use crate::env::{BoxFuture, random};

/// Who holds a lock: drawn anew for each, so that nobody releases the lock of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockOwner(u128);

impl LockOwner {
    /// Somebody new.
    #[must_use]
    pub fn random() -> Self {
        Self(u128::from(random::number()) << 64 | u128::from(random::number()))
    }
}

impl fmt::Display for LockOwner {
    /// 32 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockOwner({self})")
    }
}

/// What is locked: the load of an entry, among nodes that can use what one of them shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockKey {
    /// The entry.
    pub entry: RemoteKey,
    /// Whatever else decides whether an entry can be used: epoch of the source, plan and shape of the class. Nodes that
    /// differ in it have nothing to wait for from each other.
    pub world: [u8; 16],
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The lock is the claimer's, for the life that it asked for.
    Mine,
    /// Somebody else has it.
    Held {
        /// For how long at most, unless its owner extends it; [`Duration::MAX`] if it has no end.
        left: Duration,
    },
}

/// Locks in a shared store. As with [`RemoteTier`](super::RemoteTier), an implementation owes an answer within its deadline,
/// and a named error instead of a panic.
pub trait FillLocks: Send + Sync {
    /// Takes the lock of `key` for `life` if nobody has it.
    fn claim<'a>(
        &'a self,
        key: &'a LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> BoxFuture<'a, RemoteResult<Claim>>;

    /// Gives the lock another `life`, from now on. False if `owner` does not have it any more.
    fn extend<'a>(
        &'a self,
        key: &'a LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> BoxFuture<'a, RemoteResult<bool>>;

    /// Ends the lock if `owner` has it, else does nothing.
    fn release<'a>(&'a self, key: &'a LockKey, owner: LockOwner) -> BoxFuture<'a, RemoteResult<()>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_printed_as_32_digits_and_no_two_are_the_same() {
        assert_eq!(LockOwner(0xab).to_string(), format!("{}ab", "0".repeat(30)));
        assert_ne!(LockOwner::random(), LockOwner::random());
    }
}
