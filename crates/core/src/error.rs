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
}
