//! The hit path: memory and the proof, without an await or an allocation of its own, and under the default policy, after an
//! entry's first, without a lock.

use std::{sync::Arc, time::Duration};

use super::ClassCore;
use crate::{
    entry::CacheValue,
    env::{Nanos, random},
    key::{Key, KeyName},
    proof::{Need, Position, Proven, Token, Unproven},
    receipt::{Cached, Miss, Receipt, ServedBy},
    stats::tick,
    tier::{Entry, Held, MemoryTier},
};

/// One hit in so many is timed.
const TIMED_ONE_IN: u32 = 256;

/// Memory had no answer.
pub(super) struct Missed<V> {
    pub(super) why: Miss,
    /// What memory holds all the same.
    pub(super) unproven: Option<Arc<Entry<V>>>,
}

/// Why a look finds no answer.
enum Refused<V> {
    /// The key lies under a write that may not be in the source yet.
    UnderWrite,
    /// Memory holds nothing.
    Nothing,
    /// What memory holds may not be served.
    Unproven(Unproven, Arc<Entry<V>>),
}

/// An entry that may be served, and what its check has shown.
///
/// Not a [`Cached`] yet: a receipt's small fields, written one by one and then moved as a whole, would make the processor
/// wait for each move. So whoever answers makes the receipt in its place, as the last step.
pub(super) struct Found<V> {
    entry: Held<Entry<V>>,
    verdict: Verdict,
}

/// What a check of an entry in memory has shown.
#[derive(Clone, Copy)]
pub(super) struct Verdict {
    watermark: Position,
    age_ns: u64,
    proven: bool,
    /// Its reader has drawn the lot: somebody is to load it before its end.
    due: bool,
}

impl<V> Found<V> {
    #[inline]
    pub(super) fn answer(self) -> Cached<V> {
        Cached::new(self.entry, self.verdict.receipt())
    }
}

