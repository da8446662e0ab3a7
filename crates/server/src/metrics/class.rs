//! Metrics of classes.

use std::fmt;

use trueup::catalog::{SourceOfAnswers, UncachedCounts};
use trueup_core::{
    class::Settings,
    read::ExpirySpread,
    receipt::ServedBy,
    stats::{ClassCounts, WARMED},
    tier::memory::Departures,
};

use super::{absent, writer::Writer};
use crate::node::Node;

/// Units in a second, as reads are timed.
const READ_UNITS_PER_S: f64 = 1e9;
/// Units in a second, as loads are timed.
const LOAD_UNITS_PER_S: f64 = 1e6;
/// Units in a second, as ages at eviction are counted.
const EVICTION_UNITS_PER_S: f64 = 1e3;
/// The tier in this process's memory, as a label.
const L1: &str = "l1";

struct Cached {
    counts: ClassCounts,
    entries: u64,
    bytes: u64,
    capacity: u64,
    departures: Departures,
    fallback_bytes: u64,
    below_floor: Option<bool>,
    spread: ExpirySpread,
}

/// One scrape's copy of all counters.
struct Copy<'a> {
    cached: Vec<(&'a str, Cached)>,
    uncached: Vec<(&'a str, UncachedCounts)>,
}

impl<'a> Copy<'a> {
    fn of(node: &'a Node) -> Self {
        let mut copy = Self { cached: Vec::new(), uncached: Vec::new() };
        for class in node.catalog().classes() {
            let name = class.name().as_str();
            match class.source_of_answers() {
                SourceOfAnswers::Uncached(uncached) => copy.uncached.push((name, uncached.counts())),
                SourceOfAnswers::Cached(class) => {
                    let memory = class.memory();
                    let cached = Cached {
                        counts: class.stats().counts(),
                        entries: memory.len() as u64,
                        bytes: memory.weight() as u64,
                        capacity: memory.capacity() as u64,
                        departures: memory.departures(),
                        fallback_bytes: class.fallback_bytes() as u64,
                        below_floor: has_floor(class.plan()).then(|| class.hit_rate_is_low()),
                        spread: class.expiry_spread(),
                    };
                    copy.cached.push((name, cached));
                }
            }
        }
        copy
    }

    /// One row per class.
    fn each<T>(
        &self,
        value: impl Fn(&Cached) -> T,
    ) -> impl Iterator<Item = ([(&'static str, &'a str); 1], T)> {
        self.cached.iter().map(move |(class, cached)| ([("class", *class)], value(cached)))
    }

    /// One row per class and value of another label.
    fn by<T>(
        &self,
        label: &'static str,
        values: impl Fn(&Cached) -> Vec<(&'static str, T)>,
    ) -> impl Iterator<Item = ([(&'static str, &'a str); 2], T)> {
        self.cached.iter().flat_map(move |(class, cached)| {
            values(cached).into_iter().map(move |(name, value)| ([("class", *class), (label, name)], value))
        })
    }

    /// One row per class that is never cached.
    fn direct(
        &self,
        value: fn(&UncachedCounts) -> u64,
    ) -> impl Iterator<Item = ([(&'static str, &'a str); 1], u64)> {
        self.uncached.iter().map(move |(class, counts)| ([("class", *class)], value(counts)))
    }
}

fn has_floor(plan: &Settings) -> bool {
    plan.measurement.hit_rate_floor.is_some()
}

pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let copy = Copy::of(node);
    write_reads(&copy, out)?;
    write_loads(&copy, out)?;
    write_stampede(&copy, out)?;
    write_memory(&copy, out)?;
    absent::write(node, out)?;
    out.counter(
        "checks",
        "Answers compared with the source, by verdict; stale breaks a promise",
        copy.by("verdict", |c| c.counts.checks.iter().map(|(v, n)| (v.as_str(), *n)).collect()),
    )
}

fn write_reads(copy: &Copy<'_>, out: &mut Writer<'_>) -> fmt::Result {
    let direct = copy
        .uncached
        .iter()
        .map(|(class, counts)| ([("class", *class), ("served_by", ServedBy::Source.as_str())], counts.reads));
    let served = copy.by("served_by", |c| c.counts.served.iter().map(|(by, n)| (by.as_str(), *n)).collect());
    out.counter("reads", "Answers by where they came from", served.chain(direct))?;
    out.counter(
        "misses",
        "Reads that memory could not answer, by reason",
        copy.by("reason", |c| c.counts.misses.to_vec()),
    )?;
    out.counter(
        "read_failures",
        "Reads that ended in an error",
        copy.each(|c| c.counts.failures).chain(copy.direct(|c| c.failures)),
    )?;
    out.histogram(
        "read_duration_seconds",
        "Duration of a sample of hits",
        READ_UNITS_PER_S,
        copy.each(|c| c.counts.reads.clone()),
    )?;
    out.gauge(
        "hit_ratio",
        "Share of answers, 0 to 1, that did not ask the source, since the start; NaN before the first",
        copy.each(|c| c.counts.hit_rate().unwrap_or(f64::NAN)),
    )?;
    let below =
        copy.cached.iter().filter_map(|(class, c)| Some(([("class", *class)], i64::from(c.below_floor?))));
    out.gauge(
        "hit_rate_below_floor",
        "1 while the hit rate of the window is below its floor, and loads that are not critical are limited",
        below,
    )?;
    out.counter(
        "negative",
        "Answers that said absent without asking the source",
        copy.each(|c| c.counts.absent),
    )
}

fn write_loads(copy: &Copy<'_>, out: &mut Writer<'_>) -> fmt::Result {
    out.histogram(
        "load_duration_seconds",
        "Duration of loads from the source, by outcome",
        LOAD_UNITS_PER_S,
        copy.by("outcome", |c| c.counts.loads.to_vec()),
    )?;
    out.counter(
        "loads_coalesced",
        "Reads that waited for another read's load",
        copy.each(|c| c.counts.coalesced),
    )?;
    out.gauge(
        "loads_in_flight",
        "Loads under way",
        copy.each(|c| c.counts.in_flight).chain(copy.direct(|c| c.in_flight)),
    )?;
    out.counter(
        "fills_rejected",
        "Loaded values that were answered and not kept, by reason",
        copy.by("reason", |c| c.counts.rejected.to_vec()),
    )?;
    out.counter(
        "shed",
        "Reads that were refused without asking the source",
        copy.each(|c| c.counts.shed).chain(copy.direct(|c| c.shed)),
    )
}

fn write_stampede(copy: &Copy<'_>, out: &mut Writer<'_>) -> fmt::Result {
    out.counter(
        "fill_locks",
        "Loads that asked for the fleet's lock, by what that came to",
        copy.by("outcome", |c| c.counts.stampede.locks.to_vec()),
    )?;
    out.counter(
        "refreshes",
        "Loads before a reader needs them, by reason",
        copy.by("reason", |c| c.counts.stampede.refreshes.to_vec()),
    )?;
    out.counter(
        "refresh_outcomes",
        "The same, by what they came to",
        copy.by("outcome", |c| c.counts.stampede.refreshed.to_vec()),
    )?;
    out.gauge(
        "hot_keys",
        "Keys in use that are kept warm, or recorded for a warm start",
        copy.each(|c| c.counts.stampede.hot_keys),
    )?;
    out.counter(
        "warmed",
        "Keys that were read before anybody asked for them, by where they were found",
        copy.by("from", |c| WARMED.into_iter().zip(c.counts.warmed.0).collect()),
    )?;
    out.counter(
        "publications",
        "Rows that writes through the cache have published, by what became of them",
        copy.by("outcome", |c| c.counts.published.to_vec()),
    )?;
    out.gauge(
        "expiry_next_minute_entries",
        "Entries in memory that end within the next minute; an estimate",
        copy.each(|c| c.spread.next_minute),
    )?;
    out.gauge(
        "expiry_busiest_second_entries",
        "Those of them that end in its busiest second; an estimate",
        copy.each(|c| c.spread.busiest_second),
    )
}

fn write_memory(copy: &Copy<'_>, out: &mut Writer<'_>) -> fmt::Result {
    out.gauge("entries", "Entries in memory", copy.each(|c| c.entries))?;
    out.gauge("stored_bytes", "Weight of the entries in memory", copy.each(|c| c.bytes))?;
    out.gauge(
        "capacity_bytes",
        "The most that entries may weigh",
        copy.by("tier", |c| vec![(L1, c.capacity)]),
    )?;
    out.gauge(
        "fallback_bytes",
        "Weight of the last known good values that are kept to stand in",
        copy.each(|c| c.fallback_bytes),
    )?;
    out.histogram(
        "eviction_age_seconds",
        "Time since their load of entries that had to make room, under s3-fifo",
        EVICTION_UNITS_PER_S,
        copy.each(|c| c.counts.eviction_ages.clone()),
    )?;
    let evictions = copy.cached.iter().flat_map(|(class, cached)| {
        let gone = cached.departures;
        let reasons = [
            ("capacity", gone.capacity),
            ("expired", gone.expired),
            ("replaced", gone.replaced),
            ("invalidated", gone.invalidated),
        ];
        reasons.map(|(reason, count)| ([("class", *class), ("tier", L1), ("reason", reason)], count))
    });
    out.counter("evictions", "Entries that have left a tier, by reason", evictions)
}
