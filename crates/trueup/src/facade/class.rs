//! Typed classes.

use std::{ops::Deref, sync::Arc};

use trueup_core::{entry::CacheValue, error::ReadError, key::CacheKey, read, write::Authoritative};

use super::rows::{Located, Rows, Transaction};

/// A class of values, keyed by `K`: everything that the [engine's class](read::Class) does, and reads in a transaction.
/// Cheap to clone; all clones share entries and counters.
pub struct Class<K, V: CacheValue> {
    class: read::Class<K, V>,
    rows: Arc<Rows<K, V>>,
}

impl<K, V: CacheValue> Clone for Class<K, V> {
    fn clone(&self) -> Self {
        Self { class: self.class.clone(), rows: Arc::clone(&self.rows) }
    }
}

impl<K, V: CacheValue> Class<K, V> {
    pub(super) const fn new(class: read::Class<K, V>, rows: Arc<Rows<K, V>>) -> Self {
        Self { class, rows }
    }
}

impl<K, V: CacheValue> Deref for Class<K, V> {
    type Target = read::Class<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.class
    }
}

impl<K, V> Class<K, V>
where
    K: CacheKey + Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// The value as `transaction` reads it, locked until the transaction ends: the only kind on which a decision may
    /// rest.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn authoritative<'tx, T: Transaction>(
        &self,
        transaction: &'tx T,
        key: &K,
    ) -> Result<Authoritative<'tx, V>, ReadError> {
        let transaction: &'tx (dyn Transaction + 'tx) = transaction;
        Authoritative::read(transaction, &Located { rows: &self.rows, key }).await
    }
}

/// A class on which decisions rest. It has no way to read from a tier, because it is in none.
pub struct Decision<K, V> {
    rows: Arc<Rows<K, V>>,
}

impl<K, V> Clone for Decision<K, V> {
    fn clone(&self) -> Self {
        Self { rows: Arc::clone(&self.rows) }
    }
}

impl<K, V> Decision<K, V> {
    pub(super) fn new(rows: Rows<K, V>) -> Self {
        Self { rows: Arc::new(rows) }
    }
}

impl<K, V> Decision<K, V>
where
    K: CacheKey + Send + Sync + 'static,
    V: CacheValue,
{
    /// The value as `transaction` reads it, locked until the transaction ends.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn authoritative<'tx, T: Transaction>(
        &self,
        transaction: &'tx T,
        key: &K,
    ) -> Result<Authoritative<'tx, V>, ReadError> {
        let transaction: &'tx (dyn Transaction + 'tx) = transaction;
        Authoritative::read(transaction, &Located { rows: &self.rows, key }).await
    }
}
