//! How far a running server lags behind its source, and what that leaves of the lives of classes that nothing but age ends.
//!
//! Such a class counts the age of an entry from its load. What the load saw may itself be as old as the lag, so an answer is as old as
//! both together.

use std::time::Duration;

use serde::{Serialize, Serializer};
use trueup_core::class::{LifeBound, Settings, units::show_duration};

use super::exposition::Metrics;

const DELAY: &str = "trueup_invalidation_delay_seconds";
const LAG: &str = "trueup_watermark_lag_seconds";
/// Spans from here on are told in whole seconds.
const WHOLE_SECONDS_FROM: Duration = Duration::from_secs(60);
/// Spans from here on are shown in seconds, and not in milliseconds.
const SECONDS_FROM: Duration = Duration::from_secs(10);

/// What a server has measured since its start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Lag {
    /// Time since it last knew how far the source was; none before the first time.
    #[serde(rename = "now_ms", serialize_with = "in_ms_if_any")]
    pub(super) now: Option<Duration>,
    /// Transactions whose way from the source was measured.
    pub(super) changes: u64,
    /// Half of them took no longer.
    pub(super) p50: Option<Delay>,
    /// 99 of 100 took no longer.
    pub(super) p99: Option<Delay>,
    /// The longest.
    pub(super) max: Option<Delay>,
}

/// A span as a histogram knows it: one of its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Delay {
    /// It was longer than this,
    #[serde(rename = "above_ms", serialize_with = "in_ms")]
    pub(super) above: Duration,
    /// and no longer than this; none beyond the last bucket.
    #[serde(rename = "at_most_ms", serialize_with = "in_ms_if_any")]
    pub(super) at_most: Option<Duration>,
}

/// A span in milliseconds.
pub(super) fn in_ms<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(span.as_secs_f64() * 1_000.0)
}

/// The same of a span that may be unknown.
pub(super) fn in_ms_if_any<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => in_ms(span, to),
        None => to.serialize_none(),
    }
}

impl Lag {
    /// Out of a server's metrics.
    pub(super) fn of(metrics: &Metrics) -> Self {
        let buckets = metrics.buckets(DELAY, &[("stage", "applied")]);
        let now = metrics.value(LAG, &[]).and_then(|lag_s| Duration::try_from_secs_f64(lag_s).ok());
        Self {
            now,
            changes: buckets.last().map_or(0, |(_, count)| *count),
            p50: quantile(&buckets, 0.50),
            p99: quantile(&buckets, 0.99),
            max: quantile(&buckets, 1.0),
        }
    }

    /// The longest that anything lagged, rounded up to the end of its bucket; none if that is not known.
    pub(super) fn longest(&self) -> Option<Duration> {
        match self.max {
            Some(max) => Some(max.at_most?.max(self.now?)),
            None => self.now,
        }
    }
}

/// The bucket in which `share` of the values end.
fn quantile(buckets: &[(f64, u64)], share: f64) -> Option<Delay> {
    let all = buckets.last().map_or(0, |(_, count)| *count);
    if all == 0 {
        return None;
    }
    let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all);
    let at = buckets.iter().position(|(_, count)| *count >= wanted)?;
    let span = |bound_s: f64| Duration::try_from_secs_f64(bound_s).ok();
    let above = at.checked_sub(1).and_then(|before| span(buckets[before].0)).unwrap_or_default();
    Some(Delay { above, at_most: span(buckets[at].0) })
}

/// What the lag leaves of the life of a class that nothing but age ends.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Left {
    /// How old an entry may become, counted from its load: what ends first of `life` and `max_staleness`.
    #[serde(rename = "life_ms", serialize_with = "in_ms")]
    pub(super) life: Duration,
    /// Share by which lives are shortened at random.
    pub(super) jitter: f64,
    /// How old an answer may be; none where nothing but its life says so.
    #[serde(rename = "bound_ms", serialize_with = "in_ms_if_any")]
    pub(super) bound: Option<Duration>,
    /// How old an answer may be as things are; none where the lag is unknown.
    #[serde(rename = "oldest_ms", serialize_with = "in_ms_if_any")]
    pub(super) oldest: Option<Duration>,
    /// The longest life that keeps the bound.
    #[serde(rename = "derived_ms", serialize_with = "in_ms_if_any")]
    pub(super) derived: Option<Duration>,
    /// The shortest that jitter makes of it.
    #[serde(rename = "derived_shortest_ms", serialize_with = "in_ms_if_any")]
    pub(super) shortest: Option<Duration>,
    /// Lines for the class in the plan; none where it is well as it is.
    pub(super) plan: Vec<String>,
    /// Why the bound is not kept.
    pub(super) problem: Option<String>,
}

