//! Why a class plan is refused.

use std::fmt;

use super::{ClassName, Decision, NameError, Purpose};

/// Why a class plan is refused, or what cannot be done with one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The class has no valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A decision that has no safe default was not taken.
    #[error("class {class:?}: `{field}` must be decided ({decision}: {}): {fix}", .decision.question())]
    Undecided {
        /// The class.
        class: ClassName,
        /// The decision that is missing.
        decision: Decision,
        /// The field to set, as `trueup.toml` spells it.
        field: &'static str,
        /// What to write.
        fix: String,
    },
    /// A decision is out of range or conflicts with another one.
    #[error("class {class:?}: `{field}` ({decision}): {problem}; {fix}")]
    Conflict {
        /// The class.
        class: ClassName,
        /// The decision that does not hold.
        decision: Decision,
        /// The field that is wrong, as `trueup.toml` spells it.
        field: &'static str,
        /// What is wrong, with the values.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// The class exists so that it is never cached.
    #[error(
        "class {class:?} (purpose = \"{purpose}\") is never cached: {}; read it in a transaction on the source \
         (`authoritative`)", .purpose.never_reason().unwrap_or("its purpose forbids it")
    )]
    NeverCached {
        /// The class.
        class: ClassName,
        /// Why it is in the plan.
        purpose: Purpose,
    },
}

impl PlanError {
    /// The decision the error is about, where it is about one.
    #[must_use]
    pub const fn decision(&self) -> Option<Decision> {
        match self {
            Self::Name(_) => None,
            Self::Undecided { decision, .. } | Self::Conflict { decision, .. } => Some(*decision),
            Self::NeverCached { .. } => Some(Decision::NeverCache),
        }
    }

    /// The field to change, as `trueup.toml` spells it.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Undecided { field, .. } | Self::Conflict { field, .. } => Some(field),
            Self::Name(_) | Self::NeverCached { .. } => None,
        }
    }
}

/// Everything that is wrong with one class plan; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl fmt::Display for PlanErrors {
    /// One error per line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanErrors {}

impl From<PlanError> for PlanErrors {
    fn from(error: PlanError) -> Self {
        Self(vec![error])
    }
}
