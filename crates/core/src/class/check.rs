//! Defaults and the checks of a plan as a whole.

use std::{sync::Arc, time::Duration};

use super::{
    CacheablePlan, ClassName, ClassPlan, ClassPlanBuilder, Decision, DecisionPlan, DecisionSettings,
    Invalidation, KeyPlan, L1Plan, L2Plan, LifeBound, Measurement, NeverCache, Origin, Pattern, PlanError,
    PlanErrors, Purpose, Settings, Stampede, Strategy, Tags, choices, looks_secret, named_parameters,
    units::show_duration,
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
    let key = key(&draft, &origin, &mut findings);
    let plan = if draft.purpose.never_reason().is_some() {
        refuse_tiers(&draft, &mut findings);
        let hard_timeout = draft.hard_timeout.unwrap_or(HARD_TIMEOUT_DEFAULT);
        let purpose = draft.purpose;
        ClassPlan::Decision(DecisionPlan(Arc::new(DecisionSettings {
            name,
            purpose,
            origin,
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
        Origin::External
    })
}

/// The key form; its errors are about the scope, because a key that forgets something answers the wrong reader.
fn key(draft: &ClassPlanBuilder, origin: &Origin, findings: &mut Findings) -> KeyPlan {
    if draft.columns.is_empty() && draft.parameters.is_empty() {
        findings.undecided(Decision::KeyScope, "key", "write the parts of the key, such as `key = [\"id\"]`");
    }
    if draft.scope.is_none() && !matches!(origin, Origin::Table(_)) && draft.purpose.never_reason().is_none()
    {
        findings.undecided(
            Decision::KeyScope,
            "scope",
            "write `scope = []` if everyone may see the same answer, else what it depends on, such as \
             `scope = [\"tenant\"]`",
        );
    }
    let key = KeyPlan {
        scope: draft.scope.clone().unwrap_or_default(),
        columns: draft.columns.clone(),
        parameters: draft.parameters.clone(),
        ignore: draft.ignore.clone(),
        unknown: draft.unknown,
        unicode: draft.unicode,
    };
    let parts: Vec<&str> = part_names(&key);
    let all: Vec<&str> = key.scope.iter().map(|s| s.as_str()).chain(parts.iter().copied()).collect();
    for (i, name) in all.iter().enumerate() {
        if all[..i].contains(name) {
            findings.conflict(
                Decision::KeyScope,
                "key",
                format!("{name:?} stands in it twice"),
                "name it once",
            );
        }
    }
    if let Origin::Query(sql) = origin {
        query_parameters(sql, &key, findings);
    }
    key
}

fn part_names(key: &KeyPlan) -> Vec<&str> {
    let columns = key.columns.iter().map(|c| c.as_str());
    columns.chain(key.parameters.iter().map(|p| p.name.as_str())).collect()
}

fn query_parameters(sql: &str, key: &KeyPlan, findings: &mut Findings) {
    let asked = named_parameters(sql);
    let parts = part_names(key);
    for name in &asked {
        if !parts.contains(name) && !key.scope.iter().any(|s| s == name) {
            findings.conflict(
                Decision::KeyScope,
                "query",
                format!("its parameter :{name} is neither a key part nor a scope dimension"),
                format!("add {name:?} to `key` or `scope`"),
            );
        }
    }
    for part in parts.iter().filter(|part| !asked.contains(part)) {
        findings.conflict(
            Decision::KeyScope,
            "key",
            format!("the query has no parameter :{part}, so one answer would be stored under many keys"),
            format!("use :{part} in the query or leave it out of `key`"),
        );
    }
}

/// A decision class has no tier, hence none of their settings.
fn refuse_tiers(draft: &ClassPlanBuilder, findings: &mut Findings) {
    let stated: [(&'static str, bool); 9] = [
        ("life", draft.life.is_some()),
        ("hard_age", draft.hard_age.is_some()),
        ("max_staleness", draft.max_staleness.is_some()),
        ("negative_life", matches!(draft.negative_life, Some(Some(_)))),
        ("serve_stale", draft.serve_stale.is_some()),
        ("soft_timeout", draft.soft_timeout.is_some()),
        ("l1_life", draft.l1_life.is_some()),
        ("l1_capacity", draft.l1_capacity_bytes.is_some()),
        ("l2", draft.l2),
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
    let plan = Settings {
        name,
        purpose: draft.purpose,
        origin,
        key,
        versioned_by: draft.versioned_by,
        format: draft.format,
        pattern,
        invalidation,
        stampede: Stampede {
            strategy: draft.strategy.unwrap_or_default(),
            loads_max: draft.loads_max.unwrap_or(choices::LOADS_MAX_DEFAULT),
        },
        never_cache: NeverCache { columns: draft.never_columns, allowed: draft.allowed },
        cold_start: draft.cold_start.unwrap_or_default(),
        measurement: Measurement {
            check_share: draft.check_share.unwrap_or(choices::CHECK_SHARE_DEFAULT),
            hit_rate_floor: draft.hit_rate_floor,
        },
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
        l2: draft.l2.then_some(L2Plan { life: lives.l2_life }),
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

/// Lives with their defaults, each default cut so that it never conflicts with what was stated.
struct Lives {
    max_staleness: Duration,
    life: Duration,
    hard_age: Duration,
    negative_life: Option<Duration>,
    l1_life: Duration,
    l2_life: Duration,
}

impl Lives {
    fn resolve(
        draft: &ClassPlanBuilder,
        invalidation: &Invalidation,
        bound: LifeBound,
        findings: &mut Findings,
    ) -> Self {
        let proven = matches!(invalidation, Invalidation::Feed(_));
        let default_life = match bound {
            LifeBound::Default(life) | LifeBound::AtMost(life) => life,
            LifeBound::Free => LIFE_DEFAULT,
        };
        if !proven && draft.life.is_none() && bound == LifeBound::Free {
            findings.undecided(
                Decision::ConsistencyBound,
                "life",
                "nothing but its age ends an entry of this class: write how old it may become, such as `life = \"30s\"`",
            );
        }
        let cap = if let LifeBound::AtMost(cap) = bound { cap } else { Duration::MAX };
        let hard_age_stated = draft.hard_age.unwrap_or(Duration::MAX);
        let life = draft.life.unwrap_or(default_life.min(hard_age_stated));
        let hard_age =
            draft.hard_age.unwrap_or(if proven { HARD_AGE_DEFAULT.max(life).min(cap) } else { life });
        let max_staleness = if proven { MAX_STALENESS_DEFAULT.min(life) } else { life };
        let l1_default = life.min(draft.l2_life.unwrap_or(Duration::MAX));
        let l1_life = draft.l1_life.unwrap_or(l1_default);
        Self {
            max_staleness: draft.max_staleness.unwrap_or(max_staleness),
            life,
            hard_age,
            negative_life: draft.negative_life.unwrap_or(Some(NEGATIVE_LIFE_DEFAULT.min(life))),
            l1_life,
            l2_life: draft.l2_life.unwrap_or(life),
        }
    }
}

fn check(plan: &Settings, bound: LifeBound, findings: &mut Findings) {
    check_pattern(plan, findings);
    check_tags(plan, findings);
    check_never(plan, findings);
    check_lives(plan, findings);
    check_stale(plan, findings);
    check_shares_and_sizes(plan, findings);
    if let LifeBound::AtMost(cap) = bound {
        check_cap(plan, cap, findings);
    }
}

fn check_pattern(plan: &Settings, findings: &mut Findings) {
    let proven = matches!(plan.invalidation, Invalidation::Feed(_));
    let external = plan.origin == Origin::External;
    match &plan.pattern {
        Pattern::WriteBehind { loss } if loss.trim().is_empty() => findings.undecided(
            Decision::Pattern,
            "loss",
            "write-behind acknowledges before the source knows: write what you accept to lose, such as \
             `loss = \"up to one second of view counts\"`, or choose `pattern = \"write-through\"`",
        ),
        Pattern::WriteBehind { .. } if proven => findings.conflict(
            Decision::Pattern,
            "pattern",
            "write-behind values are ahead of the source, so its feed cannot prove them",
            "write `invalidation = { owner = \"...\", reason = \"...\" }`, or choose `pattern = \"write-through\"`",
        ),
        Pattern::CacheAside if proven => findings.conflict(
            Decision::Pattern,
            "pattern",
            "cache-aside values are loaded by the client, so no feed can prove them",
            "write `invalidation = { owner = \"...\", reason = \"...\" }` with a `life`, or choose \
             `pattern = \"read-through\"`",
        ),
        other if external && *other != Pattern::CacheAside => findings.conflict(
            Decision::Pattern,
            "pattern",
            format!("{} needs a source that Trueup can load, and the class has none", other.as_str()),
            "choose `pattern = \"cache-aside\"`, or name a `table` or `query`",
        ),
        _ => {}
    }
}

fn check_tags(plan: &Settings, findings: &mut Findings) {
    let parts = part_names(&plan.key);
    match &plan.invalidation {
        Invalidation::AgeBounded { owner, reason } => {
            for (field, text) in [("owner", owner), ("reason", reason)] {
                // A class without any invalidation has been told so already.
                let told = findings.errors.iter().any(|e| e.field() == Some("invalidation"));
                if text.trim().is_empty() && !told {
                    findings.undecided(
                        Decision::Invalidation,
                        field,
                        "no feed ends these entries: write `invalidation = { owner = \"who answers for it\", \
                         reason = \"why there is no feed\" }`",
                    );
                }
            }
        }
        Invalidation::Feed(Tags::Row) if !matches!(plan.origin, Origin::Table(_)) => findings.conflict(
            Decision::Invalidation,
            "invalidation",
            "only a class that is a `table` depends on one row",
            "write `invalidation = \"any\"`, or name groups such as `invalidation = [\"products:category\"]`",
        ),
        Invalidation::Feed(Tags::Groups(groups)) => {
            if groups.is_empty() {
                findings.undecided(
                    Decision::Invalidation,
                    "invalidation",
                    "an empty list of groups would end no entry: name groups such as `[\"products:category\"]`",
                );
            }
            for group in groups {
                for column in group
                    .columns
                    .iter()
                    .filter(|c| !parts.contains(&c.as_str()) && !plan.key.scope.contains(c))
                {
                    findings.conflict(
                        Decision::Invalidation,
                        "invalidation",
                        format!("group {group} needs the value of {column:?}, which the key does not hold"),
                        format!("add {column:?} to `key`, or write `invalidation = \"any\"`"),
                    );
                }
            }
        }
        Invalidation::Feed(Tags::Row | Tags::Any) => {}
    }
}

fn check_never(plan: &Settings, findings: &mut Findings) {
    let mut suspects: Vec<(&'static str, &str)> =
        part_names(&plan.key).into_iter().map(|p| ("key", p)).collect();
    if let Origin::Table(table) = &plan.origin {
        suspects.push(("table", table.as_str()));
    }
    for (field, name) in suspects {
        if let Some(what) = looks_secret(name).filter(|_| !plan.never_cache.allowed.iter().any(|a| a == name))
        {
            findings.conflict(
                Decision::NeverCache,
                field,
                format!("{name:?} looks like {what}"),
                format!(
                    "write `purpose = \"decision\"`, or `allow_secret_looking = [\"{name}\"]` if it is none"
                ),
            );
        }
    }
    if plan.purpose == Purpose::VersionedText {
        let parts = part_names(&plan.key);
        match &plan.versioned_by {
            Some(part) if parts.contains(&part.as_str()) => {}
            _ => findings.undecided(
                Decision::NeverCache,
                "versioned_by",
                "a binding text is cached only with its version in the key: write `versioned_by = \"version\"` and name \
                 it in `key`, or write `purpose = \"legal-text\"` (never cached)",
            ),
        }
    }
}

fn check_lives(plan: &Settings, findings: &mut Findings) {
    let l1 = plan.l1.life;
    let mut at_most = |field, decision, value: Duration, other: &str, limit: Duration, why: &str| {
        if value > limit {
            findings.conflict(
                decision,
                field,
                format!("{} is longer than {other} = {} ({why})", show_duration(value), show_duration(limit)),
                format!("shorten `{field}` or lengthen `{other}`"),
            );
        }
    };
    use Decision::{ConsistencyBound, Eviction};
    at_most(
        "max_staleness",
        ConsistencyBound,
        plan.max_staleness,
        "life",
        plan.life,
        "an entry would end before it is too old",
    );
    at_most(
        "life",
        ConsistencyBound,
        plan.life,
        "hard_age",
        plan.hard_age,
        "nothing may live past its hard age",
    );
    at_most("l1_life", Eviction, l1, "life", plan.life, "memory holds nothing longer than the class allows");
    if let Some(l2) = plan.l2 {
        at_most("l1_life", Eviction, l1, "l2_life", l2.life, "memory stands in front of the remote tier");
        at_most(
            "l2_life",
            Eviction,
            l2.life,
            "hard_age",
            plan.hard_age,
            "nothing may live past its hard age",
        );
    }
    if let Some(negative) = plan.negative_life {
        at_most(
            "negative_life",
            Eviction,
            negative,
            "life",
            plan.life,
            "\"absent\" is the answer most likely to change",
        );
    }
    for (field, span) in [("life", plan.life), ("hard_timeout", plan.hard_timeout), ("l1_life", l1)] {
        if span.is_zero() {
            findings.conflict(
                Eviction,
                field,
                "it is zero",
                format!("write a span, such as `{field} = \"30s\"`"),
            );
        }
    }
    if plan.max_staleness < MAX_STALENESS_MIN {
        findings.conflict(
            ConsistencyBound,
            "max_staleness",
            format!(
                "{} is below {}: freshness is asked for four times per bound and at most every 10ms",
                show_duration(plan.max_staleness),
                show_duration(MAX_STALENESS_MIN)
            ),
            "raise it, or write `purpose = \"decision\"` if no staleness is allowed",
        );
    }
}

fn check_stale(plan: &Settings, findings: &mut Findings) {
    if let Some(stale) = plan.serve_stale.filter(|stale| *stale <= plan.max_staleness) {
        findings.conflict(
            Decision::ConsistencyBound,
            "serve_stale",
            format!(
                "{} is within max_staleness = {}, where values are fresh anyway",
                show_duration(stale),
                show_duration(plan.max_staleness)
            ),
            "lengthen `serve_stale`, or remove it",
        );
    }
    let Some(soft) = plan.soft_timeout else { return };
    if plan.serve_stale.is_none() {
        findings.conflict(
            Decision::ColdStart,
            "soft_timeout",
            "it hands out a stale value while the load goes on, and the class allows none",
            "write `serve_stale = \"...\"`, or remove `soft_timeout`",
        );
    }
    if soft >= plan.hard_timeout {
        findings.conflict(
            Decision::ColdStart,
            "soft_timeout",
            format!(
                "{} is not below hard_timeout = {}",
                show_duration(soft),
                show_duration(plan.hard_timeout)
            ),
            "shorten `soft_timeout`",
        );
    }
}

fn check_shares_and_sizes(plan: &Settings, findings: &mut Findings) {
    let floor = plan.measurement.hit_rate_floor.unwrap_or(0.0);
    for (decision, field, share) in [
        (Decision::Eviction, "jitter", plan.jitter),
        (Decision::Measurement, "check_share", plan.measurement.check_share),
        (Decision::Measurement, "hit_rate_floor", floor),
    ] {
        if !(0.0..=1.0).contains(&share) {
            findings.conflict(
                decision,
                field,
                "it is not between 0% and 100%",
                "write a share, such as \"10%\"",
            );
        }
    }
    if let Strategy::Early { beta } = plan.stampede.strategy
        && !(beta > 0.0 && beta.is_finite())
    {
        findings.conflict(
            Decision::Stampede,
            "beta",
            "it is not above 0",
            "write 1.0, the published optimum",
        );
    }
    if let Strategy::Background { ahead } = plan.stampede.strategy
        && ahead >= plan.life
    {
        findings.conflict(
            Decision::Stampede,
            "refresh_ahead",
            format!("{} is not below life = {}", show_duration(ahead), show_duration(plan.life)),
            "shorten `refresh_ahead`",
        );
    }
    if plan.value_bytes_max == 0 || plan.value_bytes_max > plan.l1.capacity_bytes {
        findings.conflict(
            Decision::Size,
            "value_bytes_max",
            "no value would fit: it must be above 0 and at most l1_capacity",
            "lower `value_bytes_max` or raise `l1_capacity`",
        );
    }
}

/// No answer of the class may be older than `cap`, whichever setting would allow it.
fn check_cap(plan: &Settings, cap: Duration, findings: &mut Findings) {
    let spans = [
        ("max_staleness", Some(plan.max_staleness)),
        ("life", Some(plan.life)),
        ("hard_age", Some(plan.hard_age)),
        ("l2_life", plan.l2.map(|l2| l2.life)),
        ("serve_stale", plan.serve_stale),
    ];
    for (field, span) in spans {
        if let Some(span) = span.filter(|span| *span > cap) {
            findings.conflict(
                Decision::ConsistencyBound,
                field,
                format!(
                    "{} is above {}, the most that purpose = \"{}\" allows",
                    show_duration(span),
                    show_duration(cap),
                    plan.purpose
                ),
                format!("write \"{}\" or less", show_duration(cap)),
            );
        }
    }
}
