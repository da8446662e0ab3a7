//! How the node is: what `/v1/status` tells, in JSON, and what the dashboard draws.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use serde::Serialize;
use trueup::catalog::{CatalogClass, SourceOfAnswers};
use trueup_core::{apply::FeedStats, receipt::ServedBy};

use super::{FilterFacts, GuardStatus, Node, RemoteStatus};
use crate::warm::WarmStatus;

/// How the node is, at one time. Counters count since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// The database of record; no secrets.
    pub source: String,
    /// Whether answers can be proven at the moment.
    pub ready: bool,
    /// Why not.
    pub problem: Option<String>,
    /// The feed.
    pub feed: FeedStatus,
    /// What stands between the classes and the source.
    pub guard: GuardStatus,
    /// What was read before anybody asked for it, at the start.
    pub warm: WarmStatus,
    /// All classes together.
    pub totals: Totals,
    /// Each class.
    pub classes: Vec<ClassStatus>,
    /// The remote tier, if there is one.
    pub remote: Option<RemoteStatus>,
    /// RESP connections open now.
    pub resp_connections: u64,
    /// RESP commands taken up.
    pub resp_commands: u64,
}

/// How the feed is.
#[derive(Clone, Debug, Serialize)]
pub struct FeedStatus {
    /// The epoch, in hex; none while the node is in none.
    pub epoch: Option<String>,
    /// How the change log is followed: name and value.
    pub following: BTreeMap<&'static str, String>,
    /// What must end before anything can be kept.
    pub waiting_for: Option<String>,
    /// How many epochs this process has seen.
    pub epochs: u64,
    /// The position through which the feed has been applied.
    pub position: u64,
    /// The highest position that the source has told.
    pub told: u64,
    /// Milliseconds since the node last knew how far the source was: no proven answer can be fresher.
    pub lag_ms: Option<f64>,
    /// Seconds, since the start, in which the node could not prove its answers.
    pub unproven_s: f64,
    /// Tags raised by the changes applied; a row change raises several.
    pub changes: u64,
    /// Transactions applied.
    pub transactions: u64,
    /// Messages that did not continue where the feed was.
    pub gaps: u64,
    /// Times that following failed and was begun again.
    pub failures: u64,
    /// Milliseconds from commit to application here, below which half of the changes lie; none before the first, and
    /// beyond the last bound.
    pub delay_p50_ms: Option<f64>,
    /// The same for 99 of 100 changes.
    pub delay_p99_ms: Option<f64>,
}

/// What was counted, for one class or for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Answers.
    pub reads: u64,
    /// Answers by where they came from.
    pub served: BTreeMap<&'static str, u64>,
    /// Share of answers, 0 to 1, that did not ask the source; none before the first.
    pub hit_rate: Option<f64>,
    /// Reads that memory could not answer, by reason.
    pub misses: BTreeMap<&'static str, u64>,
    /// Times the source was asked.
    pub loads: u64,
    /// Loads under way.
    pub loads_in_flight: u64,
    /// Reads that waited for another read's load.
    pub coalesced: u64,
    /// Reads that were refused without asking the source.
    pub shed: u64,
    /// Reads that ended in an error.
    pub failures: u64,
    /// Entries in memory.
    pub entries: u64,
    /// Their weight, in bytes.
    pub bytes: u64,
    /// The most they may weigh, in bytes.
    pub capacity_bytes: u64,
    /// Verdicts of the online checker.
    pub checks: BTreeMap<&'static str, u64>,
}

/// How one class is.
#[derive(Clone, Debug, Serialize)]
pub struct ClassStatus {
    /// Its name.
    pub name: String,
    /// What its values are for.
    pub purpose: String,
    /// Whether it is cached at all.
    pub cached: bool,
    /// The filter of the keys there are; none where the class has none.
    pub filter: Option<FilterFacts>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Totals,
}

