//! Keys that surely have no row, and keys that are not worth keeping.

use std::{sync::Arc, time::Duration};

use super::{Class, ClassCore, hit::receipt_of};
use crate::{
    entry::CacheValue,
    env::Nanos,
    key::Key,
    proof::{Epochs, Need, Proof, Tags},
    receipt::{Cached, ServedBy, content_version},
    stats::tick,
    tier::{Entry, Stay},
};

impl<V: CacheValue> Class<Key, V> {
    /// Whether a read of `key` would be answered by the keys there are, if memory held nothing; none where the class does
    /// not know them. Counted nowhere: for people who ask why.
    #[must_use]
    pub fn is_surely_absent(&self, key: &Key) -> Option<bool> {
        let core = &self.core;
        let absence = core.absence.as_ref()?;
        let judged = absence.judge(key, &core.ledger, core.catalogue.number(), &core.need, &core.clock);
        Some(matches!(judged, Some(Ok(_))))
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// The answer "absent", where the keys there are prove it as the reader demands. Nothing is kept of it.
    pub(super) fn surely_absent(&self, key: &K, canonical: &Key, need: &Need) -> Option<Cached<V>> {
        let absence = self.absence.as_ref()?;
        let absent = absence.look(key, &self.ledger, self.catalogue.number(), need, &self.clock)?;
        let proven = absent.proven;
        let tags = Tags::from_slice(&[absent.row, absent.wide]);
        let epochs = Epochs { source: absent.epoch, class: absent.class_epoch };
        // It reflects every change through the position at which it was checked, and none beyond.
        let proof = Proof::absent(tags, epochs, proven.at, proven.moment);
        let stay = Stay {
            loaded: proven.moment,
            load_time: Duration::ZERO,
            expires: proven.now,
            hard_expires: proven.now,
            refresh_from: Nanos(u64::MAX),
        };
        let entry = Entry::new(canonical.clone(), None, content_version(None), size_of::<V>(), proof, stay);
        self.stats.served(ServedBy::Filter);
        self.stats.hit_absent();
        let answer = Cached::new(Arc::new(entry), receipt_of(&proven, ServedBy::Filter, None));
        if let Some(checker) = &self.checker
            && checker.draws(tick())
        {
            checker.sample(key, &answer);
        }
        Some(answer)
    }

    /// A load on the primary has ended: what it says of the keys there are.
    pub(super) fn note_found(&self, found: bool) {
        if let Some(absence) = self.absence.as_ref().filter(|_| !found) {
            absence.found_absent(&self.ledger, self.catalogue.number());
        }
    }

    /// Counts a read that memory could not answer, for classes that keep some keys only.
    pub(super) fn note_asked(&self, canonical: &Key) {
        if let Some(admission) = &self.admission {
            admission.note(canonical.as_str());
        }
    }

    /// Whether a key is not asked for often enough to take the place of another. While there is room, none is.
    pub(super) fn refused_by_admission(&self, key: &Key) -> bool {
        let refused = self
            .admission
            .as_ref()
            .is_some_and(|admission| !admission.admits(key.as_str()) && !self.tier.has_room());
        if refused {
            self.stats.rejected_by_admission();
        }
        refused
    }
}
