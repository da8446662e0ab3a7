//! What comes with each answer: how fresh it is, and where it came from.

use std::{fmt, sync::Arc, time::Duration};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    proof::{Position, Unproven},
    tier::{Entry, Held},
};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServedBy {
    /// Memory of this process, proven.
    L1,
    /// The remote tier, proven here.
    L2,
    /// The database of record.
    Source,
    /// A value that could not be proven, because the source failed and the class allows that.
    Stale,
    /// The filter of the keys there are, in memory of this process: absent, proven.
    Filter,
    /// The value that the class's plan declares for when the source fails: it says nothing about the source.
    Fallback,
    /// What this node has accepted into its journal and the source may not have yet; never proven.
    Pending,
}

impl ServedBy {
    /// All of them, in the order of their metrics.
    pub const ALL: [Self; 7] =
        [Self::L1, Self::L2, Self::Source, Self::Stale, Self::Filter, Self::Fallback, Self::Pending];

    /// The name in metrics, receipts and protocols.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Source => "source",
            Self::Stale => "stale",
            Self::Filter => "filter",
            Self::Fallback => "fallback",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for ServedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why memory had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// Never loaded, as far as this node remembers.
    Cold,
    /// Loaded before, and evicted since.
    Evicted,
    /// Its life was over.
    Expired,
    /// Something it depends on changed.
    Invalidated,
    /// It could not be proven, for a reason that is not a change.
    Unproven(Unproven),
    /// The reader's token lies beyond what this node has applied, or the reader asked for the source.
    Bypass,
}

impl Miss {
    /// The names in metrics.
    pub const LABELS: [&'static str; 6] = ["cold", "evicted", "expired", "invalidated", "unproven", "bypass"];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        Self::LABELS[self.index()]
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Cold => 0,
            Self::Evicted => 1,
            Self::Expired => 2,
            Self::Invalidated => 3,
            Self::Unproven(_) => 4,
            Self::Bypass => 5,
        }
    }
}

impl From<Unproven> for Miss {
    fn from(why: Unproven) -> Self {
        match why {
            Unproven::Changed | Unproven::MissedChange => Self::Invalidated,
            Unproven::TokenAhead => Self::Bypass,
            Unproven::Expired => Self::Expired,
            other => Self::Unproven(other),
        }
    }
}

/// How fresh an answer is, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the answer came from.
    pub served_by: ServedBy,
    /// The answer reflects every commit acknowledged longer ago than this. For [`ServedBy::Stale`], and for classes that
    /// are age-bounded, the time since it was last known to be true. [`Duration::MAX`] for [`ServedBy::Fallback`], of which
    /// nothing is known; the time since the write was accepted for [`ServedBy::Pending`].
    pub age: Duration,
    /// Whether `age` is proven by the feed (or by reading the source itself), rather than counted from the load.
    pub proven: bool,
    /// The feed position at which the answer was checked; zero if it was not checked against the feed.
    pub watermark: Position,
    /// Why memory had no answer; none for a hit.
    pub miss: Option<Miss>,
}

/// Version of a value that does not exist.
const ABSENT_VERSION: u64 = 0;

/// The number that identifies a value's content by its encoded bytes, or its absence.
#[must_use]
pub fn content_version(encoded: Option<&[u8]>) -> u64 {
    encoded.map_or(ABSENT_VERSION, xxh3_64)
}

/// A value from the cache, for looking at: never for deciding.
///
/// There is no way from here to [`Authoritative`](crate::write::Authoritative).
pub struct Cached<V> {
    entry: Held<Entry<V>>,
    receipt: Receipt,
}

impl<V> Cached<V> {
    #[inline]
    pub(crate) fn new(entry: impl Into<Held<Entry<V>>>, receipt: Receipt) -> Self {
        Self { entry: entry.into(), receipt }
    }

    /// The value; `None` where the source has no such row.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&V> {
        self.entry.value()
    }

    /// Whether the source has no such row.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.entry.value().is_none()
    }

    /// How fresh the answer is, and where it came from.
    #[inline]
    #[must_use]
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// A number that identifies the value's content: equal values have equal versions on every node.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u64 {
        self.entry.version()
    }

    /// A position that bounds what the value can reflect: what a session merges into its token so as never to go back.
    #[must_use]
    pub fn upper(&self) -> Position {
        self.entry.proof().upper()
    }

    pub(crate) fn entry(&self) -> &Arc<Entry<V>> {
        &self.entry
    }
}

impl<V> Clone for Cached<V> {
    fn clone(&self) -> Self {
        Self { entry: self.entry.clone(), receipt: self.receipt }
    }
}

impl<V> fmt::Debug for Cached<V> {
    /// Shows neither key nor value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("receipt", &self.receipt).finish_non_exhaustive()
    }
}
