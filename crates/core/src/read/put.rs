//! Writes of one row through the cache, by the class's pattern: committed and published, or accepted into the journal.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Class, ClassCore, double_delete::Unpublished};
use crate::{
    class::Pattern,
    entry::CacheValue,
    env::BoxFuture,
    error::PutError,
    key::{CacheKey, Key},
    source::{AfterCommit, LoadError, Loaded, Outcome},
    write::{Fate, Publication, Row, RowChange, Written},
};

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// Gives the row under `key` these columns; it is added where there is none. What becomes of the write is by the class's
    /// pattern: committed (write-through) or accepted (write-behind).
    ///
    /// # Errors
    /// [`PutError`], which says what to do, or when to come back.
    pub async fn put(&self, key: &K, row: Row) -> Result<Written, PutError> {
        self.core.write(&self.core.form.key(key)?, RowChange::Put(row)).await
    }

    /// Deletes the row under `key`, if there is one.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn delete(&self, key: &K) -> Result<Written, PutError> {
        self.core.write(&self.core.form.key(key)?, RowChange::Delete).await
    }
}

impl<V: CacheValue> Class<Key, V> {
    /// [`Class::put`] or [`Class::delete`] for a key that is in normal form already.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn write_canonical(&self, key: &Key, change: RowChange) -> Result<Written, PutError> {
        self.core.write(key, change).await
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    async fn write(self: &Arc<Self>, canonical: &Key, change: RowChange) -> Result<Written, PutError> {
        let class = &self.plan.name;
        let deletes = matches!(self.plan.pattern, Pattern::DeleteUpdateDelete { .. });
        if !deletes && !matches!(self.plan.pattern, Pattern::WriteThrough | Pattern::WriteBehind { .. }) {
            let pattern = self.plan.pattern.as_str();
            return Err(PutError::NotWritten { class: class.clone(), pattern });
        }
        let writer = self.loader.writer().map_err(|why| PutError::Row(why.as_ref().into()))?;
        let bytes = change.row().map_or(0, |row| row.to_json().len());
        if bytes > self.plan.value_bytes_max {
            let limit = self.plan.value_bytes_max;
            let why = format!(
                "the row has {bytes} bytes, class `{class}` holds {limit} at most (`value_bytes_max`)"
            );
            return Err(PutError::Row(why.into()));
        }
        let (change, whole) = writer.check(canonical, change).map_err(|why| PutError::Row(why.into()))?;
        if let Some(behind) = &self.behind {
            let sequence = behind.engine.accept(class, canonical.as_str(), change, whole).await?;
            return Ok(Written::Accepted { sequence });
        }
        if matches!(self.plan.pattern, Pattern::WriteBehind { .. }) {
            let why = format!("class `{class}` is written by other processes: this one has no journal");
            return Err(PutError::Row(why.into()));
        }
        if deletes {
            let deletes = self.begin_deletes(canonical);
            let written = writer.write(canonical, &change, &Unpublished).await;
            drop(deletes);
            let published = Publication { class: class.clone(), fate: Fate::NotKept, version: None };
            return Ok(Written::Committed { token: written?, published });
        }
        let after = Publishing { core: self, key: canonical, published: Mutex::new(None) };
        let token = writer.write(canonical, &change, &after).await?;
        let unpublished =
            || Publication { class: class.clone(), fate: Fate::NotLoaded(LoadError::Lost), version: None };
        let published = after.published.into_inner().unwrap_or_else(unpublished);
        Ok(Written::Committed { token, published })
    }
}

/// Publishes the row that a transaction of its own writes.
struct Publishing<'a, K: Clone + Send + Sync + 'static, V: CacheValue> {
    core: &'a ClassCore<K, V>,
    key: &'a Key,
    published: Mutex<Option<Publication>>,
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> AfterCommit<V> for Publishing<'_, K, V> {
    fn publish<'a>(
        &'a self,
        load: BoxFuture<'a, Result<Loaded<V>, LoadError>>,
        outcome: Outcome,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let published = self.core.publish_after(self.key, load, outcome).await;
            *self.published.lock() = Some(published);
        })
    }
}
