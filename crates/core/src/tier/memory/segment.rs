//! A share of the tier with its own capacity and its own writers' lock.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    Departures, Held, Insertion, Policy, Reason, Weighed,
    departures::Counters,
    key::Wanted,
    store::{Evicted, Store, Weigher},
};

pub(super) struct Segment<E: Weighed> {
    store: Store<E>,
    heaviest: usize,
    /// Held by whoever changes the store, so that a decision about the held entry still stands when it is carried out.
    /// The libraries offer no such step for a key that is present and one that isn't alike.
    writers: Mutex<()>,
    counters: Counters,
}

impl<E: Weighed> Segment<E> {
    pub(super) fn new(
        policy: Policy,
        capacity: usize,
        entries_expected: usize,
        weigher: Weigher,
        evicted: Option<Evicted<E>>,
    ) -> Self {
        Self {
            store: Store::new(policy, capacity, entries_expected, weigher, evicted),
            heaviest: Store::<E>::heaviest(policy, capacity),
            writers: Mutex::new(()),
            counters: Counters::default(),
        }
    }

    /// The entry under a key, if it was read before, or the policy keeps no note of that.
    #[inline]
    pub(super) fn get_read(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        self.store.get_read(wanted)
    }

    pub(super) fn get(&self, wanted: &Wanted<'_>) -> Option<Held<E>> {
        if let Some(held) = self.store.get_read(wanted) {
            return Some(held);
        }
        // Most keys that are looked for here are not held at all, and wait for no writer.
        if !self.store.holds_unread(wanted) {
            return None;
        }
        let _writing = self.writers.lock();
        self.store.get_unread(wanted)
    }

    pub(super) fn insert_unless(
        &self,
        wanted: &Wanted<'_>,
        entry: Arc<E>,
        weight: usize,
        keep_held: impl FnOnce(&E, &E) -> bool,
    ) -> Insertion<E> {
        let _writing = self.writers.lock();
        let held = self.store.peek(wanted);
        if let Some(held) = &held
            && keep_held(held, &entry)
        {
            return Insertion::Kept(Arc::clone(&**held));
        }
        if weight > self.heaviest {
            // The held entry lost the comparison: it must not outlive the refusal.
            if held.is_some() && self.store.remove(wanted).is_some() {
                self.counters.count(Reason::Replaced, 1);
            }
            return Insertion::TooHeavy { weight, heaviest: self.heaviest };
        }
        let left = self.store.insert(entry);
        let replaced = usize::from(held.is_some());
        self.counters.count(Reason::Replaced, replaced);
        self.counters.count(Reason::Capacity, left.saturating_sub(replaced));
        held.map_or(Insertion::Stored, |held| Insertion::Replaced(held.into()))
    }

    pub(super) fn remove_if(
        &self,
        wanted: &Wanted<'_>,
        reason: Reason,
        condition: impl FnOnce(&Arc<E>) -> bool,
    ) -> Option<Arc<E>> {
        let _writing = self.writers.lock();
        let held = self.store.peek(wanted)?;
        if !condition(&held) {
            return None;
        }
        let removed = self.store.remove(wanted);
        self.counters.count(reason, usize::from(removed.is_some()));
        removed
    }

    pub(super) fn clear(&self) {
        let _writing = self.writers.lock();
        self.counters.count(Reason::Invalidated, self.store.len());
        self.store.clear();
    }

    pub(super) fn visit(&self, visit: impl FnMut(&Arc<E>) -> bool) {
        self.store.visit(visit);
    }

    #[cfg(test)]
    pub(super) fn check_index(&self) {
        if let Store::S3Fifo(store, _) = &self.store {
            store.check_index();
        }
    }

    #[cfg(test)]
    pub(super) fn holds(&self, key: &str) -> bool {
        let mut holds = false;
        self.store.visit(|entry| {
            holds |= entry.key() == key;
            true
        });
        holds
    }

    pub(super) fn len(&self) -> usize {
        self.store.len()
    }

    pub(super) fn weight(&self) -> usize {
        self.store.weight()
    }

    pub(super) fn add_departures(&self, sum: &mut Departures) {
        self.counters.add_to(sum);
    }
}
