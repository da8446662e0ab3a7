//! What happened: every write, every read, on one clock. And the judge of it.
//!
//! An *object* is what is written as one: a pair of accounts between which money moves, or one item. Its versions are
//! numbered by the database, in the transaction that writes it, and one program at a time writes it. So the order of its
//! states is known, and whether a read was right is a matter of comparing two numbers.

mod chain;
mod judge;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod violation;

use std::time::Duration;

use trueup_core::env::Nanos;

#[cfg(test)]
use self::judge::judge;
pub(crate) use self::{
    judge::{Judge, Verdict},
    violation::{Promise, Violation},
};

/// What is written as one, by number.
pub(crate) type Object = u32;

/// A state of an object: the database committed it, or may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) object: Object,
    /// Given by the database. Grows with each write, never used twice.
    pub(crate) version: u64,
    /// Whether there is a row in this state.
    pub(crate) present: bool,
    /// Nobody can have seen it before.
    pub(crate) start: Nanos,
    /// When its writer knew that it was committed; never, where the answer was lost.
    pub(crate) acked: Option<Nanos>,
}

/// The database went back: a crash took commits with it, or an older copy was put in its place.
#[derive(Clone, Debug)]
pub(crate) struct Rewind {
    /// Before this, the later states were there.
    pub(crate) start: Nanos,
    /// From here on they are not, and never will be again.
    pub(crate) end: Nanos,
    /// The last version of each object that is still there.
    pub(crate) survivors: Vec<u64>,
}

/// What a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A row of this version.
    Version(u64),
    /// There is no such row.
    Absent,
    /// A row that is not the one asked for.
    Foreign,
}

/// Who says that a read's answer came from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServedBy {
    L1,
    L2,
    Source,
    Stale,
    /// The wrong way, kept in this process to see whether the judge is awake.
    Naive,
}

impl ServedBy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Source => "source",
            Self::Stale => "stale",
            Self::Naive => "naive",
        }
    }

    /// The name as the server writes it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::L1, Self::L2, Self::Source, Self::Stale].into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the answer came without asking the database.
    pub(crate) const fn is_hit(self) -> bool {
        matches!(self, Self::L1 | Self::L2 | Self::Naive)
    }
}

/// A read that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) object: Object,
    pub(crate) seen: Seen,
    pub(crate) start: Nanos,
    pub(crate) end: Nanos,
    /// Everything acknowledged longer before the start than this must be reflected; none where the answer was called
    /// unproven.
    pub(crate) bound: Option<Duration>,
    /// Everything acknowledged before this must be reflected: when the token that the read carried was asked for. Zero
    /// without one.
    pub(crate) covers: Nanos,
    /// The session that the read is part of, and that must not go back.
    pub(crate) session: Option<u32>,
    pub(crate) served_by: ServedBy,
    /// The node that was asked.
    pub(crate) node: u8,
}

/// Rows that were asked for as one state of the database.
#[derive(Clone, Debug)]
pub(crate) struct Together {
    pub(crate) reads: Vec<Read>,
    /// What the amounts of each object's rows add up to, in the order of `reads`, for each object that was read whole.
    pub(crate) sums: Vec<(Object, i64)>,
}

/// Everything that happened.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct History {
    /// In the order of versions for each object.
    pub(crate) writes: Vec<Write>,
    /// In the order in which they happened.
    pub(crate) rewinds: Vec<Rewind>,
    /// In the order of time for each session.
    pub(crate) reads: Vec<Read>,
    pub(crate) together: Vec<Together>,
    /// What the amounts of each object's rows always add up to.
    pub(crate) sum: i64,
}
