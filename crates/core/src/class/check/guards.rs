//! Priority, fallback, hit-rate window, weight.

use std::time::Duration;

use super::Findings;
use crate::class::{
    ClassPlanBuilder, Decision, FALLBACK_AGE_MAX_DEFAULT, FALLBACK_CAPACITY_BYTES_DEFAULT, Fallback, Guards,
    HIT_RATE_WINDOW_DEFAULT, LifeBound, Settings, units::show_duration,
};

/// Shortest window over which a hit rate says something.
const HIT_RATE_WINDOW_MIN: Duration = Duration::from_secs(1);

/// The guards with their defaults, which never go beyond what the purpose allows.
pub(super) fn resolve(draft: &ClassPlanBuilder, bound: LifeBound, max_staleness: Duration) -> Guards {
    let cap = if let LifeBound::AtMost(cap) = bound { cap } else { Duration::MAX };
    let age_max = FALLBACK_AGE_MAX_DEFAULT.max(max_staleness.saturating_mul(2)).min(cap);
    Guards {
        priority: draft.priority.unwrap_or_default(),
        fallback: draft.fallback.clone().unwrap_or_default(),
        fallback_age_max: draft.fallback_age_max.unwrap_or(age_max),
        fallback_capacity_bytes: draft.fallback_capacity_bytes.unwrap_or(FALLBACK_CAPACITY_BYTES_DEFAULT),
        hit_rate_window: draft.hit_rate_window.unwrap_or(HIT_RATE_WINDOW_DEFAULT),
        memory_weight: draft.memory_weight.unwrap_or(1.0),
    }
}

pub(super) fn check(plan: &Settings, findings: &mut Findings) {
    let guards = &plan.guards;
    if let Fallback::Value(json) = &guards.fallback
        && serde_json::from_str::<serde::de::IgnoredAny>(json).is_err()
    {
        findings.conflict(
            Decision::ColdStart,
            "fallback",
            "the declared value is no JSON",
            "write it as a row would be served, such as `fallback = { value = { items = [] } }`",
        );
    }
    if guards.fallback == Fallback::LastKnownGood {
        if guards.fallback_age_max <= plan.max_staleness {
            findings.conflict(
                Decision::ColdStart,
                "fallback_age_max",
                format!(
                    "{} is within max_staleness = {}, where values are fresh anyway",
                    show_duration(guards.fallback_age_max),
                    show_duration(plan.max_staleness)
                ),
                "lengthen `fallback_age_max`, or remove `fallback`",
            );
        }
        if guards.fallback_capacity_bytes < plan.value_bytes_max.min(FALLBACK_CAPACITY_BYTES_DEFAULT) {
            findings.conflict(
                Decision::Size,
                "fallback_capacity",
                "the largest value would not fit",
                "raise `fallback_capacity` or lower `value_bytes_max`",
            );
        }
    }
    if guards.hit_rate_window < HIT_RATE_WINDOW_MIN {
        findings.conflict(
            Decision::Measurement,
            "hit_rate_window",
            format!("{} is too short for a rate", show_duration(guards.hit_rate_window)),
            format!("write \"{}\" or more", show_duration(HIT_RATE_WINDOW_MIN)),
        );
    }
    if !(guards.memory_weight > 0.0 && guards.memory_weight.is_finite()) {
        findings.conflict(
            Decision::Size,
            "memory_weight",
            "it is not above 0",
            "write how much of the shared memory the class gets beside the others, such as 2.0",
        );
    }
}