impl Node {
    /// How the node is.
    #[must_use]
    pub fn status(&self) -> Status {
        let not_ready = self.not_ready();
        let classes: Vec<ClassStatus> = self.catalog().classes().map(|class| class_status(class)).collect();
        let mut totals = Totals::default();
        classes.iter().for_each(|class| totals.add(&class.counts));
        let resp = self.resp_counters();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.clock().now().since(self.inner.started).as_secs_f64(),
            source: self.catalog().cache().source(),
            ready: not_ready.is_none(),
            problem: not_ready,
            feed: self.feed_status(),
            guard: self.guard_status(),
            warm: self.warm_state().status(),
            totals,
            classes,
            remote: self.remote_status(),
            resp_connections: resp.connections_open.load(Ordering::Relaxed),
            resp_commands: resp.commands.load(Ordering::Relaxed),
        }
    }

    fn feed_status(&self) -> FeedStatus {
        let cache = self.catalog().cache();
        let (status, stats) = (cache.status(), cache.feed_stats());
        FeedStatus {
            epoch: cache.feed().epoch().map(|epoch| epoch.to_string()),
            following: cache.following().into_iter().collect(),
            waiting_for: cache.waiting_for(),
            epochs: status.epoch,
            position: status.applied.0,
            told: status.told.0,
            lag_ms: cache.lag().map(|lag| lag.as_secs_f64() * 1_000.0),
            unproven_s: cache.unproven_time().as_secs_f64(),
            changes: stats.changes.load(Ordering::Relaxed),
            transactions: stats.transactions.load(Ordering::Relaxed),
            gaps: stats.gaps.load(Ordering::Relaxed),
            failures: stats.failures.load(Ordering::Relaxed),
            delay_p50_ms: delay_ms(stats, 0.50),
            delay_p99_ms: delay_ms(stats, 0.99),
        }
    }
}

/// The bound, in milliseconds, below which `share` of the feed's delays lie.
fn delay_ms(stats: &FeedStats, share: f64) -> Option<f64> {
    stats.applied.quantile_us(share).map(|bound_us| bound_us as f64 / 1_000.0)
}

fn class_status(class: &CatalogClass) -> ClassStatus {
    let counts = match class.source_of_answers() {
        SourceOfAnswers::Cached(cached) => cached_totals(cached),
        SourceOfAnswers::Uncached(uncached) => {
            let counts = uncached.counts();
            let served = BTreeMap::from([(ServedBy::Source.as_str(), counts.reads)]);
            Totals {
                reads: counts.reads,
                served,
                loads: counts.reads,
                loads_in_flight: counts.in_flight,
                shed: counts.shed,
                failures: counts.failures,
                ..Totals::default()
            }
        }
    };
    ClassStatus {
        name: class.name().to_string(),
        purpose: class.plan().purpose().to_string(),
        cached: class.cached().is_some(),
        filter: FilterFacts::of(class),
        counts,
    }
}

fn cached_totals(class: &trueup_core::read::Class<trueup_core::key::Key, trueup_core::entry::Raw>) -> Totals {
    let (counts, memory) = (class.stats().counts(), class.memory());
    Totals {
        reads: counts.reads_total(),
        hit_rate: counts.hit_rate(),
        served: counts.served.iter().map(|(by, count)| (by.as_str(), *count)).collect(),
        misses: counts.misses.into_iter().collect(),
        loads: counts.loads.iter().map(|(_, loads)| loads.count()).sum(),
        loads_in_flight: counts.in_flight,
        coalesced: counts.coalesced,
        shed: counts.shed,
        failures: counts.failures,
        entries: memory.len() as u64,
        bytes: memory.weight() as u64,
        capacity_bytes: memory.capacity() as u64,
        checks: counts.checks.iter().map(|(verdict, count)| (verdict.as_str(), *count)).collect(),
    }
}

impl Totals {
    fn add(&mut self, class: &Self) {
        let add_all = |into: &mut BTreeMap<&'static str, u64>, from: &BTreeMap<&'static str, u64>| {
            from.iter().for_each(|(name, count)| *into.entry(name).or_default() += count);
        };
        add_all(&mut self.served, &class.served);
        add_all(&mut self.misses, &class.misses);
        add_all(&mut self.checks, &class.checks);
        self.reads += class.reads;
        self.loads += class.loads;
        self.loads_in_flight += class.loads_in_flight;
        self.coalesced += class.coalesced;
        self.shed += class.shed;
        self.failures += class.failures;
        self.entries += class.entries;
        self.bytes += class.bytes;
        self.capacity_bytes += class.capacity_bytes;
        let cached: u64 = [ServedBy::L1, ServedBy::L2, ServedBy::Filter]
            .iter()
            .filter_map(|by| self.served.get(by.as_str()))
            .sum();
        self.hit_rate = (self.reads > 0).then(|| cached as f64 / self.reads as f64);
    }
}
