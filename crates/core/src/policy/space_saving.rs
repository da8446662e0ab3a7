//! What is seen most, among more than can be counted: the space-saving sketch of Metwally, Agrawal and El Abbadi (2005), with
//! ageing.
//!
//! A bounded number of keys is counted. One that finds no room takes the place of the one counted least, and its count with it:
//! so no count is ever too low, and by how much each may be too high is known. What makes up more than one part in
//! `entries_max` of all that was seen is certainly among them.
//!
//! Own code, because those in the registries neither age nor give their keys back with an error bound.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use crate::key::KeyHashBuilder;

/// Counts the keys seen most often.
#[derive(Clone, Debug)]
pub struct SpaceSaving<K, T = ()> {
    entries: Vec<Counted<K, T>>,
    /// Indexes of entries, the one counted least first: a binary heap.
    heap: Vec<u32>,
    places: HashMap<K, u32, KeyHashBuilder>,
    entries_max: usize,
    seen: u64,
    /// How often a key may have been seen that ageing has forgotten.
    forgotten: u64,
}

/// One key, and how often it was seen.
#[derive(Clone, Debug)]
pub struct Counted<K, T = ()> {
    /// The key.
    pub key: K,
    /// How often it was seen, at most.
    pub count: u64,
    /// By how much that may be too high.
    pub error: u64,
    /// Whatever belongs to the key.
    pub with: T,
    /// Its place in the heap.
    at: u32,
}

impl<K, T> Counted<K, T> {
    /// How often it was certainly seen.
    #[must_use]
    pub const fn certain(&self) -> u64 {
        self.count.saturating_sub(self.error)
    }
}

