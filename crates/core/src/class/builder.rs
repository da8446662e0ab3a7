//! Building a class plan in Rust.

use std::{num::NonZeroU32, time::Duration};

use compact_str::CompactString;

use super::{
    AdmissionPlan, AtRest, Bloom, ClassPlan, ColdStart, Eviction, Fallback, Invalidation, Measurement,
    Origin, Parameter, Pattern, PlanErrors, Priority, Purpose, Rows, Stampede, StampedeScope, Strategy, Tags,
    Unicode, Unknown, check,
};

/// A class plan in the making. What is not stated gets a safe default; what has none is demanded by
/// [`build`](Self::build).
///
/// ```
/// use std::time::Duration;
/// use trueup_core::class::ClassPlan;
///
/// let plan = ClassPlan::display("user")
///     .table("user")
///     .key(["id"])
///     .max_staleness(Duration::from_millis(200))
///     .build()?;
/// assert!(plan.cacheable().is_ok());
/// # Ok::<(), trueup_core::class::PlanErrors>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClassPlanBuilder {
    pub(super) purpose: Purpose,
    pub(super) name: String,
    pub(super) origin: Option<Origin>,
    pub(super) rows: Option<Rows>,
    pub(super) scope: Option<Vec<CompactString>>,
    pub(super) columns: Vec<CompactString>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) ignore: Vec<CompactString>,
    pub(super) unknown: Unknown,
    pub(super) unicode: Unicode,
    pub(super) versioned_by: Option<CompactString>,
    pub(super) format: u32,
    pub(super) pattern: Option<Pattern>,
    pub(super) invalidation: Option<Invalidation>,
    pub(super) strategy: Option<Strategy>,
    pub(super) stampede_scope: Option<StampedeScope>,
    pub(super) loads_max: Option<NonZeroU32>,
    pub(super) never_columns: Vec<CompactString>,
    pub(super) allowed: Vec<CompactString>,
    pub(super) cold_start: Option<ColdStart>,
    pub(super) check_share: Option<f64>,
    pub(super) hit_rate_floor: Option<f64>,
    pub(super) hit_rate_window: Option<Duration>,
    pub(super) priority: Option<Priority>,
    pub(super) fallback: Option<Fallback>,
    pub(super) fallback_age_max: Option<Duration>,
    pub(super) fallback_capacity_bytes: Option<usize>,
    pub(super) memory_weight: Option<f64>,
    pub(super) max_staleness: Option<Duration>,
    pub(super) life: Option<Duration>,
    pub(super) jitter: Option<f64>,
    pub(super) hard_age: Option<Duration>,
    pub(super) negative_life: Option<Option<Duration>>,
    pub(super) serve_stale: Option<Duration>,
    pub(super) soft_timeout: Option<Duration>,
    pub(super) hard_timeout: Option<Duration>,
    pub(super) failure_backoff: Option<Duration>,
    pub(super) value_bytes_max: Option<usize>,
    pub(super) l1_capacity_bytes: Option<usize>,
    pub(super) l1_eviction: Option<Eviction>,
    pub(super) l1_life: Option<Duration>,
    pub(super) l2: bool,
    pub(super) l2_life: Option<Duration>,
    pub(super) at_rest: Option<AtRest>,
    pub(super) bloom: Option<Bloom>,
    pub(super) admission: Option<AdmissionPlan>,
}

fn names<I: IntoIterator<Item: Into<CompactString>>>(items: I) -> Vec<CompactString> {
    items.into_iter().map(Into::into).collect()
}

/// Setters that store their argument in the field of the same name.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = Some($field);
            self
        }
    )*};
}

