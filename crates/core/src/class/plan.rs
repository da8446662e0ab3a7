//! A checked plan: cacheable, or a decision.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use compact_str::CompactString;

use super::{
    AdmissionPlan, AtRest, Bloom, ClassName, ClassPlanBuilder, ColdStart, Guards, Invalidation, KeyPlan,
    L1Plan, L2Plan, Measurement, NeverCache, Origin, Pattern, PlanError, Purpose, Rows, Stampede, digest,
};

/// Fingerprint of whatever changes the meaning of stored bytes.
pub type PlanDigest = [u8; 16];

/// The plan of one class, checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassPlan {
    /// May be held in tiers.
    Cacheable(CacheablePlan),
    /// Never held anywhere; read in a transaction on the source.
    Decision(DecisionPlan),
}

/// A plan whose values may be held in tiers. Built only by [`ClassPlanBuilder`], hence always checked; clones share.
/// Its fields are those of [`Settings`].
#[derive(Clone, Debug, PartialEq)]
pub struct CacheablePlan(pub(super) Arc<Settings>);

/// A plan whose values are never held. No tier, life or staleness exists for it.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionPlan(pub(super) Arc<DecisionSettings>);

/// Everything decided about a cacheable class.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The class.
    pub name: ClassName,
    /// What its values are for.
    pub purpose: Purpose,
    /// Where they come from.
    pub origin: Origin,
    /// How many rows the answer of a query has.
    pub rows: Rows,
    /// How they are named.
    pub key: KeyPlan,
    /// The key part that is the version of the text; stated for [`Purpose::VersionedText`].
    pub versioned_by: Option<CompactString>,
    /// Version of the value's format: raised by the owner when a loader's bytes change their meaning.
    pub format: u32,
    /// Who loads and who writes.
    pub pattern: Pattern,
    /// What ends an entry.
    pub invalidation: Invalidation,
    /// What many misses of one key do.
    pub stampede: Stampede,
    /// What is left out of the value.
    pub never_cache: NeverCache,
    /// What a new node does.
    pub cold_start: ColdStart,
    /// How one knows that it works.
    pub measurement: Measurement,
    /// What protects the source and the class's readers from each other.
    pub guards: Guards,
    /// An answer reflects every commit acknowledged longer ago than this; age-bounded classes: their life.
    pub max_staleness: Duration,
    /// An entry is renewed (proven) or reloaded (not) at this age.
    pub life: Duration,
    /// Share of `life` by which ends are spread, 0 to 1: an entry lives between `life * (1 - jitter)` and `life`.
    pub jitter: f64,
    /// At this age even a proven entry is reloaded: it bounds what nobody thought of.
    pub hard_age: Duration,
    /// How long "absent" is kept; `None`: not at all.
    pub negative_life: Option<Duration>,
    /// Greatest time since a value was last known to be true at which it may be served, labelled stale, when the
    /// source fails or sheds; `None`: never.
    pub serve_stale: Option<Duration>,
    /// A reader who may have a stale value gets it after this long, while the load goes on.
    pub soft_timeout: Option<Duration>,
    /// A load ends after this long.
    pub hard_timeout: Duration,
    /// After a stale answer on failure the source is not asked for that key again before this has passed.
    pub failure_backoff: Duration,
    /// Largest value that is cached, in bytes; larger ones are served and not stored.
    pub value_bytes_max: usize,
    /// Entries in memory.
    pub l1: L1Plan,
    /// Entries in the remote tier; `None`: memory only.
    pub l2: Option<L2Plan>,
    /// The filter of the keys there are; `None`: absences are kept one by one.
    pub bloom: Option<Bloom>,
    /// Which keys are kept; `None`: all.
    pub admission: Option<AdmissionPlan>,
}

/// Everything decided about a class that is never cached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecisionSettings {
    /// The class.
    pub name: ClassName,
    /// Why it is never cached.
    pub purpose: Purpose,
    /// Where values come from.
    pub origin: Origin,
    /// How many rows the answer of a query has.
    pub rows: Rows,
    /// How they are named.
    pub key: KeyPlan,
    /// A read ends after this long.
    pub hard_timeout: Duration,
}

