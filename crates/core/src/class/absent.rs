//! Choices about keys that do not exist, and about keys without end.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
};

/// Share of absent keys that a filter lets through, unless stated: 1 in 10,000.
pub const BLOOM_ERROR_DEFAULT: f64 = 0.0001;
/// Largest share that makes sense.
pub const BLOOM_ERROR_MAX: f64 = 0.1;
/// Smallest share: below, the tags themselves are mistaken for each other as often.
pub const BLOOM_ERROR_MIN: f64 = 1e-9;
/// Most rows that a filter can be declared for.
pub const BLOOM_ENTRIES_MAX: u64 = 10_000_000_000;
/// How often a key is asked for before it is kept, unless stated.
pub const ADMISSION_SEEN_DEFAULT: u8 = 2;
/// The highest number of times that are counted.
pub const ADMISSION_SEEN_MAX: u8 = 15;

/// A filter of the keys there are: a key that is not in it is answered as absent, proven, without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bloom {
    /// Rows that the table is expected to have at most, those deleted since the filter was built included.
    pub entries: NonZeroU64,
    /// Share of absent keys that it lets through, 0 to 1.
    pub error: f64,
}

impl Bloom {
    /// A filter for so many rows, which lets 1 of 10,000 absent keys through.
    #[must_use]
    pub const fn new(entries: NonZeroU64) -> Self {
        Self { entries, error: BLOOM_ERROR_DEFAULT }
    }
}

/// Which keys are kept, where there is no end of keys: once memory is full, those that are asked for often enough. The others
/// are loaded once for all who wait, answered, and kept in no tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionPlan {
    /// A key takes the place of another once it was asked for so often lately, 2 to 15.
    pub seen: u8,
    /// Most keys kept in memory.
    pub keys_max: NonZeroU32,
    /// A file of keys that are kept at once: see `docs/guide/absent.md`.
    pub hot_keys: Option<PathBuf>,
}

impl AdmissionPlan {
    /// Keeps at most so many keys, each once it was asked for twice lately.
    #[must_use]
    pub const fn new(keys_max: NonZeroU32) -> Self {
        Self { seen: ADMISSION_SEEN_DEFAULT, keys_max, hot_keys: None }
    }
}