/// The bound that the purpose of a class sets, whatever its plan says.
pub(super) fn bound_of_purpose(plan: &Settings) -> Option<Duration> {
    match plan.purpose.life_bound() {
        LifeBound::AtMost(bound) => Some(bound),
        LifeBound::Default(_) | LifeBound::Free => None,
    }
}

/// Holds the life of an age-bounded class against `bound`, by what the server has measured.
pub(super) fn left(plan: &Settings, bound: Option<Duration>, lag: &Lag) -> Left {
    let life = plan.life.min(plan.max_staleness);
    let mut left = Left {
        life,
        jitter: plan.jitter,
        bound,
        oldest: None,
        derived: None,
        shortest: None,
        plan: Vec::new(),
        problem: None,
    };
    let Some(longest) = lag.longest() else {
        left.problem = bound.map(|bound| match lag.max {
            Some(max) if max.at_most.is_none() => format!(
                "a change took more than {} to arrive: nothing keeps a bound of {}; look at the feed, and restart the server to measure anew",
                show_duration(max.above),
                show_duration(bound)
            ),
            _ => format!(
                "the server does not know how far the source is: nothing keeps a bound of {}; look at its /readyz",
                show_duration(bound)
            ),
        });
        return left;
    };
    let oldest = life + longest;
    left.oldest = Some(oldest);
    let Some(bound) = bound else { return left };
    let Some(derived) = bound.checked_sub(longest).map(rounded_down).filter(|life| !life.is_zero()) else {
        left.problem = Some(format!(
            "the server lags by up to {}, which leaves nothing of a bound of {}: read the source (purpose = \"decision\"), or \
             shorten the lag",
            show_duration(longest),
            show_duration(bound)
        ));
        return left;
    };
    left.derived = Some(derived);
    // Jitter takes off a life and never adds to it, so the bound needs no more room for it.
    left.shortest = Some(derived.mul_f64(1.0 - plan.jitter.clamp(0.0, 1.0)));
    if oldest > bound {
        let span = show_duration(derived);
        left.plan.push(format!("life = \"{span}\""));
        if plan.max_staleness > derived && plan.max_staleness != plan.life {
            left.plan.push(format!("max_staleness = \"{span}\""));
        }
        if plan.l1.life > derived && plan.l1.life != plan.life {
            left.plan.push(format!("l1_life = \"{span}\""));
        }
        left.problem = Some(format!(
            "an answer may be {} old (life {}, and up to {} that the server lags), beyond its bound of {}; write {}",
            spoken(oldest),
            spoken(life),
            spoken(longest),
            spoken(bound),
            left.plan.join(" and ")
        ));
    }
    left
}

/// A span for people, to the millisecond: in seconds where it is long and not whole.
pub(super) fn spoken(span: Duration) -> String {
    let span = Duration::from_millis(span.as_millis() as u64);
    if span >= SECONDS_FROM && span.subsec_millis() > 0 {
        format!("{}s", span.as_secs_f64())
    } else {
        show_duration(span)
    }
}

