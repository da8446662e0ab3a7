//! How much is done.

use std::time::Duration;

/// The sizes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    /// Keys that the hot phase reads.
    pub(crate) hot_keys: u32,
    /// Keys that are read once each, at most.
    pub(crate) cold_keys: u64,
    /// How long each measured phase lasts, at most.
    pub(crate) phase: Duration,
    /// How long each phase lasts in which answers are judged.
    pub(crate) judged: Duration,
    /// Keys that are read and written in those.
    pub(crate) judged_keys: u32,
}

impl Size {
    /// Shows that everything runs; its figures mean little.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        hot_keys: 2_000,
        cold_keys: 20_000,
        phase: Duration::from_secs(1),
        judged: Duration::from_secs(5),
        judged_keys: 1_000,
    };
    /// Some twenty minutes.
    pub(crate) const USUAL: Self = Self {
        rounds: 3,
        hot_keys: 10_000,
        cold_keys: 100_000,
        phase: Duration::from_secs(3),
        judged: Duration::from_secs(10),
        ..Self::QUICK
    };
    /// For the record.
    pub(crate) const FULL: Self =
        Self { rounds: 5, phase: Duration::from_secs(5), judged: Duration::from_secs(30), ..Self::USUAL };
}
