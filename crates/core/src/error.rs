//! What a read or a write can fail with, and what its caller can do.

use std::sync::Arc;

use crate::{
    class::{ClassName, PlanError},
    entry::CodecError,
    key::KeyError,
    source::LoadError,
};

/// A read failed. Nothing was answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The key is not one of the class.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The source did not answer, and no stale value may stand in.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The token was not given by this source: it lies beyond everything the source knows.
    #[error(
        "the token lies beyond everything the source knows: it was made up, or the source was restored from an older copy; \
         read without it"
    )]
    TokenUnknown,
}

/// A fill under a lease was not kept. What the client has loaded is its own answer all the same.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// The key is not one of the class.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The lease does not run: it has lapsed, has filled already, or was given by another node.
    #[error("the lease does not run any more: take a new one and load again")]
    LeaseLost,
    /// Something was invalidated since the lease was given, or the feed was interrupted: the value may be old.
    #[error("it was invalidated while it was loaded: take a new lease and load again")]
    Invalidated,
    /// The class's plan keeps no such value: it is too large, or absent.
    #[error(
        "the class keeps no such value: it is larger than `value_bytes_max`, or absent without a `negative_life`"
    )]
    NotKept,
}

/// A class could not be set up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassError {
    /// The plan does not allow it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The key type does not fit the class's key form.
    #[error("class `{class}`: {why}")]
    Key {
        /// The class.
        class: ClassName,
        /// What does not fit.
        why: KeyError,
    },
    /// The value that the plan declares for when the source fails is none of the class.
    #[error("class `{class}`: the value of `fallback` does not fit: {why}")]
    Fallback {
        /// The class.
        class: ClassName,
        /// What does not fit.
        why: CodecError,
    },
    /// The class is written through the cache and cannot be.
    #[error("class `{class}`: pattern = \"{pattern}\": {why}")]
    Written {
        /// The class.
        class: ClassName,
        /// Its pattern.
        pattern: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// The class asks for a filter of the keys there are and cannot have one.
    #[error("class `{class}`: `bloom`: {why}")]
    Bloom {
        /// The class.
        class: ClassName,
        /// Why not, and what to do.
        why: String,
    },
    /// The list of keys that are kept at once cannot be read.
    #[error("class `{class}`: `hot_keys`: {path}: {why}")]
    HotKeys {
        /// The class.
        class: ClassName,
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A row was not written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The key is not one of the class.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nobody writes the class through the cache.
    #[error(
        "class `{class}` is {pattern}: write to the database of record, and the cache follows; or choose \
         `pattern = \"write-through\"` or `\"write-behind\"`"
    )]
    NotWritten {
        /// The class.
        class: ClassName,
        /// Its pattern.
        pattern: &'static str,
    },
    /// The change cannot be made.
    #[error("{0}")]
    Row(Arc<str>),
    /// The source did not take it.
    #[error(transparent)]
    Source(#[from] LoadError),
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] AcceptError),
}

/// A write was not accepted into the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The journal is as large as it may become: the source is behind.
    #[error(
        "the journal is full, the database has not taken what was accepted before; retry after {retry_after_ms} ms"
    )]
    Full {
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The disk failed. Whether the write is in the journal is not known.
    #[error("the journal's disk failed ({reason}); retry after {retry_after_ms} ms")]
    Disk {
        /// What the system said.
        reason: Arc<str>,
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The process is about to end.
    #[error(
        "the node is stopping and accepts no more writes; retry after {retry_after_ms} ms, at another node"
    )]
    Stopping {
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
}

impl AcceptError {
    /// A short stable name, for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::Disk { .. } => "disk",
            Self::Stopping { .. } => "stopping",
        }
    }

    /// When it is worth trying again, in milliseconds.
    #[must_use]
    pub const fn retry_after_ms(&self) -> u64 {
        match self {
            Self::Full { retry_after_ms }
            | Self::Disk { retry_after_ms, .. }
            | Self::Stopping { retry_after_ms } => *retry_after_ms,
        }
    }
}
