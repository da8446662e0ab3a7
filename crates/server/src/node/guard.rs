//! What stands between the classes and the source, for status and explanations.

use std::collections::BTreeMap;

use serde::Serialize;
use trueup_core::{class::Priority, source::ShedReason};

use super::Node;

/// The source's guard, at one time. Counters count since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardStatus {
    /// Why the source is left alone; none while it is asked.
    pub left_alone: Option<String>,
    /// Loads that may be under way at once, by the source's latency.
    pub loads_limit: u64,
    /// The declared ceiling of it.
    pub loads_max: u64,
    /// The declared ceiling of loads in a second; none without one.
    pub loads_per_second_max: Option<u32>,
    /// Loads under way.
    pub in_flight: u32,
    /// Loads that wait, by priority.
    pub waiting: BTreeMap<&'static str, usize>,
    /// Loads let through, by priority.
    pub admitted: BTreeMap<&'static str, u64>,
    /// Loads refused, by reason.
    pub shed: BTreeMap<&'static str, u64>,
    /// Share, 0 to 1, of the loads for readers that is let through, critical ones aside; below 1 after a start only.
    pub ramp_share: f64,
    /// Classes whose hit rate is below its floor: what is not critical is limited while there are any.
    pub below_floor: Vec<String>,
}

impl Node {
    /// How the source's guard is.
    #[must_use]
    pub fn guard_status(&self) -> GuardStatus {
        let status = self.catalog().cache().source_guard().status();
        let limiter = status.limiter;
        let by = |each: fn(&trueup_core::guard::LimiterStatus, usize) -> u64| {
            Priority::ALL.map(|priority| (priority.as_str(), each(&limiter, priority.index()))).into()
        };
        let shed = ShedReason::ALL.into_iter().enumerate();
        GuardStatus {
            left_alone: status.left_alone,
            loads_limit: limiter.limit as u64,
            loads_max: u64::from(status.limits.loads_max.get()),
            loads_per_second_max: status.limits.loads_per_second_max.map(Into::into),
            in_flight: limiter.in_flight,
            waiting: Priority::ALL
                .map(|priority| (priority.as_str(), limiter.waiting[priority.index()]))
                .into(),
            admitted: by(|limiter, priority| limiter.counts.admitted[priority]),
            shed: shed
                .map(|(at, reason)| (reason.as_str(), limiter.counts.shed.iter().map(|by| by[at]).sum()))
                .collect(),
            ramp_share: limiter.ramp_share,
            below_floor: status.below_floor.iter().map(ToString::to_string).collect(),
        }
    }
}