impl ClassPlanBuilder {
    pub(super) fn new(purpose: Purpose, name: &str) -> Self {
        Self {
            purpose,
            name: name.to_owned(),
            origin: None,
            rows: None,
            scope: None,
            columns: Vec::new(),
            parameters: Vec::new(),
            ignore: Vec::new(),
            unknown: Unknown::default(),
            unicode: Unicode::default(),
            versioned_by: None,
            format: 0,
            pattern: None,
            invalidation: None,
            strategy: None,
            stampede_scope: None,
            loads_max: None,
            never_columns: Vec::new(),
            allowed: Vec::new(),
            cold_start: None,
            check_share: None,
            hit_rate_floor: None,
            hit_rate_window: None,
            priority: None,
            fallback: None,
            fallback_age_max: None,
            fallback_capacity_bytes: None,
            memory_weight: None,
            max_staleness: None,
            life: None,
            jitter: None,
            hard_age: None,
            negative_life: None,
            serve_stale: None,
            soft_timeout: None,
            hard_timeout: None,
            failure_backoff: None,
            value_bytes_max: None,
            l1_capacity_bytes: None,
            l1_eviction: None,
            l1_life: None,
            l2: false,
            l2_life: None,
            at_rest: None,
            bloom: None,
            admission: None,
        }
    }

    /// Values are rows of `table`, read by primary key.
    pub fn table(mut self, table: &str) -> Self {
        self.origin = Some(Origin::Table(table.into()));
        self
    }

    /// Values are the result of `query`; its named parameters (`:id`) are key parts or scope dimensions.
    pub fn query(mut self, query: &str) -> Self {
        self.origin = Some(Origin::Query(query.to_owned()));
        self
    }

    /// Values come from a loader in Rust, handed to the engine.
    pub fn loader(mut self) -> Self {
        self.origin = Some(Origin::Loader);
        self
    }

    /// Values come from a source Trueup cannot load; clients fill under a lease.
    pub fn external(mut self) -> Self {
        self.origin = Some(Origin::External);
        self
    }

    /// Key parts that are columns, in order.
    pub fn key<I: IntoIterator<Item: Into<CompactString>>>(mut self, columns: I) -> Self {
        self.columns = names(columns);
        self
    }

    /// Adds a free parameter to the key.
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Parameters that never become part of the key (`utm_*`).
    pub fn ignore<I: IntoIterator<Item: Into<CompactString>>>(mut self, parameters: I) -> Self {
        self.ignore = names(parameters);
        self
    }