impl<K: Hash + Eq + Clone, T> SpaceSaving<K, T> {
    /// Counts `entries_max` keys at most, one at least.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        let entries_max = entries_max.clamp(1, u32::MAX as usize);
        Self {
            entries: Vec::new(),
            heap: Vec::new(),
            places: HashMap::default(),
            entries_max,
            seen: 0,
            forgotten: 0,
        }
    }

    /// How many keys are counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Everything that was seen, halved as the counts were.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The keys, in no order. An index stays with its key until another key takes its place, or [`age`](Self::age) is called.
    #[must_use]
    pub fn entries(&self) -> &[Counted<K, T>] {
        &self.entries
    }

    /// The `most` keys seen most, those first that were certainly seen most.
    #[must_use]
    pub fn hottest(&self, most: usize) -> Vec<&Counted<K, T>> {
        let mut hottest: Vec<_> = self.entries.iter().collect();
        hottest.sort_by_key(|one| std::cmp::Reverse((one.certain(), one.count)));
        hottest.truncate(most);
        hottest
    }

    /// What belongs to `key`, if it is counted.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let index = *self.places.get(key)?;
        Some(&mut self.entries[index as usize].with)
    }

    /// Counts `key` once more. `new` makes the key, and what belongs to it, where it was not counted.
    pub fn note<Q>(&mut self, key: &Q, new: impl FnOnce() -> (K, T))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.note_times(key, 1, new);
    }

    /// Counts `key` so many times more.
    pub fn note_times<Q>(&mut self, key: &Q, times: u64, new: impl FnOnce() -> (K, T))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.seen = self.seen.saturating_add(times);
        if let Some(&index) = self.places.get(key) {
            let entry = &mut self.entries[index as usize];
            entry.count = entry.count.saturating_add(times);
            let at = entry.at as usize;
            self.sink(at);
            return;
        }
        let (key, with) = new();
        self.put(key, times, 0, with);
    }

    /// Counts `key` as it was counted before, when what was saved is read again. Ignored where it is counted already.
    pub fn restore(&mut self, key: K, count: u64, error: u64, with: T) {
        if count > 0 && error < count && !self.places.contains_key(&key) {
            self.seen = self.seen.saturating_add(count - error);
            self.put(key, count, error, with);
        }
    }

    /// A new key, which takes the place of the one counted least if there is no room. It may have been seen before, but not
    /// more often than that one, or than any that was forgotten.
    fn put(&mut self, key: K, count: u64, error: u64, with: T) {
        if self.entries.len() < self.entries_max {
            let (count, error) = (count.saturating_add(self.forgotten), error.saturating_add(self.forgotten));
            let index = self.entries.len() as u32;
            self.places.insert(key.clone(), index);
            self.entries.push(Counted { key, count, error, with, at: index });
            self.heap.push(index);
            self.rise(index as usize);
            return;
        }
        let index = self.heap[0];
        let least = &mut self.entries[index as usize];
        self.places.remove::<K>(&least.key);
        let before = least.count.max(self.forgotten);
        (least.count, least.error) = (before.saturating_add(count), before.saturating_add(error));
        (least.key, least.with) = (key.clone(), with);
        self.places.insert(key, index);
        self.sink(0);
    }

    /// Halves all counts, and forgets keys that may not have been seen since; not those that are to stay, whatever they are.
    pub fn age(&mut self, stays: impl Fn(&T) -> bool) {
        self.seen /= 2;
        for entry in &mut self.entries {
            // Rounded so that the one is never too low, nor the other.
            (entry.count, entry.error) = (entry.count / 2, entry.error.div_ceil(2));
        }
        let mut forgotten = self.forgotten / 2;
        self.entries.retain(|entry| {
            let is_kept = entry.certain() > 0 || stays(&entry.with);
            if !is_kept {
                forgotten = forgotten.max(entry.count);
            }
            is_kept
        });
        self.forgotten = forgotten;
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        // What ascends is a heap.
        order.sort_by_key(|&index| self.entries[index as usize].count);
        for (at, &index) in order.iter().enumerate() {
            self.entries[index as usize].at = at as u32;
        }
        self.heap = order;
        self.places =
            self.entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index as u32)).collect();
    }

    fn count_at(&self, at: usize) -> u64 {
        self.entries[self.heap[at] as usize].count
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.entries[self.heap[a] as usize].at = a as u32;
        self.entries[self.heap[b] as usize].at = b as u32;
    }

    /// Its count is higher than it was.
    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            for child in [left, right] {
                if child < self.heap.len() && self.count_at(child) < self.count_at(least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.count_at(parent) <= self.count_at(at) {
                return;
            }
            self.swap(at, parent);
            at = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn see(sketch: &mut SpaceSaving<u32>, key: u32) {
        sketch.note(&key, || (key, ()));
    }

    fn is_sound(sketch: &SpaceSaving<u32>) -> bool {
        let heap = (1..sketch.heap.len()).all(|at| sketch.count_at((at - 1) / 2) <= sketch.count_at(at));
        let places = sketch.entries.iter().enumerate().all(|(index, entry)| {
            sketch.places.get(&entry.key) == Some(&(index as u32))
                && sketch.heap[entry.at as usize] as usize == index
        });
        heap && places && sketch.places.len() == sketch.entries.len()
    }

    #[test]
    fn what_is_seen_often_stays_while_many_others_pass() {
        let mut sketch = SpaceSaving::new(10);
        for other in 0..1_000 {
            see(&mut sketch, 1);
            see(&mut sketch, 100 + other);
            see(&mut sketch, 100_000 + other);
        }
        let hottest = sketch.hottest(1);
        assert_eq!((hottest[0].key, hottest[0].count, hottest[0].error), (1, 1_000, 0));
        assert_eq!((sketch.len(), sketch.seen()), (10, 3_000));
    }

    #[test]
    fn what_was_saved_is_counted_on() {
        let mut sketch = SpaceSaving::new(4);
        sketch.restore(7, 10, 3, ());
        see(&mut sketch, 7);
        sketch.restore(7, 1_000, 0, ());
        sketch.restore(8, 5, 5, ());
        let all = sketch.hottest(9);
        assert_eq!(all.len(), 1, "what may never have been seen is nothing to count on");
        assert_eq!((all[0].count, all[0].error, all[0].certain()), (11, 3, 8));
    }

    /// What is done with a sketch.
    #[derive(Clone, Debug)]
    enum Act {
        See(u32),
        Age,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        // Most often the low ones.
        let key = (0..40_u32, 0..40_u32).prop_map(|(a, b)| a.min(b));
        let act = prop_oneof![40 => key.prop_map(Act::See), 1 => Just(Act::Age)];
        proptest::collection::vec(act, 0..600)
    }

    proptest! {
        #[test]
        fn no_count_is_too_low_nor_too_high_by_more_than_its_error(acts in acts(), room in 1..50_usize) {
            let mut sketch = SpaceSaving::new(room);
            let mut exact = std::collections::HashMap::<u32, u64>::new();
            for act in acts {
                match act {
                    Act::See(key) => {
                        see(&mut sketch, key);
                        *exact.entry(key).or_default() += 1;
                    }
                    Act::Age => {
                        sketch.age(|()| false);
                        exact.values_mut().for_each(|count| *count /= 2);
                    }
                }
                prop_assert!(is_sound(&sketch) && sketch.len() <= room);
            }
            for counted in sketch.entries() {
                let truth = exact.get(&counted.key).copied().unwrap_or(0);
                prop_assert!(counted.certain() <= truth, "{counted:?}, and it was {truth}");
                prop_assert!(truth <= counted.count, "{counted:?}, and it was {truth}");
            }
        }

        #[test]
        fn what_is_more_than_its_part_of_all_is_counted(keys in proptest::collection::vec(0..30_u32, 1..400), room in 1..20_usize) {
            let mut sketch = SpaceSaving::new(room);
            keys.iter().for_each(|key| see(&mut sketch, *key));
            for key in 0..30 {
                let truth = keys.iter().filter(|one| **one == key).count();
                let counted = sketch.entries().iter().find(|counted| counted.key == key);
                prop_assert!(counted.is_some() || truth <= keys.len() / room, "{key}: {truth} of {}", keys.len());
                if let Some(counted) = counted {
                    prop_assert!(counted.count as usize >= truth);
                    prop_assert!(counted.error as usize <= keys.len() / room);
                }
            }
        }
    }
}
