//! What a read of a catalogue's class asks and gets.

use std::time::Duration;

use trueup_core::{
    entry::Raw,
    proof::Token,
    receipt::{Cached, Miss, ServedBy},
};

/// What a read demands beyond its class's own promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The answer must reflect the write that returned this token.
    pub token: Option<Token>,
    /// The answer must reflect every commit acknowledged longer ago than this. Tightens the class's bound only.
    pub max_staleness: Option<Duration>,
}

/// A value with what is known of it, from a tier or straight from the source.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of a class that is cached.
    Cached(Cached<Raw>),
    /// Of a class that never is.
    Direct(Direct),
}

/// A value read from the source for one reader.
#[derive(Clone, Debug)]
pub struct Direct {
    pub(super) value: Option<Raw>,
    pub(super) version: u64,
    /// Since before the read began.
    pub(super) age: Duration,
    pub(super) seen: Token,
}

impl Answer {
    /// The value's bytes; `None` where the source has no such row.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&Raw> {
        match self {
            Self::Cached(cached) => cached.value(),
            Self::Direct(direct) => direct.value.as_ref(),
        }
    }

    /// A number that identifies the value's content: equal values have equal versions on every node.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Self::Cached(cached) => cached.version(),
            Self::Direct(direct) => direct.version,
        }
    }

    /// The answer reflects every commit acknowledged longer ago than this.
    #[must_use]
    pub fn age(&self) -> Duration {
        match self {
            Self::Cached(cached) => cached.receipt().age,
            Self::Direct(direct) => direct.age,
        }
    }

    /// Where it came from.
    #[must_use]
    pub fn served_by(&self) -> ServedBy {
        match self {
            Self::Cached(cached) => cached.receipt().served_by,
            Self::Direct(_) => ServedBy::Source,
        }
    }

    /// Whether the age is proven, rather than counted from the load.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        match self {
            Self::Cached(cached) => cached.receipt().proven,
            Self::Direct(_) => true,
        }
    }

    /// Why memory had no answer; `None` for a hit, and for classes that are not held in memory.
    #[must_use]
    pub fn miss(&self) -> Option<Miss> {
        match self {
            Self::Cached(cached) => cached.receipt().miss,
            Self::Direct(_) => None,
        }
    }
}

impl From<Cached<Raw>> for Answer {
    fn from(cached: Cached<Raw>) -> Self {
        Self::Cached(cached)
    }
}
