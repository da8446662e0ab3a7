//! The default policy's store: an index that readers look in, and the library that decides who leaves.
//!
//! The library keeps its entries in a slab behind its own table, so a lookup there waits for memory four times in a row:
//! control bytes, slot, slab, entry. The index holds the entries themselves and needs two: a line of its table, and the entry.
//! What the library still has to be told is which entries are used, and of that only as much as it can remember: see [`Uses`].
//!
//! An entry comes into the index when it is read for the first time: many never are, and would only make fills dearer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use smallvec::SmallVec;

use super::{
    Held, Weighed,
    index::Index,
    key::{Prehashed, Print, Wanted},
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

type Policy<E> = quick_cache::sync::Cache<Print, Arc<E>, Weigher, Prehashed, Collect>;

/// The tier's own note in an entry.
#[derive(Debug, Default)]
pub struct Uses {
    /// How many uses the policy has been told of since it last looked at the entry. One more than it can count would change
    /// nothing, so a hot entry is read without troubling it.
    told: AtomicU8,
    /// Whether the index holds the entry. Changed by whoever has the segment's write lock.
    is_indexed: AtomicBool,
}

impl Uses {
    /// Counts a use; whether the policy has to be told of it.
    #[inline]
    fn count(&self) -> bool {
        let told = self.told.load(Ordering::Relaxed);
        if told >= USES_TOLD_MAX {
            return false;
        }
        // Two threads at once may tell the same use twice: no harm in a guess about the future.
        self.told.store(told + 1, Ordering::Relaxed);
        true
    }

    /// The policy is about to lower its own count.
    #[inline]
    pub(super) fn start_again(&self) {
        self.told.store(0, Ordering::Relaxed);
    }

    fn is_indexed(&self) -> bool {
        self.is_indexed.load(Ordering::Relaxed)
    }

    fn set_indexed(&self, is_indexed: bool) {
        self.is_indexed.store(is_indexed, Ordering::Relaxed);
    }
}

/// Entries under S3-FIFO. Whoever changes it holds the segment's write lock.
///
/// The policy knows an entry by its print: of two texts that share one the later takes the earlier's place.
pub(super) struct S3Fifo<E: Weighed> {
    /// Of the policy's entries those that were read.
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

    /// The entry under a key, if it was read before; counts as a use.
    #[inline]
    pub(super) fn get_read(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        let entry = self.index.get(wanted.hash, |held| wanted.is_of(held))?;
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

    /// Whether an entry may be held under a key, read or not.
    pub(super) fn holds(&self, wanted: &Wanted<'_>) -> bool {
        self.policy.contains_key(wanted)
    }

    /// The entry under a key, read or not; counts as a use, so that readers find it from now on.
    pub(super) fn get_unread(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        let entry = self.policy.get(wanted).filter(|entry| wanted.is_of(entry.as_ref()))?;
        entry.uses().count();
        // Another reader may have been sooner.
        if !entry.uses().is_indexed() {
            entry.uses().set_indexed(true);
            self.index.put(wanted.hash, Arc::clone(&entry));
        }
        Some(entry.into())
    }

    /// The entry under a key, read or not.
    pub(super) fn peek(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        self.policy.peek(wanted).filter(|entry| wanted.is_of(entry.as_ref()))
    }

    /// Stores `entry` in place of one under the same key. Returns how many entries left, a replaced one among them; shows
    /// `evicted` those that had to make room.
    pub(super) fn insert(&self, entry: Arc<E>, evicted: impl Fn(&E)) -> usize {
        let print = entry.print();
        let mut leaving = Leaving::default();
        self.policy.insert_with_lifecycle(print, Arc::clone(&entry), &mut leaving);
        // No reader has to: a read allocates nothing.
        self.index.make_room(self.policy.len(), |held| held.print().hash());
        // The new one may be among those that left.
        let has_left = leaving.0.iter().any(|left| Arc::ptr_eq(left, &entry));
        for left in &leaving.0 {
            if left.uses().is_indexed() && !has_left && left.print() == print {
                left.uses().set_indexed(false);
                entry.uses().set_indexed(true);
                self.index.replace(print.hash(), left, Arc::clone(&entry));
            } else {
                self.take_from_index(left);
            }
            if left.key() != entry.key() {
                evicted(left);
            }
        }
        leaving.0.len()
    }

    pub(super) fn remove(&self, wanted: &Wanted<'_>) -> Option<Arc<E>> {
        let (_, entry) = self.policy.remove_if(wanted, |entry| wanted.is_of(entry.as_ref()))?;
        self.take_from_index(&entry);
        Some(entry)
    }

    fn take_from_index(&self, entry: &Arc<E>) {
        if entry.uses().is_indexed() {
            entry.uses().set_indexed(false);
            self.index.remove(entry.print().hash(), entry);
        }
    }

    /// While nobody changes the store, its index holds those entries of the policy that say so, and no other.
    #[cfg(test)]
    pub(super) fn check_index(&self) {
        let indexed: Vec<_> = self.iter().filter(|entry| entry.uses().is_indexed()).collect();
        assert_eq!(indexed.len(), self.index.len());
        for entry in indexed {
            let found = self.index.get(entry.print().hash(), |held| std::ptr::eq(held, &raw const *entry));
            assert!(found.is_some());
        }
    }

    pub(super) fn clear(&self) {
        self.iter().for_each(|entry| entry.uses().set_indexed(false));
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
        self.policy.iter().map(|(_, entry)| entry)
    }
}

impl<E: Weighed> quick_cache::Weighter<Print, Arc<E>> for Weigher {
    #[inline]
    fn weight(&self, _: &Print, entry: &Arc<E>) -> u64 {
        // The library weighs an entry when it moves it from the new to the hot, which costs the entry one count.
        entry.uses().start_again();
        self.weigh(entry.as_ref()) as u64
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

impl<E: Weighed> quick_cache::Lifecycle<Print, Arc<E>> for Collect {
    type RequestState = Leaving<E>;

    /// No entry is; but the library asks of each entry that its hand passes, and then lowers its count by one.
    #[inline]
    fn is_pinned(&self, _: &Print, entry: &Arc<E>) -> bool {
        entry.uses().start_again();
        false
    }

    fn on_evict(&self, leaving: &mut Leaving<E>, _: Print, entry: Arc<E>) {
        leaving.0.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        collections::{HashMap, HashSet},
    };

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

    fn plain(key: String) -> Arc<Plain> {
        Arc::new(Plain { key, uses: Uses::default() })
    }

    impl S3Fifo<Plain> {
        fn read(&self, key: &str) -> Option<Held<Plain>> {
            let wanted = Wanted::of(key);
            self.get_read(&wanted).or_else(|| self.get_unread(&wanted))
        }
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
                let found = spared.read(&key).is_some();
                if let Some(entry) = troubled.peek(&wanted) {
                    entry.uses().start_again();
                }
                prop_assert_eq!(found, troubled.read(&key).is_some());
                if !found {
                    for store in [&spared, &troubled] {
                        store.insert(plain(key.clone()), |_| ());
                    }
                }
            }
        }
    }

    #[test]
    fn the_index_holds_those_of_the_policys_entries_that_were_read() {
        let (store, mut read) = (store(), HashSet::new());
        for number in 0..2000_u32 {
            let key = (number * number % 257).to_string();
            match number % 5 {
                0 => drop(store.remove(&Wanted::of(&key))),
                1 => drop(store.insert(plain(key.clone()), |_| ())),
                _ if store.read(&key).is_some() => drop(read.insert(key.clone())),
                _ => drop(store.insert(plain(key.clone()), |_| ())),
            }
            let held: HashMap<_, _> = store.iter().map(|entry| (entry.key.clone(), entry)).collect();
            // One that takes another's place is found where that was.
            read.retain(|key| held.contains_key(key));
            store.check_index();
            assert_eq!((held.len(), store.index.len()), (store.len(), read.len()));
            for (key, entry) in &held {
                let wanted = Wanted::of(key);
                assert!(
                    store.holds(&wanted)
                        && store.peek(&wanted).is_some_and(|found| Arc::ptr_eq(&found, entry))
                );
                let found = store.get_read(&wanted);
                assert_eq!(found.is_some(), read.contains(key), "{number}: {key}");
                assert!(found.is_none_or(|found| Arc::ptr_eq(&found, entry)));
            }
        }
        store.clear();
        assert_eq!((store.len(), store.index.len()), (0, 0));
    }

    /// Whoever fills makes the room that readers need.
    #[test]
    fn there_is_room_in_the_index_for_all_that_are_held() {
        let entries = CAPACITY * 20;
        let store = S3Fifo::new(entries, entries, Weigher { overhead_bytes: 0, weight_min: 1 });
        let numbers = || 0..entries - CAPACITY;
        for number in numbers() {
            store.insert(plain(number.to_string()), |_| ());
        }
        assert_eq!(store.index.len(), 0);
        assert!(numbers().all(|number| store.read(&number.to_string()).is_some()));
        store.check_index();
        assert_eq!(store.index.len(), store.len());
    }

    /// Two texts that share a print, which a test has to make up.
    #[test]
    fn of_two_keys_with_one_print_the_later_is_held() {
        struct Alike(&'static str, Uses);
        impl Weighed for Alike {
            fn weight(&self) -> usize {
                1
            }
            fn key(&self) -> &str {
                self.0
            }
            fn print(&self) -> Print {
                Print::of("both")
            }
            fn uses(&self) -> &Uses {
                &self.1
            }
        }
        let store = S3Fifo::new(CAPACITY, CAPACITY, Weigher { overhead_bytes: 0, weight_min: 1 });
        let both = Wanted::of("both");
        store.insert(Arc::new(Alike("both", Uses::default())), |_| ());
        assert!(store.get_unread(&both).is_some());
        let evicted = Cell::new(None);
        let left = store.insert(Arc::new(Alike("other", Uses::default())), |left| evicted.set(Some(left.0)));
        assert_eq!((left, evicted.get(), store.len()), (1, Some("both"), 1));
        assert!(store.holds(&both) && store.get_read(&both).is_none() && store.get_unread(&both).is_none());
        assert!(store.peek(&both).is_none() && store.remove(&both).is_none());
        assert_eq!(store.len(), 1);
    }
}
