//! The libraries behind a segment, under one face.
//!
//! Every method that changes the store is called with the segment's write lock held, so "look, then change" is atomic
//! against other writers. Reads need no lock of ours.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use foyer_memory::{EvictionConfig, FifoConfig, LfuConfig, LruConfig, SieveConfig};
use smallvec::SmallVec;

use super::{
    Policy, Weighed,
    key::{EntryKey, Prehashed, Wanted},
};

/// Share of an s3-fifo segment kept for entries read more than once. This and the next were chosen on the published
/// traces: the fewest sizes at which another policy does better by a point (`cargo xtask hit-ratios`).
const HOT_SHARE: f64 = 0.93;
/// Hashes of evicted entries that s3-fifo remembers, as a share of the entries expected. Each costs a slot of the slab;
/// twice as many would gain on half the traces and cost the small caches of others.
const GHOST_SHARE: f64 = 1.0;

type Quick<E> = quick_cache::sync::Cache<EntryKey<E>, Arc<E>, Weigher, Prehashed, Collect>;
type Foyer<E> = foyer_memory::Cache<EntryKey<E>, (), Prehashed>;

/// One segment's entries.
pub(super) enum Store<E: Weighed> {
    S3Fifo(Quick<E>),
    Listed(Foyer<E>),
}

impl<E: Weighed> Store<E> {
    /// A store of `capacity` weight, sized for `entries_expected`.
    pub(super) fn new(policy: Policy, capacity: usize, entries_expected: usize, weigher: Weigher) -> Self {
        let listed = match policy {
            Policy::S3Fifo => return Self::S3Fifo(s3_fifo(capacity, entries_expected, weigher)),
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
            .with_weighter(move |key: &EntryKey<E>, (): &()| weigher.weigh(key.0.as_ref()))
            .build();
        Self::Listed(cache)
    }

    /// The heaviest entry a store of `capacity` admits.
    pub(super) fn heaviest(policy: Policy, capacity: usize) -> usize {
        match policy {
            Policy::S3Fifo => ((capacity as f64 * HOT_SHARE) as usize).clamp(capacity.min(1), capacity),
            Policy::Lru | Policy::Lfu | Policy::Fifo | Policy::Sieve => capacity,
        }
    }

    /// The entry under a key; counts as a use.
    #[inline]
    pub(super) fn get(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        match self {
            Self::S3Fifo(cache) => cache.get(wanted),
            Self::Listed(cache) => cache.get(wanted).map(|found| Arc::clone(&found.key().0)),
        }
    }

    /// The entry under a key, not counted as a use where the library can tell (foyer can't).
    pub(super) fn peek(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        match self {
            Self::S3Fifo(cache) => cache.peek(wanted),
            Self::Listed(_) => self.get(wanted),
        }
    }

    /// Stores an entry no heavier than [`Store::heaviest`], in place of one under the same key. Returns how many
    /// entries left, a replaced one among them.
    pub(super) fn insert(&self, entry: Arc<E>) -> usize {
        match self {
            Self::S3Fifo(cache) => {
                let mut leaving = Leaving::default();
                cache.insert_with_lifecycle(EntryKey(Arc::clone(&entry)), entry, &mut leaving);
                leaving.0.len()
            }
            Self::Listed(cache) => {
                let before = cache.entries();
                drop(cache.insert(EntryKey(entry), ()));
                (before + 1).saturating_sub(cache.entries())
            }
        }
    }

    pub(super) fn remove(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        match self {
            Self::S3Fifo(cache) => cache.remove(wanted).map(|(_, entry)| entry),
            Self::Listed(cache) => cache.remove(wanted).map(|found| Arc::clone(&found.key().0)),
        }
    }

    pub(super) fn clear(&self) {
        match self {
            Self::S3Fifo(cache) => cache.clear(),
            // Not `clear`: foyer 0.22 leaves the usage counted there, and a tier that looks full evicts all it is given.
            Self::Listed(cache) => cache.evict_all(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::S3Fifo(cache) => cache.len(),
            Self::Listed(cache) => cache.entries(),
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::S3Fifo(cache) => cache.weight() as usize,
            Self::Listed(cache) => cache.usage(),
        }
    }

    /// Shows entries in no order until `visit` returns false. s3-fifo locks per entry; the others lock the segment
    /// throughout, so `visit` must be short and must not touch the tier.
    pub(super) fn visit(&self, mut visit: impl FnMut(&Arc<E>) -> bool) {
        match self {
            Self::S3Fifo(cache) => {
                for (_, entry) in cache.iter() {
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

fn s3_fifo<E: Weighed>(capacity: usize, entries_expected: usize, weigher: Weigher) -> Quick<E> {
    let options = quick_cache::OptionsBuilder::new()
        .shards(1)
        .weight_capacity(capacity as u64)
        .estimated_items_capacity(entries_expected)
        .hot_allocation(HOT_SHARE)
        .ghost_allocation(GHOST_SHARE)
        .build();
    #[expect(clippy::expect_used, reason = "build only fails without the two capacities given above")]
    let options = options.expect("both capacities are given");
    Quick::with_options(options, weigher, Prehashed::default(), Collect)
}

/// Weight of an entry as a segment counts it: its own plus the tier's overhead, never zero (a weightless entry could not
/// be evicted).
#[derive(Clone, Copy)]
pub(super) struct Weigher {
    pub(super) overhead_bytes: usize,
}

impl Weigher {
    #[inline]
    pub(super) fn weigh<E: Weighed>(self, entry: &E) -> usize {
        entry.weight().saturating_add(self.overhead_bytes).max(1)
    }
}

impl<E: Weighed> quick_cache::Weighter<EntryKey<E>, Arc<E>> for Weigher {
    #[inline]
    fn weight(&self, _key: &EntryKey<E>, entry: &Arc<E>) -> u64 {
        self.weigh(entry.as_ref()) as u64
    }
}

/// Hands what leaves to the caller, so that it is counted and freed outside the library's lock.
#[derive(Clone, Copy)]
pub(super) struct Collect;

/// Entries pushed out by one insertion: nearly always none or one.
pub(super) struct Leaving<E>(SmallVec<[Arc<E>; 2]>);

impl<E> Default for Leaving<E> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<E> quick_cache::Lifecycle<EntryKey<E>, Arc<E>> for Collect {
    type RequestState = Leaving<E>;

    fn on_evict(&self, leaving: &mut Leaving<E>, _key: EntryKey<E>, entry: Arc<E>) {
        leaving.0.push(entry);
    }
}
