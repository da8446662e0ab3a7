//! Eviction policies a tier can be built with.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// Which entry leaves when the tier is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// S3-FIFO with CLOCK-PRO's lists (`quick_cache`): readers take no lock after an entry's first. The default.
    #[default]
    S3Fifo,
    /// Exact least recently used (`foyer-memory`): every hit takes a write lock.
    Lru,
    /// W-TinyLFU (`foyer-memory`): a small window in front of a frequency sketch. Every hit takes a write lock.
    Lfu,
    /// First in, first out (`foyer-memory`).
    Fifo,
    /// SIEVE (`foyer-memory`): FIFO with a visited bit and a moving hand.
    Sieve,
}

impl Policy {
    /// Every selectable policy, the default first.
    pub const ALL: [Self; 5] = [Self::S3Fifo, Self::Lru, Self::Lfu, Self::Fifo, Self::Sieve];

    /// The name used in configuration and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3-fifo",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
            Self::Sieve => "sieve",
        }
    }

    /// What the tier itself spends on one entry beside the entry's own allocation, in bytes: the slab or record, its
    /// share of the hash table, and for s3-fifo its share of the ghosts. Measured as resident memory of a full tier of
    /// 100 k to 400 k entries.
    #[must_use]
    pub const fn overhead_bytes(self) -> usize {
        match self {
            Self::S3Fifo => 132,
            Self::Lru | Self::Lfu | Self::Fifo | Self::Sieve => 122,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A policy name that is none of [`Policy::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown eviction policy `{0}`: use one of s3-fifo, lru, lfu, fifo, sieve")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}
