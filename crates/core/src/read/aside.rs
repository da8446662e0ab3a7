//! Cache-aside: values that clients load and fill under a lease.
//!
//! Nothing proves such a value: no feed tells when its source changes. What is promised is that one client fills at a time,
//! and that a fill which began before an invalidation is not kept. The invalidation travels by the feed as every other.

use std::{sync::Arc, time::Duration};

use super::{Class, ClassCore, hit::Missed};
use crate::{
    class::Pattern,
    entry::CacheValue,
    error::{FillError, ReadError},
    fill::{Claim, LeaseId},
    key::{CacheKey, Key},
    proof::{Load, Seen, Snapshot, Tag, Tags},
    receipt::{Cached, Receipt, ServedBy},
    source::{LoadError, Loaded, ShedReason},
};

/// What a client that wants a value of a cache-aside class gets.
#[derive(Debug)]
pub enum Leased<V> {
    /// The value.
    Found(Cached<V>),
    /// Nobody has it: load it, and fill it under this lease.
    Granted(Lease),
    /// Another client is loading it: ask again after a while, or go without.
    Wait {
        /// The other's lease has lapsed after this long.
        lapses_in: Duration,
    },
}

/// The right to fill one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Names it.
    pub id: LeaseId,
    /// How long it runs.
    pub life: Duration,
}

/// What an entry of a cache-aside class depends on: explicit invalidation of its key, or of its class.
#[must_use]
pub fn tags_of_filled(class: &str, key: &Key) -> Tags {
    [Tag::named(&format!("{class}:{}", key.as_str())), Tag::named(class)].into_iter().collect()
}

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// The value under `key`, or the right to fill it. For classes whose pattern is cache-aside.
    ///
    /// # Errors
    /// [`ReadError`]; [`LoadError::Shed`] when too many leases run, [`LoadError::Refused`] for a class that loads by itself.
    pub async fn lease(&self, key: &K) -> Result<Leased<V>, ReadError> {
        self.core.lease(key, &self.core.form.key(key)?).await
    }

    /// Fills `key` with what the holder of `lease` has loaded; `None`: there is no such thing.
    ///
    /// # Errors
    /// [`FillError`]; nothing was kept then.
    pub fn fill(&self, key: &K, lease: LeaseId, value: Option<V>) -> Result<Cached<V>, FillError> {
        self.core.fill_leased(&self.core.form.key(key)?, lease, value)
    }

    /// The value under `key`; where nobody has it, `load` is run under a lease and its result kept. Who comes while another
    /// loads, on this node, waits for what that brings, for the class's hard timeout at most.
    ///
    /// # Errors
    /// The loader's own error, or [`ReadError`].
    pub async fn get_with<E: From<ReadError>>(
        &self,
        key: &K,
        load: impl AsyncFnOnce() -> Result<Option<V>, E>,
    ) -> Result<Cached<V>, E> {
        let canonical = self.core.form.key(key).map_err(ReadError::from)?;
        let limit = self.core.plan.hard_timeout;
        let leased = tokio::time::timeout(limit, self.core.found_or_granted(key, &canonical)).await;
        let timed_out = LoadError::TimedOut { limit_ms: limit.as_millis() as u64 };
        match leased.map_err(|_| ReadError::from(timed_out))?? {
            Ok(found) => Ok(found),
            Err(lease) => {
                // A loader that fails, or whose task is dropped, leaves the key to the next.
                let guard = Granted { core: &self.core, key: &canonical, lease };
                let value = load().await?;
                Ok(guard.fill(value))
            }
        }
    }
}

impl<V: CacheValue> Class<Key, V> {
    /// [`Class::lease`] for a key that is in normal form already.
    ///
    /// # Errors
    /// [`ReadError`], as there.
    pub async fn lease_canonical(&self, key: &Key) -> Result<Leased<V>, ReadError> {
        self.core.lease(key, key).await
    }

    /// [`Class::fill`] for a key that is in normal form already.
    ///
    /// # Errors
    /// [`FillError`]; nothing was kept then.
    pub fn fill_canonical(
        &self,
        key: &Key,
        lease: LeaseId,
        value: Option<V>,
    ) -> Result<Cached<V>, FillError> {
        self.core.fill_leased(key, lease, value)
    }
}

