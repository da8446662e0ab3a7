//! What a node has counted of its remote tier.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of [`Delays`], in microseconds.
pub const REMOTE_BOUNDS_US: [u64; 10] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000];

/// Durations by bucket; one more than there are bounds, for everything longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// How many lie in each bucket.
    pub buckets: [u64; REMOTE_BOUNDS_US.len() + 1],
    /// Their sum, in microseconds.
    pub sum_us: u64,
}

/// What the remote tier has done, as counted by this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteCounts {
    /// Bytes of envelopes read.
    pub bytes_in: u64,
    /// Bytes of envelopes written.
    pub bytes_out: u64,
    /// Genuine envelopes of this node's epoch found; the reader's own check comes after.
    pub found: u64,
    /// Keys under which the tier held nothing.
    pub missing: u64,
    /// Envelopes that were not genuine, of another plan, or of another epoch.
    pub refused: u64,
    /// Envelopes written.
    pub stored: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Entries not shared because too many were waiting.
    pub overflowed: u64,
    /// Entries not shared because they can't be made into an envelope.
    pub not_sealed: u64,
    /// Duration of look-ups, of one key or several.
    pub gets: Delays,
    /// Duration of writes, of one envelope or several.
    pub puts: Delays,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) found: AtomicU64,
    pub(super) missing: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) stored: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) overflowed: AtomicU64,
    pub(super) not_sealed: AtomicU64,
    pub(super) gets: Timer,
    pub(super) puts: Timer,
}

/// Counts durations.
#[derive(Debug, Default)]
pub(super) struct Timer {
    buckets: [AtomicU64; REMOTE_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Timer {
    pub(super) fn took(&self, span: Duration) {
        let span_us = span.as_micros() as u64;
        let bucket = REMOTE_BOUNDS_US.partition_point(|bound| *bound < span_us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(span_us, Ordering::Relaxed);
    }

    fn counts(&self) -> Delays {
        Delays {
            buckets: std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl Counters {
    pub(super) fn counts(&self) -> RemoteCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RemoteCounts {
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            found: get(&self.found),
            missing: get(&self.missing),
            refused: get(&self.refused),
            stored: get(&self.stored),
            errors: get(&self.errors),
            overflowed: get(&self.overflowed),
            not_sealed: get(&self.not_sealed),
            gets: self.gets.counts(),
            puts: self.puts.counts(),
        }
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
