//! The keys of a class that are read most, as far as samples of its reads show.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    env::Nanos,
    key::{Key, KeyHashBuilder},
};

/// Sightings after which a key counts as hot: one sample can be anything.
const SIGHTINGS_MIN: u32 = 2;

/// One key in use.
#[derive(Debug)]
pub(crate) struct HotKey<K> {
    pub(crate) key: K,
    pub(crate) canonical: Key,
    /// Samples since it was let in, halved now and then.
    sightings: u32,
    /// What the key whose place it took had been counted to: by so much may it be overestimated.
    inherited: u32,
    pub(crate) rest: Rest,
}

/// Until when a key is left alone. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest(Arc<AtomicU64>);

impl Rest {
    /// While a refresh of the key is under way.
    const BUSY: u64 = u64::MAX;

    /// Whether a refresh of the key is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::BUSY
    }

    /// Whether the key may be refreshed.
    pub(crate) fn is_over(&self, now: Nanos) -> bool {
        self.0.load(Ordering::Relaxed) <= now.0
    }

    /// A refresh begins.
    pub(crate) fn begin(&self) {
        self.0.store(Self::BUSY, Ordering::Relaxed);
    }

    /// It has ended: the key is left alone until then.
    pub(crate) fn end(&self, until: Nanos) {
        self.0.store(until.0.min(Self::BUSY - 1), Ordering::Relaxed);
    }
}

/// A bounded set of keys: those seen most often, as in a space-saving sketch (Metwally, Agrawal, El Abbadi, 2005). A key that
/// finds no room takes the place of the one seen least, and its count.
#[derive(Debug)]
pub(crate) struct HotSet<K> {
    keys: Vec<HotKey<K>>,
    places: HashMap<Key, usize, KeyHashBuilder>,
    keys_max: usize,
    /// Where the next [`HotSet::batch`] begins.
    next: usize,
}

impl<K> HotSet<K> {
    /// An empty set of `keys_max` keys at most.
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { keys: Vec::new(), places: HashMap::default(), keys_max: keys_max.max(1), next: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes account of one sample.
    pub(crate) fn note(&mut self, key: K, canonical: Key) {
        if let Some(&place) = self.places.get(&canonical) {
            self.keys[place].sightings += 1;
            return;
        }
        let mut new = HotKey { key, canonical, sightings: 1, inherited: 0, rest: Rest::default() };
        if self.keys.len() < self.keys_max {
            self.places.insert(new.canonical.clone(), self.keys.len());
            self.keys.push(new);
            return;
        }
        let least = self.keys.iter().enumerate().min_by_key(|(_, key)| key.count());
        if let Some((place, old)) = least {
            new.inherited = old.count();
            self.places.remove(&old.canonical);
            self.places.insert(new.canonical.clone(), place);
            self.keys[place] = new;
        }
    }

    /// Halves all counts and forgets keys that are not seen any more.
    pub(crate) fn age(&mut self) {
        for key in &mut self.keys {
            (key.sightings, key.inherited) = (key.sightings / 2, key.inherited / 2);
        }
        self.keys.retain(|key| key.sightings > 0 || key.rest.is_busy());
        self.places =
            self.keys.iter().enumerate().map(|(place, key)| (key.canonical.clone(), place)).collect();
        self.next = 0;
    }

    /// Up to `most` hot keys, going on where the last batch ended, and whether that was the end of a round.
    pub(crate) fn batch(&mut self, most: usize) -> (Vec<Key>, bool) {
        let end = (self.next + most).min(self.keys.len());
        let seen = &self.keys[self.next.min(end)..end];
        let hot = seen.iter().filter(|key| key.is_hot()).map(|key| key.canonical.clone()).collect();
        let is_round = end == self.keys.len();
        self.next = if is_round { 0 } else { end };
        (hot, is_round)
    }

    /// The key, if it is in the set.
    pub(crate) fn get_mut(&mut self, canonical: &Key) -> Option<&mut HotKey<K>> {
        self.places.get(canonical).map(|&place| &mut self.keys[place])
    }
}

impl<K> HotKey<K> {
    /// How often it was seen, at most.
    pub(crate) const fn count(&self) -> u32 {
        self.sightings.saturating_add(self.inherited)
    }

    /// Whether it was certainly seen often enough.
    const fn is_hot(&self) -> bool {
        self.sightings >= SIGHTINGS_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{ColumnForm, KeyForm, Part};

    fn key(id: i64) -> Key {
        KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap().key(&id).unwrap()
    }

    fn see(set: &mut HotSet<i64>, id: i64, times: u32) {
        (0..times).for_each(|_| set.note(id, key(id)));
    }

    fn hot(set: &mut HotSet<i64>) -> Vec<Key> {
        let (mut all, mut ended) = (Vec::new(), false);
        while !ended {
            let (batch, end) = set.batch(2);
            all.extend(batch);
            ended = end;
        }
        all.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        all
    }

    #[test]
    fn keys_seen_often_stay_while_many_others_pass() {
        let mut set = HotSet::new(8);
        for round in 0..100_i64 {
            see(&mut set, 1, 3);
            see(&mut set, 2, 2);
            see(&mut set, 1_000 + round, 1);
        }
        assert_eq!(hot(&mut set), [key(1), key(2)], "a key seen once is not kept warm");
        assert_eq!(set.len(), 8);
    }

    #[test]
    fn a_key_that_is_not_seen_any_more_is_forgotten() {
        let mut set = HotSet::new(8);
        see(&mut set, 1, 7);
        see(&mut set, 2, 100);
        for (kept, ages) in [(2, 2), (1, 1)] {
            (0..ages).for_each(|_| set.age());
            assert_eq!(set.len(), kept);
        }
        assert!(set.get_mut(&key(1)).is_none());
        assert_eq!(set.get_mut(&key(2)).map(|hot| hot.key), Some(2));
    }

    #[test]
    fn a_key_whose_refresh_is_under_way_keeps_its_place() {
        let mut set = HotSet::new(8);
        see(&mut set, 1, 2);
        set.get_mut(&key(1)).unwrap().rest.begin();
        (0..5).for_each(|_| set.age());
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn batches_go_round() {
        let mut set = HotSet::new(8);
        (0..5).for_each(|id| see(&mut set, id, 2));
        let sizes: Vec<(usize, bool)> = (0..4).map(|_| set.batch(2)).map(|(b, end)| (b.len(), end)).collect();
        assert_eq!(sizes, [(2, false), (2, false), (1, true), (2, false)]);
        let mut empty = HotSet::<i64>::new(8);
        assert_eq!(empty.batch(2), (Vec::new(), true));
    }
}
