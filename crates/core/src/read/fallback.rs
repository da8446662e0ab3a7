//! What stands in when the source fails or sheds and memory has nothing: the last known good value, or a declared one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::ClassCore;
use crate::{
    class::{CacheablePlan, Fallback},
    entry::{CacheValue, CodecError},
    env::Nanos,
    key::Key,
    proof::{Need, Position, Proof},
    receipt::{Cached, Miss, Receipt, ServedBy, content_version},
    tier::{Entry, MemoryConfig, MemoryTier, Policy, Stay},
};

/// What one class has to stand in.
pub(crate) enum StandIns<V: CacheValue> {
    Nothing,
    /// Entries as they were loaded, apart from the tier: neither eviction nor a purge takes them away. The least recently
    /// loaded or used leave first, for what matters is what is asked for.
    LastKnownGood(MemoryTier<Entry<V>>),
    /// What the plan declares, as an entry that no proof covers.
    Declared(Arc<Entry<V>>),
}

impl<V: CacheValue> StandIns<V> {
    /// # Errors
    /// [`CodecError`] when the declared value is none of the class.
    pub(crate) fn new(plan: &CacheablePlan) -> Result<Self, CodecError> {
        Ok(match &plan.guards.fallback {
            Fallback::None => Self::Nothing,
            Fallback::LastKnownGood => {
                let config = MemoryConfig::new(plan.guards.fallback_capacity_bytes).with_policy(Policy::Lru);
                Self::LastKnownGood(MemoryTier::new(&config.with_segments(1)))
            }
            Fallback::Value(json) => {
                let value = V::decode(&Bytes::copy_from_slice(json.as_bytes()))?;
                let version = content_version(Some(json.as_bytes()));
                let stay = Stay {
                    loaded: Nanos::ZERO,
                    load_time: Duration::ZERO,
                    expires: Nanos::ZERO,
                    hard_expires: Nanos::ZERO,
                    refresh_from: Nanos(u64::MAX),
                };
                // Its key is nobody's: the value stands in for all of them.
                let nobody = Key::nobody();
                Self::Declared(Arc::new(Entry::new(nobody, Some(value), version, 0, Proof::none(), stay)))
            }
        })
    }

    /// Keeps what was loaded, or is in use.
    #[inline]
    pub(super) fn keep(&self, entry: &Arc<Entry<V>>) {
        if let Self::LastKnownGood(kept) = self {
            Self::keep_in(kept, entry);
        }
    }

    #[cold]
    fn keep_in(kept: &MemoryTier<Entry<V>>, entry: &Arc<Entry<V>>) {
        // Whatever is newer, by what it can have seen in the same epoch.
        let _ = kept.insert_unless(Arc::clone(entry), |held, new| {
            held.proof().epochs() == new.proof().epochs() && held.proof().upper() > new.proof().upper()
        });
    }

    /// Bytes of last known good values, for metrics.
    pub(super) fn weight(&self) -> usize {
        if let Self::LastKnownGood(kept) = self { kept.weight() } else { 0 }
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// What stands in under `key` for a reader who asks for no more than the class's own bound; labelled.
    pub(super) fn fallback(&self, key: &Key, need: &Need, miss: Miss) -> Option<Cached<V>> {
        if need.token.is_some() {
            // Who carries a token was promised their own write.
            return None;
        }
        match &self.stand_ins {
            StandIns::Nothing => None,
            StandIns::LastKnownGood(kept) => {
                let entry = kept.get(key.as_str())?;
                let age = self.clock.now().since(self.last_true(&entry));
                let good = self.is_of_this_world(&entry) && age <= self.plan.guards.fallback_age_max;
                good.then(|| self.stale(&entry, miss))
            }
            StandIns::Declared(entry) => {
                self.stats.served(ServedBy::Fallback);
                let receipt = Receipt {
                    served_by: ServedBy::Fallback,
                    age: Duration::MAX,
                    proven: false,
                    watermark: Position::ZERO,
                    miss: Some(miss),
                };
                Some(Cached::new(Arc::clone(entry), receipt))
            }
        }
    }
}