/// A span that a person would write: whole seconds from a minute on, else milliseconds.
fn rounded_down(span: Duration) -> Duration {
    if span >= WHOLE_SECONDS_FROM {
        Duration::from_secs(span.as_secs())
    } else {
        Duration::from_millis(span.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trueup_core::class::{ClassPlan, ClassPlanBuilder, Purpose};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn lag(now: Option<Duration>, longest: Option<Delay>) -> Lag {
        Lag { now, changes: u64::from(longest.is_some()), p50: longest, p99: longest, max: longest }
    }

    fn delay(at_most_ms: u64) -> Option<Delay> {
        Some(Delay { above: Duration::ZERO, at_most: Some(ms(at_most_ms)) })
    }

    fn class(purpose: Purpose, change: impl FnOnce(ClassPlanBuilder) -> ClassPlanBuilder) -> ClassPlan {
        let class = ClassPlan::of(purpose, "fees").table("fee").key(["id"]);
        change(class.age_bounded("ann", "no feed")).build().unwrap()
    }

    #[test]
    fn a_histogram_knows_a_span_by_its_bucket() {
        let metrics = Metrics::parse(
            "trueup_invalidation_delay_seconds_bucket{stage=\"feed\",le=\"0.001\"} 9\n\
             trueup_invalidation_delay_seconds_bucket{stage=\"applied\",le=\"0.001\"} 90\n\
             trueup_invalidation_delay_seconds_bucket{stage=\"applied\",le=\"0.02\"} 99\n\
             trueup_invalidation_delay_seconds_bucket{stage=\"applied\",le=\"0.5\"} 100\n\
             trueup_invalidation_delay_seconds_bucket{stage=\"applied\",le=\"+Inf\"} 100\n\
             trueup_watermark_lag_seconds 0.004\n",
        );
        let lag = Lag::of(&metrics);
        assert_eq!((lag.now, lag.changes), (Some(ms(4)), 100));
        assert_eq!(lag.p50, Some(Delay { above: ms(0), at_most: Some(ms(1)) }));
        assert_eq!(lag.p99, Some(Delay { above: ms(1), at_most: Some(ms(20)) }));
        assert_eq!(lag.max, Some(Delay { above: ms(20), at_most: Some(ms(500)) }));
        assert_eq!(lag.longest(), Some(ms(500)));
        let silent = Lag::of(&Metrics::parse("trueup_watermark_lag_seconds NaN\n"));
        assert_eq!((silent.now, silent.max, silent.longest()), (None, None, None));
        let beyond = "trueup_invalidation_delay_seconds_bucket{stage=\"applied\",le=\"30\"} 1\n\
             trueup_invalidation_delay_seconds_bucket{stage=\"applied\",le=\"+Inf\"} 2\n\
             trueup_watermark_lag_seconds 0.004\n";
        assert_eq!(Lag::of(&Metrics::parse(beyond)).longest(), None, "longer than any bucket tells");
    }

    #[test]
    fn the_lag_is_taken_off_the_bound() {
        let plan = class(Purpose::Display, |class| class.life(ms(10_000)));
        let plan = plan.cacheable().unwrap();
        let measured = lag(Some(ms(5)), delay(250));
        let broken = left(plan, Some(ms(10_000)), &measured);
        assert_eq!((broken.oldest, broken.derived), (Some(ms(10_250)), Some(ms(9_750))));
        assert_eq!(broken.shortest, Some(ms(8_775)), "a tenth is taken off at random");
        assert_eq!(broken.plan, ["life = \"9750ms\""]);
        assert!(broken.problem.unwrap().contains("an answer may be 10.25s old"));
        let kept = left(plan, Some(ms(10_250)), &measured);
        assert_eq!((kept.problem, kept.plan.len()), (None, 0), "exactly the bound is kept");
        let without = left(plan, None, &measured);
        assert_eq!((without.oldest, without.derived, without.problem), (Some(ms(10_250)), None, None));
    }

    #[test]
    fn what_the_plan_states_besides_life_is_changed_with_it() {
        let plan = class(Purpose::Display, |class| {
            class.life(ms(60_000)).max_staleness(ms(20_000)).l1_life(ms(30_000))
        });
        let left = left(plan.cacheable().unwrap(), Some(ms(20_000)), &lag(Some(ms(100)), None));
        assert_eq!(left.life, ms(20_000), "nothing older is answered");
        let lines = ["life = \"19900ms\"", "max_staleness = \"19900ms\"", "l1_life = \"19900ms\""];
        assert_eq!(left.plan, lines);
    }

    #[test]
    fn a_lag_that_is_unknown_or_too_long_keeps_no_bound() {
        let plan = class(Purpose::DisplayBalance, |class| class);
        let plan = plan.cacheable().unwrap();
        let bound = bound_of_purpose(plan);
        assert_eq!(bound, Some(ms(10_000)));
        let beyond = Delay { above: ms(30_000), at_most: None };
        for (lag, words) in [
            (lag(None, None), "does not know how far the source is"),
            (lag(Some(ms(1)), Some(beyond)), "took more than 30s"),
            (lag(Some(ms(1)), delay(30_000)), "leaves nothing of a bound of 10s"),
        ] {
            let problem = left(plan, bound, &lag).problem.unwrap();
            assert!(problem.contains(words), "{problem}");
            assert_eq!(left(plan, None, &lag).problem, None);
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_older_than_the_bound_under_the_derived_life(
            life_ms in 1_000..200_000_u64, bound_ms in 1..200_000_u64, now_ms in 0..50_000_u64, most_ms in 0..50_000_u64,
        ) {
            let measured = lag(Some(ms(now_ms)), delay(most_ms));
            let plan = class(Purpose::Display, |class| class.life(ms(life_ms)));
            let first = left(plan.cacheable().unwrap(), Some(ms(bound_ms)), &measured);
            let Some(derived) = first.derived else {
                prop_assert!(now_ms.max(most_ms) >= bound_ms && first.problem.is_some());
                return Ok(());
            };
            prop_assert!(derived + measured.longest().unwrap() <= ms(bound_ms));
            prop_assert_eq!(first.problem.is_some(), life_ms + now_ms.max(most_ms) > bound_ms);
            prop_assume!(derived >= ms(40));
            let plan = class(Purpose::Display, |class| class.life(derived).hard_timeout(ms(10)));
            prop_assert_eq!(left(plan.cacheable().unwrap(), Some(ms(bound_ms)), &measured).problem, None);
        }
    }
}