    /// What a parameter without a rule does.
    pub fn unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self
    }

    /// The Unicode form of text parts.
    pub fn unicode(mut self, unicode: Unicode) -> Self {
        self.unicode = unicode;
        self
    }

    /// Dimensions that every reader must state: tenant, user, role, permission level, locale.
    pub fn scope<I: IntoIterator<Item: Into<CompactString>>>(mut self, dimensions: I) -> Self {
        self.scope = Some(names(dimensions));
        self
    }

    /// States that the answer is the same for everyone: no scope dimension.
    pub fn same_for_everyone(mut self) -> Self {
        self.scope = Some(Vec::new());
        self
    }

    /// The key part that is the version of the text.
    pub fn versioned_by(mut self, part: &str) -> Self {
        self.versioned_by = Some(part.into());
        self
    }

    /// Version of the value's format; raise it when a loader's bytes change their meaning.
    pub fn format(mut self, format: u32) -> Self {
        self.format = format;
        self
    }

    /// Entries depend on `tags` and follow the feed.
    pub fn tags(self, tags: Tags) -> Self {
        self.invalidation(Invalidation::Feed(tags))
    }

    /// Entries end by age alone: `owner` answers for it, because of `reason`. Demands a life.
    pub fn age_bounded(self, owner: &str, reason: &str) -> Self {
        self.invalidation(Invalidation::AgeBounded { owner: owner.to_owned(), reason: reason.to_owned() })
    }

    /// Columns left out of the value.
    pub fn never_columns<I: IntoIterator<Item: Into<CompactString>>>(mut self, columns: I) -> Self {
        self.never_columns = names(columns);
        self
    }

    /// Names that look like secrets and are served all the same.
    pub fn allow_secret_looking<I: IntoIterator<Item: Into<CompactString>>>(
        mut self,
        names_allowed: I,
    ) -> Self {
        self.allowed = names(names_allowed);
        self
    }

    /// How long "absent" is kept.
    pub fn negative_life(mut self, life: Duration) -> Self {
        self.negative_life = Some(Some(life));
        self
    }

    /// "Absent" is not kept.
    pub fn no_negative(mut self) -> Self {
        self.negative_life = Some(None);
        self
    }

    /// Entries are also held in the remote tier; its life is the class's unless [`l2_life`](Self::l2_life) is set.
    pub fn l2(mut self) -> Self {
        self.l2 = true;
        self
    }

    /// Entries are also held in the remote tier, for `life` at most.
    pub fn l2_life(mut self, life: Duration) -> Self {
        self.l2 = true;
        self.l2_life = Some(life);
        self
    }

    /// What happens as an entry nears its end, among whom a key is loaded once, and how many loads may be in flight.
    pub fn stampede(mut self, stampede: Stampede) -> Self {
        self.strategy = Some(stampede.strategy);
        self.stampede_scope = Some(stampede.scope);
        self.loads_max = Some(stampede.loads_max);
        self
    }

    /// How one knows that the class works.
    pub fn measurement(mut self, measurement: Measurement) -> Self {
        self.check_share = Some(measurement.check_share);
        self.hit_rate_floor = measurement.hit_rate_floor;
        self
    }

    setters! {
        /// How many rows the answer of a query has; one at most unless stated.
        rows: Rows;
        /// Who loads and who writes.
        pattern: Pattern;
        /// What ends an entry.
        invalidation: Invalidation;
        /// What happens as an entry nears its end.
        strategy: Strategy;
        /// Among whom a key is loaded once at a time.
        stampede_scope: StampedeScope;
        /// Most loads of the class in flight at once on a node.
        loads_max: NonZeroU32;
        /// What a new node does.
        cold_start: ColdStart;
        /// Share of proven answers compared with the source, 0 to 1.
        check_share: f64;
        /// Hit rate, 0 to 1, below which loads that are not critical are limited and `check --http` reports a finding.
        hit_rate_floor: f64;
        /// Window over which the hit rate is held against its floor.
        hit_rate_window: Duration;
        /// Whose loads go first when the source is short.
        priority: Priority;
        /// What a reader gets when the source fails or sheds.
        fallback: Fallback;
        /// Greatest time since a value was last known to be true at which it is the last known good one.
        fallback_age_max: Duration;
        /// Most bytes of last known good values.
        fallback_capacity_bytes: usize;
        /// The class's part of the memory that classes share, beside those of the others.
        memory_weight: f64;
        /// How old an answer may be.
        max_staleness: Duration;
        /// When an entry is renewed or reloaded.
        life: Duration;
        /// Share of the life by which ends are spread, 0 to 1.
        jitter: f64;
        /// When even a proven entry is reloaded.
        hard_age: Duration;
        /// How long after it was last known true a value may be served as stale when the source fails.
        serve_stale: Duration;
        /// When a reader who may have a stale value gets it while the load goes on.
        soft_timeout: Duration;
        /// When a load ends.
        hard_timeout: Duration;
        /// How long the source is left alone after a stale answer on failure.
        failure_backoff: Duration;
        /// Largest value that is cached, in bytes.
        value_bytes_max: usize;
        /// Most bytes of the class in memory.
        l1_capacity_bytes: usize;
        /// What goes first when they are used up.
        l1_eviction: Eviction;
        /// Longest stay in memory without renewal.
        l1_life: Duration;
        /// Who can read the class's entries in the remote tier.
        at_rest: AtRest;
        /// A filter of the keys there are, so that absent ones are answered without asking the source.
        bloom: Bloom;
        /// Which keys are kept, where there is no end of keys.
        admission: AdmissionPlan;
    }

    /// Checks everything at once.
    ///
    /// # Errors
    /// [`PlanErrors`]: each decision that is missing, out of range or in conflict with another.
    pub fn build(self) -> Result<ClassPlan, PlanErrors> {
        check::build(self)
    }
}
