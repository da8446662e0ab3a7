//! Defaults and the checks of a plan as a whole.

mod absent;
mod guards;
mod key;
mod lives;
mod rules;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use self::lives::Lives;
use super::{
    CacheablePlan, ClassName, ClassPlan, ClassPlanBuilder, Decision, DecisionPlan, DecisionSettings,
    Fallback, Invalidation, KeyPlan, L1Plan, L2Plan, LifeBound, Measurement, NeverCache, Origin, Pattern,
    PlanError, PlanErrors, Rows, Settings, Stampede, Tags, choices,
};
use crate::limits::VALUE_BYTES_MAX_DEFAULT;

/// How old an answer may be, unless the class says otherwise.
pub const MAX_STALENESS_DEFAULT: Duration = Duration::from_secs(1);
/// Smallest bound of a class: freshness is asked for four times per bound and at most every 10 ms.
pub const MAX_STALENESS_MIN: Duration = Duration::from_millis(40);
/// Life of an entry that follows the feed, unless the class says otherwise.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// Age at which even a proven entry is reloaded, unless the class says otherwise.
pub const HARD_AGE_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// Share of the life by which ends are spread, unless the class says otherwise.
pub const JITTER_DEFAULT: f64 = 0.1;
/// How long "absent" is kept, unless the class says otherwise.
pub const NEGATIVE_LIFE_DEFAULT: Duration = Duration::from_secs(60);
/// When a load ends, unless the class says otherwise.
pub const HARD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// How long the source is left alone after a stale answer on failure, unless the class says otherwise.
pub const FAILURE_BACKOFF_DEFAULT: Duration = Duration::from_secs(1);
/// Most bytes of a class in memory, unless the class says otherwise.
pub const L1_CAPACITY_BYTES_DEFAULT: usize = 64 << 20;

/// Collects what is wrong with one class.
struct Findings {
    class: ClassName,
    errors: Vec<PlanError>,
}

