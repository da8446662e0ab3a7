//! The default policy's store: an index that readers look in, and the library that decides who leaves.
//!
//! The library keeps its entries in a slab behind its own table, so a lookup there waits for memory four times in a row:
//! control bytes, slot, slab, entry. The index holds the entries themselves and needs two: a line of its table, and the entry.
//! What the library still has to be told is which entries are used, and of that only as much as it can remember: see [`Uses`].

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use smallvec::SmallVec;

use super::{
    Held, Weighed,
    index::Index,
    key::{EntryKey, Prehashed, Wanted},
    store::Weigher,
};

/// Share of a segment kept for entries read more than once. This and the next were chosen on the published traces: the
/// fewest sizes at which another policy does better by a point (`cargo xtask hit-ratios`).
pub(super) const HOT_SHARE: f64 = 0.93;
/// Hashes of evicted entries that are remembered, as a share of the entries expected. Each costs a slot of the slab;
/// twice as many would gain on half the traces and cost the small caches of others.
const GHOST_SHARE: f64 = 1.0;
/// Uses of one entry that the library can tell apart before it looks at the entry again: its counters end at two.
const USES_TOLD_MAX: u8 = 2;

type Policy<E> = quick_cache::sync::Cache<EntryKey<E>, (), Weigher, Prehashed, Collect>;

/// How many uses of an entry the policy has been told of since it last looked at the entry. One more than it can count
/// would change nothing, so a hot entry is read without troubling it.
#[derive(Debug, Default)]
pub struct Uses(AtomicU8);

impl Uses {
    /// Counts a use; whether the policy has to be told of it.
    #[inline]
    fn count(&self) -> bool {
        let told = self.0.load(Ordering::Relaxed);
        if told >= USES_TOLD_MAX {
            return false;
        }
        // Two threads at once may tell the same use twice: no harm in a guess about the future.
        self.0.store(told + 1, Ordering::Relaxed);
        true
    }

