//! Delete, update, delete again: what is done where nothing proves an entry. For comparison; it loses.
//!
//! The second deletion is there for the reader who has read the old row before the update and stores it after the first
//! deletion. It helps against readers who are faster than the pause, and against no other: who stores the old row after the second
//! deletion leaves it there until its life ends. And it is one node's: other nodes keep what they hold.

use std::sync::Arc;

use super::{Class, ClassCore};
use crate::{
    class::Pattern,
    entry::CacheValue,
    env::{self, BoxFuture},
    error::PutError,
    key::{CacheKey, Key},
    source::{AfterCommit, LoadError, Loaded, Outcome},
};

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// Deletes what this node's memory holds under `key`, runs `update`, and deletes again: at once, and after the pause that
    /// the plan states. For classes whose pattern is delete-update-delete.
    ///
    /// # Errors
    /// [`PutError`] for a class of another pattern, else the error of `update`; what memory held is gone all the same.
    pub async fn delete_update_delete<T, E: From<PutError>>(
        &self,
        key: &K,
        update: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let canonical = self.core.form.key(key).map_err(PutError::from)?;
        if !matches!(self.core.plan.pattern, Pattern::DeleteUpdateDelete { .. }) {
            let (class, pattern) = (self.core.plan.name.clone(), self.core.plan.pattern.as_str());
            return Err(PutError::NotWritten { class, pattern }.into());
        }
        let deletes = self.core.begin_deletes(&canonical);
        let updated = update().await;
        drop(deletes);
        updated
    }
}

/// The update is under way; when it ends, however it ends, the entry is deleted again.
pub(super) struct Deletes<K: Clone + Send + Sync + 'static, V: CacheValue> {
    core: Arc<ClassCore<K, V>>,
    key: Key,
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> Drop for Deletes<K, V> {
    fn drop(&mut self) {
        self.core.tier.remove(self.key.as_str());
        let Pattern::DeleteUpdateDelete { pause } = self.core.plan.pattern else { return };
        let (core, key) = (Arc::downgrade(&self.core), self.key.clone());
        // Counted from the end of the update, however late the task gets its turn.
        let pause = tokio::time::sleep(pause);
        drop(env::spawn("second deletion", async move {
            pause.await;
            if let Some(core) = core.upgrade() {
                core.tier.remove(key.as_str());
            }
        }));
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    /// Deletes what memory holds under a key, for an update that begins now.
    pub(super) fn begin_deletes(self: &Arc<Self>, key: &Key) -> Deletes<K, V> {
        self.tier.remove(key.as_str());
        Deletes { core: Arc::clone(self), key: key.clone() }
    }
}

/// Publishes nothing.
pub(super) struct Unpublished;

impl<V> AfterCommit<V> for Unpublished {
    fn publish<'a>(
        &'a self,
        _: BoxFuture<'a, Result<Loaded<V>, LoadError>>,
        _: Outcome,
    ) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
