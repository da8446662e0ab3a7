//! The libraries behind a segment, under one face.
//!
//! Every method that changes the store is called with the segment's write lock held, so "look, then change" is atomic
//! against other writers. Reads of s3-fifo take no lock.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use foyer_memory::{EvictionConfig, FifoConfig, LfuConfig, LruConfig, SieveConfig};

use super::{
    Held, Policy, Weighed,
    key::{EntryKey, Prehashed, Wanted},
    s3_fifo::{HOT_SHARE, S3Fifo},
};

/// Told of each entry that had to make room, under s3-fifo; the other library only says how many there were.
pub(super) type Evicted<E> = Arc<dyn Fn(&E) + Send + Sync>;

type Foyer<E> = foyer_memory::Cache<EntryKey<E>, (), Prehashed>;

/// One segment's entries.
#[expect(
    clippy::large_enum_variant,
    reason = "a segment has one, in its place for good: a box would be one more read in each hit"
)]
pub(super) enum Store<E: Weighed> {
    S3Fifo(S3Fifo<E>, Option<Evicted<E>>),
    Listed(Foyer<E>),
}

impl<E: Weighed> Store<E> {
    /// A store of `capacity` weight, sized for `entries_expected`.
    pub(super) fn new(
        policy: Policy,
        capacity: usize,
        entries_expected: usize,
        weigher: Weigher,
        evicted: Option<Evicted<E>>,
    ) -> Self {
        let listed = match policy {
            Policy::S3Fifo => {
                return Self::S3Fifo(S3Fifo::new(capacity, entries_expected, weigher), evicted);
            }
            // One list: with a share of high priority foyer's LRU is two lists and no longer exact.
            Policy::Lru => EvictionConfig::from(LruConfig { high_priority_pool_ratio: 0.0 }),
            Policy::Lfu => EvictionConfig::from(LfuConfig::default()),
            Policy::Fifo => EvictionConfig::from(FifoConfig::default()),
            Policy::Sieve => EvictionConfig::from(SieveConfig {}),
        };
        let cache = foyer_memory::CacheBuilder::new(capacity)
            .with_shards(1)
            .with_eviction_config(listed)
            .with_hash_builder(Prehashed::default())
            .with_weighter(move |key: &EntryKey<E>, (): &()| weigher.weigh(key.0.as_ref()));
        Self::Listed(cache.build())
    }

    /// The heaviest entry a store of `capacity` admits.
    pub(super) fn heaviest(policy: Policy, capacity: usize) -> usize {
        match policy {
            Policy::S3Fifo => ((capacity as f64 * HOT_SHARE) as usize).clamp(capacity.min(1), capacity),
            Policy::Lru | Policy::Lfu | Policy::Fifo | Policy::Sieve => capacity,
        }
    }

    /// The entry under a key, under s3-fifo if it was read before; counts as a use.
    #[inline]
    pub(super) fn get_read(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        match self {
            Self::S3Fifo(store, _) => store.get_read(wanted),
            Self::Listed(cache) => get_listed(cache, wanted),
        }
    }

    /// Whether there may be an entry that [`Store::get_unread`] alone finds.
    pub(super) fn holds_unread(&self, wanted: &Wanted<'_>) -> bool {
        matches!(self, Self::S3Fifo(store, _) if store.holds(wanted))
    }

    /// The entry under a key, read before or not, for whoever has the write lock; counts as a use.
    pub(super) fn get_unread(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        match self {
            Self::S3Fifo(store, _) => store.get_unread(wanted),
            Self::Listed(cache) => get_listed(cache, wanted),
        }
    }

    /// The entry under a key, not counted as a use where the library can tell (foyer can't).
    pub(super) fn peek(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        match self {
            Self::S3Fifo(store, _) => store.peek(wanted).map(Held::from),
            Self::Listed(cache) => get_listed(cache, wanted),
        }
    }

    /// Stores an entry no heavier than [`Store::heaviest`], in place of one under the same key. Returns how many
    /// entries left, a replaced one among them.
    pub(super) fn insert(&self, entry: Arc<E>) -> usize {
        match self {
            Self::S3Fifo(store, evicted) => store.insert(entry, |left| {
                if let Some(evicted) = evicted {
                    evicted(left);
                }
            }),
            Self::Listed(cache) => {
                let before = cache.entries();
                drop(cache.insert(EntryKey(entry), ()));
                (before + 1).saturating_sub(cache.entries())
            }
        }
    }

    pub(super) fn remove(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        match self {
            Self::S3Fifo(store, _) => store.remove(wanted),
            Self::Listed(cache) => cache.remove(wanted).map(|found| Arc::clone(&found.key().0)),
        }
    }

    pub(super) fn clear(&self) {
        match self {
            Self::S3Fifo(store, _) => store.clear(),
            // Not `clear`: foyer 0.22 leaves the usage counted there, and a tier that looks full evicts all it is given.
            Self::Listed(cache) => cache.evict_all(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::S3Fifo(store, _) => store.len(),
            Self::Listed(cache) => cache.entries(),
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::S3Fifo(store, _) => store.weight(),
            Self::Listed(cache) => cache.usage(),
        }
    }

    /// Shows entries in no order until `visit` returns false. s3-fifo locks per entry; the others lock the segment
    /// throughout, so `visit` must be short and must not touch the tier.
    pub(super) fn visit(&self, mut visit: impl FnMut(&Arc<E>) -> bool) {
        match self {
            Self::S3Fifo(store, _) => {
                for entry in store.iter() {
                    if !visit(&entry) {
                        return;
                    }
                }
            }
            Self::Listed(cache) => {
                let mut more = true;
                let looked = cache.flush_if(|key, ()| {
                    more = more && visit(&key.0);
                    false
                });
                // The scan is foyer's only one. Nothing matches and no disk tier is attached, so the first poll ends it.
                let ended = pin!(looked).poll(&mut Context::from_waker(Waker::noop()));
                debug_assert!(ended.is_ready(), "a scan that flushes nothing has nothing to wait for");
            }
        }
    }
}

/// Apart from the default's, so that its own lookup stays short enough to be compiled into a hit.
#[inline(never)]
fn get_listed<E: Weighed>(cache: &Foyer<E>, wanted: &Wanted<'_>) -> Option<Held<E>> {
    cache.get(wanted).map(|found| Arc::clone(&found.key().0).into())
}

/// Weight of an entry as a segment counts it: its own plus the tier's overhead, never zero (a weightless entry could not
/// be evicted).
#[derive(Clone, Copy)]
pub(super) struct Weigher {
    pub(super) overhead_bytes: usize,
    /// No entry counts for less, so that there can be no more entries than the tier is to hold.
    pub(super) weight_min: usize,
}

impl Weigher {
    #[inline]
    pub(super) fn weigh<E: Weighed>(self, entry: &E) -> usize {
        entry.weight().saturating_add(self.overhead_bytes).max(self.weight_min)
    }
}
