//! What a running server says about the ten decisions: evidence that is counted, not written.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use trueup_core::class::{
    ClassPlan, Decision, Settings,
    units::{show_bytes, show_duration, show_share},
};

use super::{Failure, client::Server, hit_rates::HitRates};

/// Share of a remote server's memory above which there is a finding.
const REMOTE_SHARE_MAX: f64 = 0.60;
/// How many times its bound a class's lag must be to be a gap.
const LAG_FACTOR: f64 = 3.0;
/// Milliseconds in a second.
const MS_PER_S: f64 = 1_000.0;

/// The part of `/v1/status` that is evidence.
#[derive(Debug, Deserialize)]
pub(super) struct Running {
    ready: bool,
    problem: Option<String>,
    uptime_s: f64,
    feed: Feed,
    guard: Guard,
    classes: Vec<Class>,
    remote: Option<Remote>,
    #[serde(skip)]
    address: String,
}

#[derive(Debug, Deserialize)]
struct Feed {
    lag_ms: Option<f64>,
    changes: u64,
    gaps: u64,
    failures: u64,
    delay_p99_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Guard {
    left_alone: Option<String>,
    loads_limit: u64,
    loads_max: u64,
    in_flight: u64,
    below_floor: Vec<String>,
    shed: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Class {
    name: String,
    reads: u64,
    hit_rate: Option<f64>,
    served: BTreeMap<String, u64>,
    misses: BTreeMap<String, u64>,
    loads: u64,
    coalesced: u64,
    shed: u64,
    failures: u64,
    entries: u64,
    bytes: u64,
    capacity_bytes: u64,
    checks: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Remote {
    servers: Vec<RemoteServer>,
}

#[derive(Debug, Deserialize)]
struct RemoteServer {
    endpoint: String,
    left_alone: Option<String>,
    used_share: Option<f64>,
}

/// A gap between what is decided and what runs: subject and problem.
pub(super) type Gap = (String, String);

impl Running {
    /// Asks a running server.
    pub(super) fn ask(server: &Server<'_>) -> Result<Self, Failure> {
        let running: Self = server.get_json("/v1/status")?;
        Ok(Self { address: server.address.to_owned(), ..running })
    }

    /// What it has counted, for the floors of hit rates.
    pub(super) fn hit_rates(&self) -> HitRates {
        HitRates::of(self.classes.iter().map(|class| (class.name.clone(), class.reads, class.hit_rate)))
    }

    /// What is wrong with the server as a whole.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = |subject: String, problem: String| gaps.push((subject, problem));
        let server = || format!("server {}", self.address);
        if !self.ready {
            let why = self.problem.as_deref().unwrap_or("no reason told");
            gap(server(), format!("it proves nothing: {why}; nothing ends an entry by change until it does"));
        }
        if let Some(why) = &self.guard.left_alone {
            gap(server(), format!("the source is left alone: {why}; look at the database"));
        }
        if !self.guard.below_floor.is_empty() {
            let classes = self.guard.below_floor.join(", ");
            gap(
                server(),
                format!(
                    "the hit rate of {classes} is below its floor now, and loads that are not critical are limited"
                ),
            );
        }
        for server in self.remote.iter().flat_map(|remote| &remote.servers) {
            let subject = format!("remote tier {}", server.endpoint);
            if let Some(why) = &server.left_alone {
                gap(subject.clone(), format!("the running server leaves it alone: {why}"));
            }
            if let Some(share) = server.used_share.filter(|share| *share > REMOTE_SHARE_MAX) {
                gap(subject, format!("{:.0} % of its memory is used, above 60 %", share * 100.0));
            }
        }
        gaps
    }

    /// What is wrong with one class as it runs.
    pub(super) fn gaps_of(&self, plan: &ClassPlan) -> Vec<Gap> {
        let subject = format!("class {}", plan.name());
        let Some(class) = self.class(plan.name()) else {
            let problem =
                format!("the server at {} does not serve it; restart it with this plan", self.address);
            return vec![(subject, problem)];
        };
        let mut gaps = Vec::new();
        let mut gap = |problem: String| gaps.push((subject.clone(), problem));
        let wrong = class.checks.get("stale").copied().unwrap_or(0);
        if wrong > 0 {
            gap(format!(
                "{wrong} proven answers differed from the source and no change explains it: the promise is broken; keep the logs and report it"
            ));
        }
        if let Ok(plan) = plan.cacheable() {
            // A moment's pause of a busy machine is no gap.
            let bound_ms = plan.max_staleness.as_secs_f64() * MS_PER_S * LAG_FACTOR;
            if let Some(lag) = self.feed.lag_ms.filter(|lag| plan.is_provable() && *lag > bound_ms) {
                gap(format!(
                    "the server last knew the source {lag:.0} ms ago, beyond max_staleness = {}: every read asks the source",
                    show_duration(plan.max_staleness)
                ));
            }
        }
        gaps
    }

    /// What the server has counted for a decision; none where counting says nothing about it.
    pub(super) fn evidence(&self, plan: &ClassPlan, decision: Decision) -> Option<String> {
        let class = self.class(plan.name())?;
        let cached = plan.cacheable().ok().map(|plan| -> &Settings { plan });
        match (decision, cached) {
            (Decision::Pattern, _) => Some(format!(
                "{} reads, {} loads, {} failed in {} s",
                class.reads, class.loads, class.failures, self.uptime_s as u64
            )),
            (Decision::Invalidation, Some(plan)) => Some(self.of_invalidation(class, plan)),
            (Decision::Stampede, _) => Some(format!(
                "{} reads waited for another's load; {} shed; {} loads under way, {} allowed now of {}",
                class.coalesced,
                class.shed,
                self.guard.in_flight,
                self.guard.loads_limit,
                self.guard.loads_max
            )),
            (Decision::Eviction, Some(_)) => Some(format!(
                "{} misses because of it, {} at the end of a life",
                of(&class.misses, "evicted"),
                of(&class.misses, "expired")
            )),
            (Decision::ColdStart, Some(_)) => Some(format!(
                "{} cold misses; {} stale answers, {} fallbacks; {} loads refused by all classes",
                of(&class.misses, "cold"),
                of(&class.served, "stale"),
                of(&class.served, "fallback"),
                self.guard.shed.values().sum::<u64>()
            )),
            (Decision::ConsistencyBound, Some(_)) => Some(self.feed.lag_ms.map_or_else(
                || "the source was never known".to_owned(),
                |lag| format!("the source was known {lag:.0} ms ago"),
            )),
            (Decision::Measurement, Some(plan)) if plan.measurement.hit_rate_floor.is_none() => {
                let rate = class.hit_rate.map_or_else(
                    || "no reads yet".to_owned(),
                    |rate| format!("hit rate {:.1}%", rate * 100.0),
                );
                Some(format!(
                    "{rate}; {} answers compared with the source",
                    class.checks.values().sum::<u64>()
                ))
            }
            (Decision::Size, Some(_)) => {
                let share = class.bytes as f64 / (class.capacity_bytes as f64).max(1.0);
                let bytes = show_bytes((class.bytes >> 10 << 10) as usize);
                let share = show_share((share * 1_000.0).round() / 1_000.0);
                Some(format!("{} entries, {bytes}, {share} of it", class.entries))
            }
            _ => None,
        }
    }

    /// Who ends entries, what triggers it, and how a silent failure would show.
    fn of_invalidation(&self, class: &Class, plan: &Settings) -> String {
        let checked: u64 = class.checks.values().sum();
        let silent = format!(
            "if it fails silently: nothing is proven after {}, and {checked} answers were compared with the source ({} wrong)",
            show_duration(plan.max_staleness),
            of(&class.checks, "stale")
        );
        let delay =
            self.feed.delay_p99_ms.map_or_else(String::new, |p99| format!(", p99 within {p99:.0} ms"));
        let Feed { changes, gaps, failures, .. } = &self.feed;
        format!("{changes} changes applied{delay}; {gaps} gaps, {failures} interruptions; {silent}")
    }

    fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// How long it has been running.
    pub(super) fn summary(&self) -> String {
        format!("running for {}", show_duration(Duration::from_secs(self.uptime_s as u64)))
    }
}

fn of(counts: &BTreeMap<String, u64>, name: &str) -> u64 {
    counts.get(name).copied().unwrap_or(0)
}
