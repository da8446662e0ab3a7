//! What became of loads that were kept from happening at once, or were made before they were needed.

use std::sync::atomic::{AtomicU64, Ordering};

/// What asking for the fleet's lock came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FillLock {
    /// This node loaded, with the lock.
    Claimed,
    /// Another node loaded, and this one took what it shared.
    Shared,
    /// This node waited for another, which ended without sharing: it loaded.
    TakenOver,
    /// It waited as long as that could pay, and loaded.
    GivenUp,
    /// A reader came who may not wait for others: it loaded.
    Hurried,
    /// The tier gave no answer: it loaded.
    Unavailable,
}

/// The outcomes, as labels.
const LOCK_OUTCOMES: [&str; 6] = ["claimed", "shared", "taken_over", "given_up", "hurried", "unavailable"];

/// Why an entry was loaded before a reader needed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// A reader drew the lot near its end (`refresh = "early"`).
    Early,
    /// Its end was near, and it is in use (`refresh = "background"`).
    Ahead,
    /// The feed said that it changed, and its key is hot (`refresh = "background"`).
    Changed,
}

/// The reasons, as labels.
const REFRESH_REASONS: [&str; 3] = ["early", "ahead", "changed"];

/// What became of refreshes, as labels: made, taken from another node, or put off because readers need the source.
const REFRESH_OUTCOMES: [&str; 4] = ["loaded", "shared", "put_off", "failed"];

/// What a refresh came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// It was loaded, and kept.
    Loaded,
    /// Somebody else had loaded it, or does.
    Shared,
    /// Nothing was done: there was no room among the loads.
    PutOff,
    /// The load failed, or what it brought was not kept.
    Failed,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct StampedeStats {
    locks: [AtomicU64; LOCK_OUTCOMES.len()],
    refreshes: [AtomicU64; REFRESH_REASONS.len()],
    refreshed: [AtomicU64; REFRESH_OUTCOMES.len()],
    hot_keys: AtomicU64,
}

/// A copy of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StampedeCounts {
    /// Loads of a class that asks for the fleet's lock, by what that came to.
    pub locks: [(&'static str, u64); 6],
    /// Loads made before a reader needed them, by reason; those put off count too.
    pub refreshes: [(&'static str, u64); 3],
    /// The same, by what they came to.
    pub refreshed: [(&'static str, u64); 4],
    /// Keys known as hot now.
    pub hot_keys: u64,
}

impl StampedeStats {
    pub(crate) fn lock(&self, outcome: FillLock) {
        self.locks[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refresh(&self, why: Refresh, outcome: Refreshed) {
        self.refreshes[why as usize].fetch_add(1, Ordering::Relaxed);
        self.refreshed[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hot_keys(&self, count: usize) {
        self.hot_keys.store(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> StampedeCounts {
        fn all<const N: usize>(
            names: [&'static str; N],
            counters: &[AtomicU64; N],
        ) -> [(&'static str, u64); N] {
            std::array::from_fn(|i| (names[i], counters[i].load(Ordering::Relaxed)))
        }
        StampedeCounts {
            locks: all(LOCK_OUTCOMES, &self.locks),
            refreshes: all(REFRESH_REASONS, &self.refreshes),
            refreshed: all(REFRESH_OUTCOMES, &self.refreshed),
            hot_keys: self.hot_keys.load(Ordering::Relaxed),
        }
    }
}