impl Verdict {
    #[inline]
    pub(super) const fn receipt(self) -> Receipt {
        Receipt {
            served_by: ServedBy::L1,
            age: Duration::from_nanos(self.age_ns),
            proven: self.proven,
            watermark: self.watermark,
            miss: None,
        }
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    /// The answer from memory, if there is one that `need` accepts and its entry was read before. `name` is the key's.
    ///
    /// Why there is none is for [`ClassCore::hit_or_missed`] to say: a place for that in what is returned here would have every hit
    /// moved piece by piece.
    #[inline]
    pub(super) fn hit(&self, key: &K, name: KeyName<'_>, need: &Need) -> Option<Found<V>> {
        self.look_up(key, name, need, MemoryTier::find_read).ok()
    }

    /// The answer from memory, if there is one that `need` accepts, after [`ClassCore::hit`] had none.
    #[cold]
    #[inline(never)]
    pub(super) fn hit_unread(&self, key: &K, name: KeyName<'_>, need: &Need) -> Option<Found<V>> {
        self.look_up(key, name, need, MemoryTier::find).ok()
    }

    /// Looks again, for a key without an answer: its entry may not have been read yet, or have come by now.
    #[cold]
    #[inline(never)]
    pub(super) fn hit_or_missed(&self, key: &K, canonical: &Key, need: &Need) -> Result<Found<V>, Missed<V>> {
        let found = self.look_up(key, KeyName::of(canonical.as_str()), need, MemoryTier::find);
        found.map_err(|refused| match refused {
            Refused::UnderWrite => Missed { why: Miss::Bypass, unproven: None },
            Refused::Nothing => Missed { why: self.why_nothing(canonical), unproven: None },
            Refused::Unproven(why, entry) => Missed { why: why.into(), unproven: Some(entry) },
        })
    }

    #[inline]
    fn look_up(
        &self,
        key: &K,
        name: KeyName<'_>,
        need: &Need,
        find: impl FnOnce(&MemoryTier<Entry<V>>, KeyName<'_>) -> Option<Held<Entry<V>>>,
    ) -> Result<Found<V>, Refused<V>> {
        if self.lies_under_a_write(name) {
            return Err(Refused::UnderWrite);
        }
        let tick = tick();
        let started = tick.is_multiple_of(TIMED_ONE_IN).then(|| self.sampled(key, name));
        let Some(entry) = find(&self.tier, name) else {
            return Err(Refused::Nothing);
        };
        match self.verdict(&entry, need) {
            Ok(verdict) => {
                self.stats.hit();
                let checked = self.checker.as_ref().is_some_and(|checker| checker.draws(tick));
                if verdict.due || started.is_some() || checked || entry.is_absent() {
                    self.look_closer(key, &entry, verdict, started, checked);
                }
                Ok(Found { entry, verdict })
            }
            Err(why) => Err(Refused::Unproven(why, entry.into())),
        }
    }

    /// What was accepted and may not be in the source yet lies over whatever memory holds.
    #[inline]
    fn lies_under_a_write(&self, name: KeyName<'_>) -> bool {
        self.behind.as_ref().is_some_and(|behind| name.with_text(|canonical| behind.overlay.holds(canonical)))
    }

    fn why_nothing(&self, canonical: &Key) -> Miss {
        if self.remembered.contains(canonical.as_str()) { Miss::Evicted } else { Miss::Cold }
    }

    /// What is done for some hits only. Apart, so that the rest is short enough to be compiled into the reader.
    #[cold]
    #[inline(never)]
    fn look_closer(
        &self,
        key: &K,
        entry: &Arc<Entry<V>>,
        verdict: Verdict,
        started: Option<Nanos>,
        checked: bool,
    ) {
        if entry.is_absent() {
            self.stats.hit_absent();
        }
        if let Some(started) = started {
            self.stats.read_took(self.clock.now().since(started));
            // What is drawn often is what matters.
            self.stand_ins.keep(entry);
        }
        if checked && let Some(checker) = &self.checker {
            checker.sample(key, &Cached::new(Arc::clone(entry), verdict.receipt()));
        }
        if verdict.due
            && let Some(refresher) = &self.refresher
        {
            refresher.due(key, entry.canonical_key());
        }
    }

    /// One read in so many is looked at more closely: it is timed, and its key is one in use.
    #[cold]
    #[inline(never)]
    fn sampled(&self, key: &K, name: KeyName<'_>) -> Nanos {
        if let Some(refresher) = &self.refresher
            && let Some(count) = name.with_text(|canonical| refresher.seen(key, canonical))
        {
            self.stats.stampede.hot_keys(count);
        }
        self.clock.now()
    }

    /// Whether an entry from memory may be served, and with what receipt.
    pub(super) fn judge(&self, entry: &Entry<V>, need: &Need) -> Result<Receipt, Unproven> {
        self.verdict(entry, need).map(Verdict::receipt)
    }

    #[inline]
    fn verdict(&self, entry: &Entry<V>, need: &Need) -> Result<Verdict, Unproven> {
        if !self.provable {
            return self.judge_age(entry, need);
        }
        let proven = self.ledger.check(entry.proof(), self.catalogue.number(), need, &self.clock)?;
        let due = proven.now > entry.calm_until() && self.renew_or_refresh(entry, proven.now)?;
        Ok(Verdict { watermark: proven.at, age_ns: proven.age_ns(), proven: true, due })
    }

    /// At the end of its life a proven entry is renewed, not reloaded; its hard age bounds the unknown. True if this reader is
    /// to have it refreshed before that.
    #[cold]
    fn renew_or_refresh(&self, entry: &Entry<V>, now: Nanos) -> Result<bool, Unproven> {
        if now > entry.expires() {
            if now > entry.hard_expires() {
                return Err(Unproven::Expired);
            }
            entry.renew(now.after(self.life_in_memory(entry.is_absent(), random::number())));
            self.stats.renewed();
        }
        Ok(self.draws_refresh(entry, now))
    }

    /// Classes that no feed proves: an entry is good until its life ends, or until it is invalidated by name.
    #[inline(never)]
    fn judge_age(&self, entry: &Entry<V>, need: &Need) -> Result<Verdict, Unproven> {
        if need.token.is_some() {
            return Err(Unproven::TokenAhead);
        }
        let unbounded = Need { max_staleness: Duration::MAX, token: None };
        let watermark =
            match self.ledger.check(entry.proof(), self.catalogue.number(), &unbounded, &self.clock) {
                Ok(proven) => proven.at,
                // Without a feed there is nothing to be fresh by, and nothing was invalidated.
                Err(Unproven::TooOld) => Position::ZERO,
                Err(why) => return Err(why),
            };
        let now = self.clock.now();
        let age_ns = now.ns_since(entry.loaded());
        if now > entry.expires() || Duration::from_nanos(age_ns) > need.max_staleness {
            return Err(Unproven::Expired);
        }
        let due = now > entry.calm_until() && self.draws_refresh(entry, now);
        Ok(Verdict { watermark, age_ns, proven: false, due })
    }
}

impl<K, V: CacheValue> ClassCore<K, V> {
    /// Where a token counts in this epoch. One of another epoch lies beyond every position: only the source can honour it.
    pub(super) fn position_of(&self, token: Token) -> Position {
        if self.ledger.epoch() == Some(token.epoch) { token.position } else { Position::MAX }
    }
}

pub(super) const fn receipt_of(proven: &Proven, served_by: ServedBy, miss: Option<Miss>) -> Receipt {
    Receipt { served_by, age: proven.age(), proven: true, watermark: proven.at, miss }
}