impl ClassPlan {
    /// Starts a class of that purpose. The name is checked by `build`.
    pub fn of(purpose: Purpose, name: &str) -> ClassPlanBuilder {
        ClassPlanBuilder::new(purpose, name)
    }

    /// Starts a class whose values are shown to people.
    pub fn display(name: &str) -> ClassPlanBuilder {
        Self::of(Purpose::Display, name)
    }

    /// Starts a class of sessions: 30 minutes at most.
    pub fn session(name: &str) -> ClassPlanBuilder {
        Self::of(Purpose::Session, name)
    }

    /// Starts a class on which decisions rest: never cached.
    pub fn decision(name: &str) -> ClassPlanBuilder {
        Self::of(Purpose::Decision, name)
    }

    /// The class.
    #[must_use]
    pub fn name(&self) -> &ClassName {
        match self {
            Self::Cacheable(plan) => &plan.name,
            Self::Decision(plan) => &plan.name,
        }
    }

    /// What its values are for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Cacheable(plan) => plan.purpose,
            Self::Decision(plan) => plan.purpose,
        }
    }

    /// Where its values come from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Cacheable(plan) => &plan.origin,
            Self::Decision(plan) => &plan.origin,
        }
    }

    /// How many rows the answer of its query has.
    #[must_use]
    pub fn rows(&self) -> Rows {
        match self {
            Self::Cacheable(plan) => plan.rows,
            Self::Decision(plan) => plan.rows,
        }
    }

    /// How its values are named.
    #[must_use]
    pub fn key(&self) -> &KeyPlan {
        match self {
            Self::Cacheable(plan) => &plan.key,
            Self::Decision(plan) => &plan.key,
        }
    }

    /// The plan as one that may be held in tiers.
    ///
    /// # Errors
    /// [`PlanError::NeverCached`] for a decision class.
    pub fn cacheable(&self) -> Result<&CacheablePlan, PlanError> {
        match self {
            Self::Cacheable(plan) => Ok(plan),
            Self::Decision(plan) => Err(plan.never_cached()),
        }
    }
}

impl CacheablePlan {
    /// Fingerprint of whatever changes the meaning of stored bytes: an entry written under another digest is a miss.
    ///
    /// In it: class name, origin (table or query text), key form (scope, parts, parameters and their rules), tags,
    /// columns left out, value format. Not in it: lives, sizes, time-outs, policies, owners and reasons, which
    /// may change on a running system without losing an entry.
    #[must_use]
    pub fn digest(&self) -> PlanDigest {
        digest::digest(self)
    }

    /// The same plan with `bytes` of memory: its share of what classes share by weight.
    #[must_use]
    pub fn with_l1_capacity(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.0).l1.capacity_bytes = bytes;
        self
    }

    /// The same plan with a share in the remote tier, for as long as its life. A class whose pattern keeps to one node's memory is
    /// left as it is.
    #[must_use]
    pub fn with_l2(mut self) -> Self {
        if self.l2.is_none() && !matches!(self.pattern, Pattern::DeleteUpdateDelete { .. }) {
            let life = self.life;
            Arc::make_mut(&mut self.0).l2 = Some(L2Plan { life, at_rest: AtRest::default() });
        }
        self
    }

    /// Whether answers of the class can be proven: only the feed proves.
    #[must_use]
    pub fn is_provable(&self) -> bool {
        matches!(self.invalidation, Invalidation::Feed(_))
    }
}

impl DecisionPlan {
    /// The error that a read from a tier deserves.
    #[must_use]
    pub fn never_cached(&self) -> PlanError {
        PlanError::NeverCached { class: self.name.clone(), purpose: self.purpose }
    }
}

impl Deref for CacheablePlan {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl Deref for DecisionPlan {
    type Target = DecisionSettings;

    fn deref(&self) -> &DecisionSettings {
        &self.0
    }
}

impl fmt::Display for ClassPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.purpose())
    }
}
