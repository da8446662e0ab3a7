//! The keys of a class that are read most, as far as samples of its reads show.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    env::Nanos,
    key::Key,
    policy::{Counted, RecordedKey, SpaceSaving},
};

/// Sightings after which a key counts as hot: one sample can be anything.
const SIGHTINGS_MIN: u64 = 2;

/// One key in use.
#[derive(Debug)]
pub(crate) struct HotKey<K> {
    pub(crate) key: K,
    /// None until somebody has asked for it: a reader who counts a key makes no room for what most keys never need.
    rest: Option<Rest>,
}

impl<K> HotKey<K> {
    /// Until when it is left alone.
    pub(crate) fn rest(&mut self) -> &Rest {
        self.rest.get_or_insert_default()
    }
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

/// A bounded set of keys: those seen most often.
#[derive(Debug)]
pub(crate) struct HotSet<K> {
    sketch: SpaceSaving<Key, HotKey<K>>,
    /// Where the next [`HotSet::batch`] begins.
    next: usize,
    /// Whether there was a sample since counts were halved.
    noted: bool,
}

impl<K: Clone> HotSet<K> {
    /// An empty set of `keys_max` keys at most.
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { sketch: SpaceSaving::new(keys_max), next: 0, noted: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.sketch.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sketch.is_empty()
    }

    /// Takes account of one sample.
    pub(crate) fn note(&mut self, key: &K, canonical: &str) {
        let new = || (Key::from_canonical(canonical.into()), HotKey { key: key.clone(), rest: None });
        self.sketch.note(canonical, new);
        self.noted = true;
    }

    /// Counts on from what was recorded before a restart.
    pub(crate) fn restore(&mut self, key: K, canonical: Key, count: u64, error: u64) {
        self.sketch.restore(canonical, count, error, HotKey { key, rest: None });
    }

    /// The `most` hottest keys, the hottest first, to be kept over a restart.
    pub(crate) fn record(&self, most: usize) -> Vec<RecordedKey> {
        let record = |one: &Counted<Key, HotKey<K>>| RecordedKey {
            key: one.key.as_str().into(),
            count: one.count,
            error: one.error,
        };
        self.sketch.hottest(most).into_iter().map(record).collect()
    }

    /// The same keys, to be read.
    pub(crate) fn hottest(&self, most: usize) -> Vec<(K, Key)> {
        self.sketch.hottest(most).into_iter().map(|one| (one.with.key.clone(), one.key.clone())).collect()
    }

    /// Halves all counts and forgets keys that are not seen any more. Where nothing at all was seen since the last time, they are no
    /// colder beside each other than they were: then only if `unseen`.
    pub(crate) fn age(&mut self, unseen: bool) {
        if std::mem::take(&mut self.noted) || unseen {
            self.sketch.age(|hot| hot.rest.as_ref().is_some_and(Rest::is_busy));
            self.next = 0;
        }
    }

    /// Up to `most` hot keys, going on where the last batch ended, each with its count, and whether that was the end of a
    /// round.
    pub(crate) fn batch(&mut self, most: usize) -> (Vec<(Key, u64)>, bool) {
        let all = self.sketch.entries();
        let end = (self.next + most).min(all.len());
        let seen = &all[self.next.min(end)..end];
        let is_hot = |one: &&Counted<Key, HotKey<K>>| one.certain() >= SIGHTINGS_MIN;
        let hot = seen.iter().filter(is_hot).map(|one| (one.key.clone(), one.count)).collect();
        let is_round = end == all.len();
        self.next = if is_round { 0 } else { end };
        (hot, is_round)
    }

    /// The key, if it is in the set.
    pub(crate) fn get_mut(&mut self, canonical: &Key) -> Option<&mut HotKey<K>> {
        self.sketch.get_mut(canonical)
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
        (0..times).for_each(|_| set.note(&id, key(id).as_str()));
    }

    fn hot(set: &mut HotSet<i64>) -> Vec<Key> {
        let (mut all, mut ended) = (Vec::new(), false);
        while !ended {
            let (batch, end) = set.batch(2);
            all.extend(batch.into_iter().map(|(key, _)| key));
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
            (0..ages).for_each(|_| set.age(true));
            assert_eq!(set.len(), kept);
        }
        assert!(set.get_mut(&key(1)).is_none());
        assert_eq!(set.get_mut(&key(2)).map(|hot| hot.key), Some(2));
    }

    #[test]
    fn while_nothing_is_seen_counts_are_halved_only_where_that_is_asked_for() {
        let mut set = HotSet::new(8);
        see(&mut set, 1, 8);
        let ages = [(false, 4), (false, 4), (true, 2), (false, 2)];
        for (unseen, count) in ages {
            set.age(unseen);
            assert_eq!(set.record(1)[0].count, count);
        }
        see(&mut set, 1, 2);
        set.age(false);
        assert_eq!(set.record(1)[0].count, 2);
    }

    #[test]
    fn a_key_whose_refresh_is_under_way_keeps_its_place() {
        let mut set = HotSet::new(8);
        see(&mut set, 1, 2);
        set.get_mut(&key(1)).unwrap().rest().begin();
        (0..5).for_each(|_| set.age(true));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn what_is_recorded_is_counted_on_after_a_restart() {
        let mut set = HotSet::new(8);
        see(&mut set, 1, 3);
        see(&mut set, 2, 9);
        let recorded = set.record(8);
        assert_eq!((recorded[0].key.as_str(), recorded[0].count, recorded[0].error), ("2", 9, 0));
        let mut again = HotSet::new(8);
        for one in &recorded {
            let id: i64 = one.key.parse().unwrap();
            again.restore(id, key(id), one.count, one.error);
        }
        see(&mut again, 1, 7);
        assert_eq!(again.hottest(1), [(1, key(1))]);
        assert_eq!(again.record(8).len(), 2);
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
