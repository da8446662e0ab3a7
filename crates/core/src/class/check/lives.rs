//! Lives, with their defaults, and how they fit together.

use std::time::Duration;

use super::{
    Findings, HARD_AGE_DEFAULT, LIFE_DEFAULT, MAX_STALENESS_DEFAULT, MAX_STALENESS_MIN, NEGATIVE_LIFE_DEFAULT,
};
use crate::class::{
    ClassPlanBuilder, Decision, Invalidation, LifeBound, Settings, Strategy, units::show_duration,
};

/// Lives with their defaults, each default cut so that it never conflicts with what was stated.
pub(super) struct Lives {
    pub(super) max_staleness: Duration,
    pub(super) life: Duration,
    pub(super) hard_age: Duration,
    pub(super) negative_life: Option<Duration>,
    pub(super) l1_life: Duration,
    pub(super) l2_life: Duration,
}

impl Lives {
    pub(super) fn resolve(
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

pub(super) fn check_lives(plan: &Settings, findings: &mut Findings) {
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

pub(super) fn check_stale(plan: &Settings, findings: &mut Findings) {
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

pub(super) fn check_shares_and_sizes(plan: &Settings, findings: &mut Findings) {
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
pub(super) fn check_cap(plan: &Settings, cap: Duration, findings: &mut Findings) {
    let spans = [
        ("max_staleness", Some(plan.max_staleness)),
        ("life", Some(plan.life)),
        ("hard_age", Some(plan.hard_age)),
        ("l2_life", plan.l2.map(|l2| l2.life)),
        ("serve_stale", plan.serve_stale),
        ("fallback_age_max", Some(plan.guards.fallback_age_max)),
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
