//! The hit path: memory and the proof, without a lock, an allocation or an await.

use std::sync::Arc;

use super::ClassCore;
use crate::{
    entry::CacheValue,
    env::Nanos,
    proof::{Need, Position, Proven, Token, Unproven},
    receipt::{Cached, Miss, Receipt, ServedBy},
    stats::tick,
    tier::Entry,
};

/// One hit in so many is timed.
const TIMED_ONE_IN: u32 = 256;

/// Memory had no answer.
pub(super) struct Missed<V> {
    pub(super) why: Miss,
    /// What memory holds all the same.
    pub(super) unproven: Option<Arc<Entry<V>>>,
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    /// The answer from memory, if there is one that `need` accepts.
    #[inline]
    pub(super) fn hit(&self, key: &K, canonical: &str, need: &Need) -> Result<Cached<V>, Missed<V>> {
        let tick = tick();
        let started = tick.is_multiple_of(TIMED_ONE_IN).then(|| self.clock.now());
        let Some(entry) = self.tier.get(canonical) else {
            let why = if self.remembered.contains(canonical) { Miss::Evicted } else { Miss::Cold };
            return Err(Missed { why, unproven: None });
        };
        match self.judge(&entry, need) {
            Ok(receipt) => {
                self.stats.hit();
                if entry.is_absent() {
                    self.stats.hit_absent();
                }
                let answer = Cached::new(entry, receipt);
                if let Some(started) = started {
                    self.stats.read_took(self.clock.now().since(started));
                }
                if let Some(checker) = &self.checker {
                    checker.sample(tick, key, &answer);
                }
                Ok(answer)
            }
            Err(why) => Err(Missed { why: why.into(), unproven: Some(entry) }),
        }
    }

    /// Whether an entry from memory may be served, and with what receipt.
    #[inline]
    pub(super) fn judge(&self, entry: &Entry<V>, need: &Need) -> Result<Receipt, Unproven> {
        if !self.provable {
            return self.judge_age(entry, need);
        }
        let proven = self.ledger.check(entry.proof(), self.catalogue.number(), need, &self.clock)?;
        if proven.now > entry.expires() {
            self.renew(entry, proven.now)?;
        }
        Ok(receipt_of(&proven, ServedBy::L1, None))
    }

    /// At the end of its life a proven entry is renewed, not reloaded; its hard age bounds the unknown.
    #[cold]
    fn renew(&self, entry: &Entry<V>, now: Nanos) -> Result<(), Unproven> {
        if now > entry.hard_expires() {
            return Err(Unproven::Expired);
        }
        entry.renew(now.after(self.life_in_memory(entry.is_absent())));
        self.stats.renewed();
        Ok(())
    }

    /// Classes that no feed proves: an entry is good until its life ends, or until it is invalidated by name.
    fn judge_age(&self, entry: &Entry<V>, need: &Need) -> Result<Receipt, Unproven> {
        if need.token.is_some() {
            return Err(Unproven::TokenAhead);
        }
        let unbounded = Need { max_staleness: std::time::Duration::MAX, token: None };
        let watermark =
            match self.ledger.check(entry.proof(), self.catalogue.number(), &unbounded, &self.clock) {
                Ok(proven) => proven.at,
                // Without a feed there is nothing to be fresh by, and nothing was invalidated.
                Err(Unproven::TooOld) => Position::ZERO,
                Err(why) => return Err(why),
            };
        let now = self.clock.now();
        let age = now.since(entry.loaded());
        if now > entry.expires() || age > need.max_staleness {
            return Err(Unproven::Expired);
        }
        Ok(Receipt { served_by: ServedBy::L1, age, proven: false, watermark, miss: None })
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
