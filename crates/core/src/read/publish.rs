//! Write-through: the row as a commit has left it enters the tiers.
//!
//! It takes the way of every load: the floor is noted before its query is sent, and the ledger judges what it saw. So a row
//! that another commit has overtaken is not kept, and of two publications the one that has seen more stays. Nothing here can
//! fail the write, which has happened already.

use std::{future::Future, sync::atomic::Ordering, time::Duration};

use super::{Class, ClassCore};
use crate::{
    class::Pattern,
    entry::CacheValue,
    key::Key,
    source::{LoadError, Loaded, Outcome, ShedReason},
    write::{Fate, Publication},
};

/// How long a published row is waited for, COMMIT included: the answer to the writer waits for it.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(1);
/// When the next reader may load what the source was too busy to have published, in milliseconds.
const BUSY_RETRY_MS: u64 = 1;

impl<K: Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// Whether a write through Trueup puts the committed row into the tiers.
    #[must_use]
    pub fn is_written_through(&self) -> bool {
        self.core.plan.pattern == Pattern::WriteThrough
    }

    /// Puts the row under `canonical` into the tiers, as it is right after a commit.
    ///
    /// Called before the COMMIT is sent. `load` must run its query after the COMMIT on the primary; what it brings counts only if
    /// `outcome` is a commit. For adapters; see `Trueup::write_through` in the library.
    pub async fn publish_after(
        &self,
        canonical: &Key,
        load: impl Future<Output = Result<Loaded<V>, LoadError>> + Send,
        outcome: Outcome,
    ) -> Publication {
        self.core.publish_after(canonical, load, outcome).await
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    pub(super) async fn publish_after(
        &self,
        canonical: &Key,
        load: impl Future<Output = Result<Loaded<V>, LoadError>> + Send,
        outcome: Outcome,
    ) -> Publication {
        let (fate, version) = match self.load_after(canonical, load, outcome).await {
            Ok((fate, version)) => (fate, Some(version)),
            Err(error) => (Fate::NotLoaded(error), None),
        };
        self.stats.published(&fate);
        Publication { class: self.plan.name.clone(), fate, version }
    }

    async fn load_after(
        &self,
        canonical: &Key,
        load: impl Future<Output = Result<Loaded<V>, LoadError>> + Send,
        outcome: Outcome,
    ) -> Result<(Fate, u64), LoadError> {
        // Nobody waits for this load, so it takes its place after those of readers or not at all.
        let Some(admission) = self.gate.admit_idle().await else {
            return Err(LoadError::Shed { why: ShedReason::QueueFull, retry_after_ms: BUSY_RETRY_MS });
        };
        let started = self.clock.now();
        let proof = self.ledger.begin_load(started, self.catalogue.number().load(Ordering::Acquire));
        let limit = self.plan.hard_timeout.min(PUBLISH_WAIT_MAX);
        let result = match tokio::time::timeout(limit, load).await {
            Ok(result) => result,
            Err(_) => Err(LoadError::TimedOut { limit_ms: limit.as_millis() as u64 }),
        };
        let took = self.clock.now().since(started);
        self.stats.loaded(result.as_ref().map(|loaded| loaded.value.is_some()), took);
        // A commit may wait for a lock or a standby, which says nothing about the source's load.
        drop(admission);
        let loaded = result?;
        if !outcome.committed().await {
            return Err(LoadError::Lost);
        }
        self.note_found(loaded.value.is_some());
        let (entry, judged) = self.judge_load(proof, canonical.clone(), loaded, took, true);
        let fate = match judged {
            Ok(true) => {
                self.keep(&entry);
                if self.remote_is_down() { Fate::KeptHere } else { Fate::Kept }
            }
            Ok(false) => Fate::NotKept,
            Err(why) => {
                self.stats.rejected(why);
                Fate::Rejected(why)
            }
        };
        Ok((fate, entry.version()))
    }

    /// Whether the remote tier, if the class uses it, is left alone as a whole.
    fn remote_is_down(&self) -> bool {
        let Some(outbox) = self.outbox.as_ref() else { return false };
        let servers = outbox.servers();
        !servers.is_empty() && servers.iter().all(|server| server.left_alone.is_some())
    }
}
