//! What a read or a write can fail with, and what its caller can do.

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
    /// The plan asks for something this version does not do.
    #[error("class `{class}`: {what} is not supported yet; {instead}")]
    Unsupported {
        /// The class.
        class: ClassName,
        /// What was asked.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
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
