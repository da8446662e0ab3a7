//! Typed classes.

use std::{ops::Deref, sync::Arc};

use trueup_core::{
    class::Pattern,
    entry::CacheValue,
    error::{PutError, ReadError},
    key::CacheKey,
    read,
    source::LoadError,
    write::Authoritative,
};

use super::rows::{Located, Note, Rows, Transaction};

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
    /// rest. A class that is written behind has none: what was accepted may not be in the database yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn authoritative<'tx, T: Transaction>(
        &self,
        transaction: &'tx T,
        key: &K,
    ) -> Result<Authoritative<'tx, V>, ReadError> {
        if matches!(self.plan().pattern, Pattern::WriteBehind { .. }) {
            let why = "the class is written behind, so the database may lack what was accepted: no decision may rest on it";
            return Err(LoadError::Refused(why.into()).into());
        }
        let transaction: &'tx (dyn Transaction + 'tx) = transaction;
        Authoritative::read(transaction, &Located { rows: &self.rows, key }).await
    }

    /// Has the row under `key` put into the tiers as `transaction` leaves it, right after its commit: write-through. What
    /// becomes of it [`Trueup::write_through`](crate::Trueup::write_through) tells; it never fails the write.
    ///
    /// # Errors
    /// [`PutError`] for a key that is none of the class, and for a class of another pattern.
    pub fn publish(&self, transaction: &impl Transaction, key: &K) -> Result<(), PutError> {
        if !self.is_written_through() {
            let (class, pattern) = (self.plan().name.clone(), self.plan().pattern.as_str());
            return Err(PutError::NotWritten { class, pattern });
        }
        let key = self.rows.key(key)?;
        transaction.note(Arc::new(Note { class: self.class.clone(), rows: Arc::clone(&self.rows), key }));
        Ok(())
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
