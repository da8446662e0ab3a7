//! Values on which decisions may rest.

use std::{marker::PhantomData, ops::Deref};

use crate::{env::BoxFuture, error::ReadError, source::LoadError};

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
