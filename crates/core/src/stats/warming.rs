//! Keys that were read before anybody asked for them: at a start, ahead of a set time, or on demand.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a key that was to be warmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmedFrom {
    /// It could be answered here already, or is being loaded for a reader.
    Memory,
    /// Another node had shared it.
    Remote,
    /// It was read from the source.
    Source,
    /// There was no place at the source in the time that there was.
    Refused,
    /// The source failed, or nobody but a client can fill it.
    Failed,
}

/// The outcomes, as labels of `warmed_total`, in the order of [`WarmedFrom`].
pub const WARMED: [&str; 5] = ["l1", "l2", "source", "refused", "failed"];

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct WarmingStats([AtomicU64; WARMED.len()]);

/// How many keys were warmed, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmed(pub [u64; WARMED.len()]);

impl WarmingStats {
    pub(crate) fn add(&self, warmed: &Warmed) {
        self.0.iter().zip(warmed.0).for_each(|(into, from)| {
            into.fetch_add(from, Ordering::Relaxed);
        });
    }

    pub(crate) fn counts(&self) -> Warmed {
        Warmed(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}

impl Warmed {
    /// How many of one outcome.
    #[must_use]
    pub const fn of(&self, from: WarmedFrom) -> u64 {
        self.0[from as usize]
    }

    /// All keys, whatever became of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Keys that can be answered without the source from now on.
    #[must_use]
    pub fn warm(&self) -> u64 {
        self.of(WarmedFrom::Memory) + self.of(WarmedFrom::Remote) + self.of(WarmedFrom::Source)
    }

    /// Adds what became of other keys.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(into, from)| *into += from);
    }

    pub(crate) fn count(&mut self, from: WarmedFrom, keys: usize) {
        self.0[from as usize] += keys as u64;
    }
}
