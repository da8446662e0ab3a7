//! What write-behind has done.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::AcceptError;

/// Why a write was not accepted, as labels.
const REFUSALS: [&str; 3] = ["full", "disk", "stopping"];

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) coalesced: AtomicU64,
    pub(super) applied: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) replayed: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
}

/// A copy of all counters at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BehindCounts {
    /// Writes accepted into the journal.
    pub accepted: u64,
    /// Writes, among those, that a later one of the same row made unnecessary.
    pub coalesced: u64,
    /// Rows applied to the source.
    pub applied: u64,
    /// Rows that the source refused for what they hold; they lie in its table of refused writes.
    pub rejected: u64,
    /// Attempts to apply that failed, and were or will be made again.
    pub failures: u64,
    /// Calls that made the journal durable.
    pub syncs: u64,
    /// Writes that were found in the journal at the start and applied before anything was served.
    pub replayed: u64,
    /// Writes that were not accepted, by reason.
    pub refused: [(&'static str, u64); 3],
    /// Writes in the journal that the source does not have yet.
    pub pending: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// The most that it may have.
    pub journal_bytes_max: u64,
    /// How long ago the oldest of the pending writes was accepted, in seconds; 0 without one.
    pub oldest_s: f64,
}

impl Counters {
    pub(super) fn refused(&self, why: &AcceptError) {
        let index = match why {
            AcceptError::Full { .. } => 0,
            AcceptError::Disk { .. } => 1,
            AcceptError::Stopping { .. } => 2,
        };
        add(&self.refused[index], 1);
    }

    /// All counters; the rest is added by whoever knows it.
    pub(super) fn copy(&self) -> BehindCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BehindCounts {
            accepted: get(&self.accepted),
            coalesced: get(&self.coalesced),
            applied: get(&self.applied),
            rejected: get(&self.rejected),
            failures: get(&self.failures),
            syncs: get(&self.syncs),
            replayed: get(&self.replayed),
            refused: std::array::from_fn(|i| (REFUSALS[i], get(&self.refused[i]))),
            pending: 0,
            journal_bytes: 0,
            journal_bytes_max: 0,
            oldest_s: 0.0,
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
