//! A class of values and the ten decisions about it.
//!
//! A [`ClassPlan`] is pure data: what the class loads, how its keys are named, how old an answer may be and what
//! becomes of an entry. It is built by [`ClassPlanBuilder`] (or read from `trueup.toml` by the `trueup` crate),
//! checked as a whole, and immutable afterwards. What must never be cached is a [`DecisionPlan`], a type of its own:
//! an engine that takes a [`CacheablePlan`] cannot be given one.

mod absent;
mod builder;
mod check;
mod choices;
mod decision;
mod digest;
mod error;
mod guards;
mod keyplan;
mod name;
mod plan;
mod purpose;
mod query;
mod secret;
pub mod units;

pub use absent::{
    ADMISSION_SEEN_DEFAULT, ADMISSION_SEEN_MAX, AdmissionPlan, BLOOM_ENTRIES_MAX, BLOOM_ERROR_DEFAULT,
    BLOOM_ERROR_MAX, BLOOM_ERROR_MIN, Bloom,
};
pub use builder::ClassPlanBuilder;
pub use check::{
    FAILURE_BACKOFF_DEFAULT, HARD_AGE_DEFAULT, HARD_TIMEOUT_DEFAULT, JITTER_DEFAULT,
    L1_CAPACITY_BYTES_DEFAULT, LIFE_DEFAULT, MAX_STALENESS_DEFAULT, MAX_STALENESS_MIN, NEGATIVE_LIFE_DEFAULT,
};
pub use choices::{
    AtRest, CHECK_SHARE_DEFAULT, ColdStart, Eviction, Group, Invalidation, L1Plan, L2Plan, LOADS_MAX_DEFAULT,
    Measurement, NeverCache, Origin, Pattern, Rows, SECOND_DELETE_AFTER_DEFAULT, Stampede, StampedeScope,
    Strategy, Tags,
};
pub use decision::Decision;
pub use error::{PlanError, PlanErrors};
pub use guards::{
    FALLBACK_AGE_MAX_DEFAULT, FALLBACK_CAPACITY_BYTES_DEFAULT, Fallback, Guards, HIT_RATE_WINDOW_DEFAULT,
    Priority,
};
pub use keyplan::{Case, KeyPlan, Kind, Parameter, Repeated, Unicode, Unknown};
pub use name::{CLASS_NAME_BYTES_MAX, ClassName, NameError};
pub use plan::{CacheablePlan, ClassPlan, DecisionPlan, DecisionSettings, PlanDigest, Settings};
pub use purpose::{LifeBound, Purpose};
pub use query::named_parameters;
pub use secret::looks_secret;