impl Findings {
    fn conflict(
        &mut self,
        decision: Decision,
        field: &'static str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let class = self.class.clone();
        self.errors.push(PlanError::Conflict {
            class,
            decision,
            field,
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    fn undecided(&mut self, decision: Decision, field: &'static str, fix: impl Into<String>) {
        self.errors.push(PlanError::Undecided {
            class: self.class.clone(),
            decision,
            field,
            fix: fix.into(),
        });
    }
}

pub(super) fn build(draft: ClassPlanBuilder) -> Result<ClassPlan, PlanErrors> {
    let name = ClassName::new(&draft.name).map_err(PlanError::from)?;
    let mut findings = Findings { class: name.clone(), errors: Vec::new() };
    let origin = origin(&draft, &mut findings);
    let key = key::key(&draft, &origin, &mut findings);
    let rows = rows(&draft, &origin, &mut findings);
    let plan = if draft.purpose.never_reason().is_some() {
        refuse_tiers(&draft, &mut findings);
        let hard_timeout = draft.hard_timeout.unwrap_or(HARD_TIMEOUT_DEFAULT);
        let purpose = draft.purpose;
        ClassPlan::Decision(DecisionPlan(Arc::new(DecisionSettings {
            name,
            purpose,
            origin,
            rows,
            key,
            hard_timeout,
        })))
    } else {
        ClassPlan::Cacheable(CacheablePlan(Arc::new(cacheable(draft, name, origin, key, &mut findings))))
    };
    if findings.errors.is_empty() { Ok(plan) } else { Err(PlanErrors(findings.errors)) }
}

fn origin(draft: &ClassPlanBuilder, findings: &mut Findings) -> Origin {
    draft.origin.clone().unwrap_or_else(|| {
        findings.undecided(
            Decision::Pattern,
            "table",
            "write `table = \"...\"` or `query = \"SELECT ...\"`, or `origin = \"external\"` if clients fill the class",
        );
        // Stands in so that nothing is demanded on top that a table would not need.
        Origin::Table("".into())
    })
}

fn rows(draft: &ClassPlanBuilder, origin: &Origin, findings: &mut Findings) -> Rows {
    if draft.rows.is_some() && !matches!(origin, Origin::Query(_)) {
        let problem = "only the answer of a `query` has a number of rows";
        findings.conflict(Decision::Pattern, "rows", problem, "remove `rows`, or name a `query`");
    }
    draft.rows.unwrap_or_default()
}

/// A decision class has no tier, hence none of their settings.
fn refuse_tiers(draft: &ClassPlanBuilder, findings: &mut Findings) {
    let stated = [
        ("pattern", draft.pattern.is_some()),
        ("format", draft.format != 0),
        ("invalidation", draft.invalidation.is_some()),
        ("refresh", draft.strategy.is_some()),
        ("stampede_scope", draft.stampede_scope.is_some()),
        ("loads_max", draft.loads_max.is_some()),
        ("never_columns", !draft.never_columns.is_empty()),
        ("allow_secret_looking", !draft.allowed.is_empty()),
        ("life", draft.life.is_some()),
        ("jitter", draft.jitter.is_some()),
        ("hard_age", draft.hard_age.is_some()),
        ("negative_life", matches!(draft.negative_life, Some(Some(_)))),
        ("l1_eviction", draft.l1_eviction.is_some()),
        ("l1_life", draft.l1_life.is_some()),
        ("l2", draft.l2 && draft.l2_life.is_none()),
        ("l2_life", draft.l2_life.is_some()),
        ("at_rest", draft.at_rest.is_some()),
        ("cold_start", draft.cold_start.is_some()),
        ("soft_timeout", draft.soft_timeout.is_some()),
        ("failure_backoff", draft.failure_backoff.is_some()),
        ("max_staleness", draft.max_staleness.is_some()),
        ("serve_stale", draft.serve_stale.is_some()),
        ("versioned_by", draft.versioned_by.is_some()),
        ("check_share", draft.check_share.is_some()),
        ("hit_rate_floor", draft.hit_rate_floor.is_some()),
        ("hit_rate_window", draft.hit_rate_window.is_some()),
        ("priority", draft.priority.is_some()),
        ("fallback", draft.fallback.as_ref().is_some_and(|fallback| *fallback != Fallback::None)),
        ("fallback_age_max", draft.fallback_age_max.is_some()),
        ("fallback_capacity", draft.fallback_capacity_bytes.is_some()),
        ("memory_weight", draft.memory_weight.is_some()),
        ("value_bytes_max", draft.value_bytes_max.is_some()),
        ("l1_capacity", draft.l1_capacity_bytes.is_some()),
        ("bloom", draft.bloom.is_some()),
        ("admission", draft.admission.is_some()),
    ];
    for (field, _) in stated.iter().filter(|(_, is_stated)| *is_stated) {
        findings.conflict(
            Decision::NeverCache,
            field,
            format!(
                "purpose = \"{}\" is never cached ({})",
                draft.purpose,
                draft.purpose.never_reason().unwrap_or_default()
            ),
            format!("remove `{field}`, or choose a purpose that may be cached"),
        );
    }
}

fn cacheable(
    draft: ClassPlanBuilder,
    name: ClassName,
    origin: Origin,
    key: KeyPlan,
    findings: &mut Findings,
) -> Settings {
    let bound = draft.purpose.life_bound();
    let pattern = draft.pattern.clone().unwrap_or(match origin {
        Origin::External => Pattern::CacheAside,
        _ => Pattern::ReadThrough,
    });
    let invalidation = invalidation(&draft, &origin, findings);
    let lives = Lives::resolve(&draft, &invalidation, bound, findings);
    let guards = guards::resolve(&draft, bound, lives.max_staleness);
    let plan = Settings {
        name,
        purpose: draft.purpose,
        origin,
        rows: draft.rows.unwrap_or_default(),
        key,
        versioned_by: draft.versioned_by,
        format: draft.format,
        pattern,
        invalidation,
        stampede: Stampede {
            strategy: draft.strategy.unwrap_or_default(),
            scope: draft.stampede_scope.unwrap_or_default(),
            loads_max: draft.loads_max.unwrap_or(choices::LOADS_MAX_DEFAULT),
        },
        never_cache: NeverCache { columns: draft.never_columns, allowed: draft.allowed },
        cold_start: draft.cold_start.unwrap_or_default(),
        measurement: Measurement {
            check_share: draft.check_share.unwrap_or(choices::CHECK_SHARE_DEFAULT),
            hit_rate_floor: draft.hit_rate_floor,
        },
        guards,
        max_staleness: lives.max_staleness,
        life: lives.life,
        jitter: draft.jitter.unwrap_or(JITTER_DEFAULT),
        hard_age: lives.hard_age,
        negative_life: lives.negative_life,
        serve_stale: draft.serve_stale,
        soft_timeout: draft.soft_timeout,
        hard_timeout: draft.hard_timeout.unwrap_or(HARD_TIMEOUT_DEFAULT),
        failure_backoff: draft.failure_backoff.unwrap_or(FAILURE_BACKOFF_DEFAULT),
        value_bytes_max: draft.value_bytes_max.unwrap_or(VALUE_BYTES_MAX_DEFAULT),
        l1: L1Plan {
            capacity_bytes: draft.l1_capacity_bytes.unwrap_or(L1_CAPACITY_BYTES_DEFAULT),
            eviction: draft.l1_eviction.unwrap_or_default(),
            life: lives.l1_life,
        },
        l2: draft.l2.then_some(L2Plan { life: lives.l2_life, at_rest: draft.at_rest.unwrap_or_default() }),
        bloom: draft.bloom,
        admission: draft.admission,
    };
    check(&plan, bound, findings);
    plan
}

fn invalidation(draft: &ClassPlanBuilder, origin: &Origin, findings: &mut Findings) -> Invalidation {
    match (&draft.invalidation, origin) {
        (Some(stated), _) => stated.clone(),
        (None, Origin::Table(_)) => Invalidation::Feed(Tags::Row),
        (None, Origin::Query(_)) => Invalidation::Feed(Tags::Any),
        (None, Origin::Loader | Origin::External) => {
            findings.undecided(
                Decision::Invalidation,
                "invalidation",
                "no feed can be read off code: write `invalidation = { owner = \"...\", reason = \"...\" }` with a \
                 `life`, or name the tables' groups",
            );
            Invalidation::AgeBounded { owner: String::new(), reason: String::new() }
        }
    }
}

fn check(plan: &Settings, bound: LifeBound, findings: &mut Findings) {
    rules::check_pattern(plan, findings);
    rules::check_tags(plan, findings);
    rules::check_never(plan, findings);
    lives::check_lives(plan, findings);
    lives::check_stale(plan, findings);
    lives::check_shares_and_sizes(plan, findings);
    absent::check_bloom(plan, findings);
    absent::check_admission(plan, findings);
    guards::check(plan, findings);
    if let LifeBound::AtMost(cap) = bound {
        lives::check_cap(plan, cap, findings);
    }
}