/// A lease that ends when it is dropped.
struct Granted<'a, K: Clone + Send + Sync + 'static, V: CacheValue> {
    core: &'a Arc<ClassCore<K, V>>,
    key: &'a Key,
    lease: LeaseId,
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> Granted<'_, K, V> {
    /// What was loaded is its loader's answer whether or not it may be kept.
    fn fill(&self, value: Option<V>) -> Cached<V> {
        let load = self.core.leases.end(self.key, self.lease, self.core.clock.now());
        // A lease that has lapsed has kept nothing: the entry is made from a load that sees nothing, and is not kept.
        let keep = load.is_some();
        let load = load.unwrap_or_else(|| self.core.begin_lease());
        let (cached, _) = self.core.admit_filled(self.key, load, value, keep);
        self.core.leases.wake();
        cached
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> Drop for Granted<'_, K, V> {
    fn drop(&mut self) {
        if self.core.leases.end(self.key, self.lease, self.core.clock.now()).is_some() {
            self.core.leases.wake();
        }
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    /// Whether clients load the values.
    pub(super) fn is_aside(&self) -> bool {
        self.plan.pattern == Pattern::CacheAside
    }

    async fn lease(self: &Arc<Self>, key: &K, canonical: &Key) -> Result<Leased<V>, ReadError> {
        if !self.is_aside() {
            return Err(LoadError::Refused(
                "the class loads its values by itself, so nobody may fill them: read it".into(),
            )
            .into());
        }
        let missed = match self.hit_or_missed(key, canonical, &self.need) {
            Ok(found) => return Ok(Leased::Found(found.answer())),
            Err(missed) => missed,
        };
        self.stats.missed(missed.why);
        if let Some(found) = self.look_up_tier(canonical).await
            && let Ok(receipt) = self.judge(&found.entry, &self.need)
        {
            let receipt = Receipt { served_by: found.from, miss: Some(missed.why), ..receipt };
            self.stats.served(found.from);
            return Ok(Leased::Found(Cached::new(found.entry, receipt)));
        }
        let now = self.clock.now();
        match self.leases.claim(canonical, now, || self.begin_lease()) {
            Claim::Granted(id) => Ok(Leased::Granted(Lease { id, life: self.leases.life() })),
            Claim::Held(lapses_in) => Ok(self.meanwhile(missed, lapses_in)),
            Claim::Full => {
                let retry_after_ms = self.leases.life().as_millis() as u64;
                let error = LoadError::Shed { why: ShedReason::QueueFull, retry_after_ms }.into();
                self.stats.failed(&error);
                Err(error)
            }
        }
    }

    /// While another client loads, a stale value may do.
    fn meanwhile(&self, missed: Missed<V>, lapses_in: Duration) -> Leased<V> {
        let now = self.clock.now();
        match missed.unproven.filter(|entry| self.may_stand_in(entry, &self.need, now)) {
            Some(entry) => Leased::Found(self.stale(&entry, missed.why)),
            None => Leased::Wait { lapses_in },
        }
    }

    /// The value, or a lease; waits while others load.
    async fn found_or_granted(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
    ) -> Result<Result<Cached<V>, LeaseId>, ReadError> {
        loop {
            match self.lease(key, canonical).await? {
                Leased::Found(found) => return Ok(Ok(found)),
                Leased::Granted(lease) => return Ok(Err(lease.id)),
                Leased::Wait { lapses_in } => {
                    self.stats.coalesced();
                    // Woken by any lease of the class that ends; told by none that ended between the two calls, so not for long.
                    self.leases.until_ended(lapses_in.min(WAIT_STEP)).await;
                }
            }
        }
    }

    /// Notes, as a load does, everything that may be invalidated from now on.
    fn begin_lease(&self) -> Load {
        let class_epoch = self.catalogue.number().load(std::sync::atomic::Ordering::Acquire);
        self.ledger.begin_load(self.clock.now(), class_epoch)
    }

    fn fill_leased(&self, key: &Key, lease: LeaseId, value: Option<V>) -> Result<Cached<V>, FillError> {
        let Some(load) = self.leases.end(key, lease, self.clock.now()) else {
            self.stats.rejected_lease();
            return Err(FillError::LeaseLost);
        };
        let (cached, kept) = self.admit_filled(key, load, value, true);
        self.leases.wake();
        kept.map(|()| cached)
    }

    /// What a client loaded since `load` began, kept if nothing was invalidated meanwhile.
    fn admit_filled(
        &self,
        key: &Key,
        load: Load,
        value: Option<V>,
        keep: bool,
    ) -> (Cached<V>, Result<(), FillError>) {
        let (started, began) = (load.started(), load.applied());
        let took = self.clock.now().since(started);
        // The client's own load began when everything through this position had been told, and nothing beyond counts as
        // seen: an invalidation after it ends the fill.
        let epoch = self.ledger.epoch().unwrap_or(crate::entry::EpochId::from_bytes([0; 16]));
        let seen = Seen { snapshot: Snapshot::Sequence(began), upper: began, epoch };
        let tags = tags_of_filled(self.plan.name.as_str(), key);
        self.stats.loaded(Ok(value.is_some()), took);
        // What is not kept here is not shared either: without its lease nobody knows what was invalidated meanwhile.
        let (entry, kept) = self.judge_load(load, key.clone(), Loaded { value, tags, seen }, took, keep);
        let kept = match kept {
            Ok(true) if keep => {
                self.keep(&entry);
                Ok(())
            }
            Ok(true) => Err(FillError::LeaseLost),
            Ok(false) => Err(FillError::NotKept),
            Err(why) => {
                self.stats.rejected(why);
                Err(FillError::Invalidated)
            }
        };
        let receipt =
            Receipt { served_by: ServedBy::Source, age: took, proven: false, watermark: began, miss: None };
        self.stats.served(ServedBy::Source);
        (Cached::new(entry, receipt), kept)
    }
}

/// How long a reader waits for another's lease before it looks again.
const WAIT_STEP: Duration = Duration::from_millis(20);
