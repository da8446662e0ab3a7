//! Values on which decisions may rest, and what comes of a write.

use std::{marker::PhantomData, ops::Deref};

pub use crate::{
    change::{BadRow, Row, RowChange},
    source::{AfterCommit, Ended, Outcome, RowWriter},
};
use crate::{
    class::ClassName,
    env::BoxFuture,
    error::ReadError,
    proof::{Rejected, Token},
    source::LoadError,
};

/// A live transaction on the primary that can read and lock a value of a class.
///
/// Implemented by adapters. The lock must last until the transaction ends: `SELECT ... FOR UPDATE`, or a transaction
/// that holds the only write lock (`BEGIN IMMEDIATE`).
pub trait LockingRead<K, V>: Send + Sync {
    /// Reads the value under `key` and locks it.
    fn read_locked<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<V>, LoadError>>;
}

/// A value read and locked in a live transaction on the primary: the only kind on which a decision may rest.
///
/// It borrows from its transaction, so it cannot outlive it, and there is no way to make one of a cached value:
///
/// ```compile_fail
/// fn debit(balance: &trueup_core::write::Authoritative<'_, i64>) {}
/// fn from_cache(cached: &trueup_core::receipt::Cached<i64>) {
///     debit(cached); // a cached value is for looking at
/// }
/// ```
pub struct Authoritative<'tx, V> {
    value: Option<V>,
    transaction: PhantomData<&'tx ()>,
}

impl<'tx, V> Authoritative<'tx, V> {
    /// Reads the value under `key` in `transaction`, and locks it there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read<K, T>(transaction: &'tx T, key: &K) -> Result<Self, ReadError>
    where
        T: LockingRead<K, V> + ?Sized,
    {
        let value = transaction.read_locked(key).await?;
        Ok(Self { value, transaction: PhantomData })
    }

    /// The value; `None` where the database has no such row.
    #[must_use]
    pub const fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }
}

impl<V> Deref for Authoritative<'_, V> {
    type Target = Option<V>;

    fn deref(&self) -> &Option<V> {
        &self.value
    }
}

impl<V> std::fmt::Debug for Authoritative<'_, V> {
    /// Does not show the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authoritative").field("absent", &self.value.is_none()).finish_non_exhaustive()
    }
}

/// What became of a row that a write has published.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The class.
    pub class: ClassName,
    /// What became of it. Nothing of it fails the write.
    pub fate: Fate,
    /// The number that identifies the row's content; none where it was not loaded.
    pub version: Option<u64>,
}

/// How far a published row has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Memory holds it. Once it is settled it is shared with other nodes, where the class uses the remote tier.
    Kept,
    /// Memory holds it. It will not be shared: the remote tier does not answer and is left alone.
    KeptHere,
    /// Memory does not hold it: a change that the load has not seen was told meanwhile, or nothing can be kept now.
    Rejected(Rejected),
    /// Memory does not hold it: the plan keeps no such value.
    NotKept,
    /// The row was not loaded after the commit: the next reader loads it.
    NotLoaded(LoadError),
}

impl Fate {
    /// The names in metrics.
    pub const LABELS: [&'static str; 6] =
        ["kept", "kept_here", "rejected", "not_kept", "not_loaded", "source_busy"];

    /// The name in metrics and protocols.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    pub(crate) const fn index(&self) -> usize {
        match self {
            Self::Kept => 0,
            Self::KeptHere => 1,
            Self::Rejected(_) => 2,
            Self::NotKept => 3,
            Self::NotLoaded(LoadError::Shed { .. } | LoadError::LeftAlone { .. }) => 5,
            Self::NotLoaded(_) => 4,
        }
    }
}

/// What a write of one row came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It is committed: of a class whose pattern is write-through.
    Committed {
        /// A read that carries it reflects the write, on any node.
        token: Token,
        /// What became of the row on its way into the tiers.
        published: Publication,
    },
    /// It is in the journal, and will be in the source: of a class whose pattern is write-behind. There is no token.
    Accepted {
        /// Its number in this node's journal.
        sequence: u64,
    },
}