    /// The policy is about to lower its own count.
    #[inline]
    pub(super) fn start_again(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Entries under S3-FIFO. Whoever changes it holds the segment's write lock.
pub(super) struct S3Fifo<E: Weighed> {
    index: Index<E>,
    policy: Policy<E>,
}

impl<E: Weighed> S3Fifo<E> {
    pub(super) fn new(capacity: usize, entries_expected: usize, weigher: Weigher) -> Self {
        let options = quick_cache::OptionsBuilder::new()
            .shards(1)
            .weight_capacity(capacity as u64)
            .estimated_items_capacity(entries_expected)
            .hot_allocation(HOT_SHARE)
            .ghost_allocation(GHOST_SHARE)
            .build();
        #[expect(clippy::expect_used, reason = "build only fails without the two capacities given above")]
        let options = options.expect("both capacities are given");
        Self {
            index: Index::default(),
            policy: Policy::with_options(options, weigher, Prehashed::default(), Collect),
        }
    }

    #[inline]
    pub(super) fn get(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        let entry = self.peek(wanted)?;
        if entry.uses().count() {
            self.tell(wanted);
        }
        Some(entry)
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, wanted: &Wanted<'_>) {
        self.policy.get(wanted);
    }

    #[inline]
    pub(super) fn peek(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        self.index.get(wanted.hash, |held| wanted.is_of(held))
    }

    /// Stores `entry` in place of one under the same key. Returns how many entries left, a replaced one among them; shows
    /// `evicted` those that had to make room.
    pub(super) fn insert(&self, entry: Arc<E>, evicted: impl Fn(&E)) -> usize {
        let mut leaving = Leaving::default();
        self.policy.insert_with_lifecycle(EntryKey(Arc::clone(&entry)), (), &mut leaving);
        let wanted = Wanted::of(entry.key());
        let hash_of = |held: &E| held.print().hash();
        self.index.put(wanted.hash, Arc::clone(&entry), |held| wanted.is_of(held.as_ref()), hash_of);
        // A replaced entry has lost its place already. The new one may be among those that left.
        for left in &leaving.0 {
            self.index.remove(left.print().hash(), |held| Arc::ptr_eq(held, left));
            if left.key() != entry.key() {
                evicted(left);
            }
        }
        leaving.0.len()
    }

    pub(super) fn remove(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        let (EntryKey(entry), ()) = self.policy.remove(wanted)?;
        self.index.remove(wanted.hash, |held| Arc::ptr_eq(held, &entry));
        Some(entry)
    }

    pub(super) fn clear(&self) {
        self.policy.clear();
        self.index.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.policy.len()
    }

    pub(super) fn weight(&self) -> usize {
        self.policy.weight() as usize
    }

    /// Entries in no order, each cloned under a lock of its own.
    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<E>> {
        self.policy.iter().map(|(EntryKey(entry), ())| entry)
    }
}

impl<E: Weighed> quick_cache::Weighter<EntryKey<E>, ()> for Weigher {
    #[inline]
    fn weight(&self, key: &EntryKey<E>, (): &()) -> u64 {
        // The library weighs an entry when it moves it from the new to the hot, which costs the entry one count.
        key.0.uses().start_again();
        self.weigh(key.0.as_ref()) as u64
    }
}

/// Hands what leaves to the caller, so that it is counted and freed outside the library's lock.
#[derive(Clone, Copy)]
struct Collect;

/// Entries pushed out by one insertion: nearly always none or one.
struct Leaving<E>(SmallVec<[Arc<E>; 2]>);

impl<E> Default for Leaving<E> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<E: Weighed> quick_cache::Lifecycle<EntryKey<E>, ()> for Collect {
    type RequestState = Leaving<E>;

    /// No entry is; but the library asks of each entry that its hand passes, and then lowers its count by one.
    #[inline]
    fn is_pinned(&self, key: &EntryKey<E>, (): &()) -> bool {
        key.0.uses().start_again();
        false
    }

    fn on_evict(&self, leaving: &mut Leaving<E>, key: EntryKey<E>, (): ()) {
        leaving.0.push(key.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Plain {
        key: String,
        uses: Uses,
    }

    impl Weighed for Plain {
        fn weight(&self) -> usize {
            1
        }

        fn key(&self) -> &str {
            &self.key
        }

        fn uses(&self) -> &Uses {
            &self.uses
        }
    }

    fn store() -> S3Fifo<Plain> {
        S3Fifo::new(CAPACITY, CAPACITY, Weigher { overhead_bytes: 0, weight_min: 1 })
    }

    /// Entries of weight one that a store of these tests holds.
    const CAPACITY: usize = 64;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn uses_that_are_not_told_change_nothing(keys in prop::collection::vec(0..200_u32, 1..3000)) {
            let (spared, troubled) = (store(), store());
            for key in keys {
                // Low numbers are hot.
                let key = (key * key / 200).to_string();
                let wanted = Wanted::of(&key);
                let found = spared.get(&wanted).is_some();
                if let Some(entry) = troubled.peek(&wanted) {
                    entry.uses().start_again();
                }
                prop_assert_eq!(found, troubled.get(&wanted).is_some());
                if !found {
                    for store in [&spared, &troubled] {
                        store.insert(Arc::new(Plain { key: key.clone(), uses: Uses::default() }), |_| ());
                    }
                }
            }
        }
    }

    #[test]
    fn the_index_holds_what_the_policy_holds() {
        let store = store();
        for number in 0..1000_u32 {
            let key = (number * number % 257).to_string();
            if store.get(&Wanted::of(&key)).is_none() {
                store.insert(Arc::new(Plain { key, uses: Uses::default() }), |_| ());
            }
            if number.is_multiple_of(7) {
                store.remove(&Wanted::of(&(number % 257).to_string()));
            }
            let held: Vec<_> = store.iter().collect();
            assert_eq!((held.len(), store.index.len()), (store.len(), store.len()));
            assert!(held.iter().all(|entry| {
                store.peek(&Wanted::of(&entry.key)).is_some_and(|found| Arc::ptr_eq(&found, entry))
            }));
        }
    }
}
