//! Why entries left, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why an entry left a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Room was needed.
    Capacity,
    /// Its life had ended.
    Expired,
    /// Another entry of the same key took its place.
    Replaced,
    /// It was removed on purpose.
    Invalidated,
}

/// Entries that have left a tier since it was built, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departures {
    /// See [`Reason::Capacity`].
    pub capacity: u64,
    /// See [`Reason::Expired`].
    pub expired: u64,
    /// See [`Reason::Replaced`].
    pub replaced: u64,
    /// See [`Reason::Invalidated`].
    pub invalidated: u64,
}

impl Departures {
    /// Entries that have left, for whatever reason.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.capacity + self.expired + self.replaced + self.invalidated
    }
}

/// One segment's share of the counts. Written under the segment's write lock, read at any time.
#[derive(Default)]
pub(super) struct Counters {
    capacity: AtomicU64,
    expired: AtomicU64,
    replaced: AtomicU64,
    invalidated: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, reason: Reason, entries: usize) {
        let counter = match reason {
            Reason::Capacity => &self.capacity,
            Reason::Expired => &self.expired,
            Reason::Replaced => &self.replaced,
            Reason::Invalidated => &self.invalidated,
        };
        counter.fetch_add(entries as u64, Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, sum: &mut Departures) {
        sum.capacity += self.capacity.load(Ordering::Relaxed);
        sum.expired += self.expired.load(Ordering::Relaxed);
        sum.replaced += self.replaced.load(Ordering::Relaxed);
        sum.invalidated += self.invalidated.load(Ordering::Relaxed);
    }
}
