//! What readers of this node see of writes that the source may not have yet.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    change::RowChange,
    env::Nanos,
    proof::{Ledger, Token},
};

/// Most rows that are still shown after they were applied, while the feed is silent; the oldest go first.
const LINGERING_MAX: usize = 65_536;

/// The writes of one class, by key.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: Mutex<HashMap<Box<str>, Pending>>,
    /// How many there are: nothing else is asked on most reads.
    count: AtomicUsize,
}

/// What has been written to one row.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// All of it as one change.
    pub(crate) change: RowChange,
    /// Every column of the value is given, so that no row need be known beneath.
    pub(crate) whole: bool,
    /// When the last of it was accepted.
    pub(crate) accepted: Nanos,
    /// The last sequence in it.
    last: u64,
    /// The source has all of it since this token's position, as this node has known since then.
    applied: Option<(Token, Nanos)>,
}

impl Overlay {
    /// Lays a write over what was written before.
    pub(super) fn lay(&self, key: &str, change: RowChange, whole: bool, sequence: u64, now: Nanos) {
        let mut rows = self.rows.lock();
        let (change, whole) = match rows.remove(key) {
            Some(before) => (before.change.then(change), before.whole || whole),
            None => (change, whole),
        };
        let pending = Pending { change, whole, accepted: now, last: sequence, applied: None };
        rows.insert(key.into(), pending);
        self.count.store(rows.len(), Ordering::Release);
    }

    /// The source has what was written to `key` through `sequence`.
    pub(super) fn applied(&self, key: &str, sequence: u64, token: Token, now: Nanos) {
        if let Some(pending) = self.rows.lock().get_mut(key).filter(|pending| pending.last <= sequence) {
            pending.applied = Some((token, now));
        }
    }

    /// The source has refused what was written to `key` through `sequence`.
    pub(super) fn refused(&self, key: &str, sequence: u64) {
        let mut rows = self.rows.lock();
        if rows.get(key).is_some_and(|pending| pending.last <= sequence) {
            rows.remove(key);
        }
        self.count.store(rows.len(), Ordering::Release);
    }

    /// Whether something may be laid over `key`.
    #[inline]
    pub(crate) fn holds(&self, key: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.rows.lock().contains_key(key)
    }

    /// What is laid over `key`. What was applied is shown until this node has heard of it from the feed, because memory may hold
    /// the row as it was before; for `life` at most, after which that has ended.
    pub(crate) fn get(&self, key: &str, ledger: &Ledger, now: Nanos, life: Duration) -> Option<Pending> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut rows = self.rows.lock();
        let pending = rows.get(key)?;
        if pending.has_arrived(ledger, now, life) {
            rows.remove(key);
            self.count.store(rows.len(), Ordering::Release);
            return None;
        }
        Some(pending.clone())
    }

    /// Forgets what the feed has told.
    pub(crate) fn purge(&self, ledger: &Ledger, now: Nanos, life: Duration) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut rows = self.rows.lock();
        rows.retain(|_, pending| !pending.has_arrived(ledger, now, life));
        let lingering = rows.values().filter(|pending| pending.applied.is_some()).count();
        if lingering > LINGERING_MAX {
            rows.retain(|_, pending| pending.applied.is_none());
        }
        self.count.store(rows.len(), Ordering::Release);
    }
}

impl Pending {
    fn has_arrived(&self, ledger: &Ledger, now: Nanos, life: Duration) -> bool {
        let Some((token, since)) = self.applied else { return false };
        let told = ledger.epoch() == Some(token.epoch) && ledger.applied() >= token.position;
        // Or, in whichever epoch: every commit acknowledged before the moment is applied here.
        told || ledger.status().moment > since || now.since(since) > life
    }
}
