//! What a class is worth when there is not enough for all, and what its readers get instead.

use std::time::Duration;

use compact_str::CompactString;

/// Longest time since a value was last known true at which it is the last known good one, unless the class says otherwise.
pub const FALLBACK_AGE_MAX_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// Most bytes of last known good values of a class, unless it says otherwise.
pub const FALLBACK_CAPACITY_BYTES_DEFAULT: usize = 8 << 20;
/// Window over which a hit rate is held against its floor, unless the class says otherwise.
pub const HIT_RATE_WINDOW_DEFAULT: Duration = Duration::from_secs(10);

/// Whose loads go first when the source is short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Last to be shed; a share of the source is kept for it.
    Critical,
    /// What is neither.
    #[default]
    Normal,
    /// First to be shed.
    Sheddable,
}

impl Priority {
    /// All of them, the most important first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Sheddable];

    /// The priority as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Sheddable => "sheddable",
        }
    }

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a reader gets when the source fails or sheds and no stale entry may stand in. Never for a read with a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// An error that says when to try again.
    #[default]
    None,
    /// The last value known to be true, labelled stale; kept apart from the entries, so that neither eviction nor a change
    /// takes it away.
    LastKnownGood,
    /// A declared value, labelled as such.
    Value(CompactString),
}

/// What protects the source and the readers of a class from each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    /// Whose loads go first.
    pub priority: Priority,
    /// What stands in.
    pub fallback: Fallback,
    /// Greatest time since a value was last known to be true at which it is the last known good one.
    pub fallback_age_max: Duration,
    /// Most bytes of last known good values.
    pub fallback_capacity_bytes: usize,
    /// Window over which the hit rate is held against its floor.
    pub hit_rate_window: Duration,
    /// Its part of the memory that classes share, beside those of the others.
    pub memory_weight: f64,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            priority: Priority::default(),
            fallback: Fallback::default(),
            fallback_age_max: FALLBACK_AGE_MAX_DEFAULT,
            fallback_capacity_bytes: FALLBACK_CAPACITY_BYTES_DEFAULT,
            hit_rate_window: HIT_RATE_WINDOW_DEFAULT,
            memory_weight: 1.0,
        }
    }
}
