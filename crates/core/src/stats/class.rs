//! What one class has done.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    EVICTION_AGE_BOUNDS_MS, Histogram, HistogramCounts, LOAD_BOUNDS_US, READ_BOUNDS_NS, StampedeCounts,
    StampedeStats, Stripes, Warmed, WarmingStats,
};
use crate::{
    error::ReadError,
    guard::HitCounts,
    proof::Rejected,
    receipt::{Miss, ServedBy},
    source::LoadError,
    write::Fate,
};

/// How a load can end, as labels of `load_duration_seconds`.
const LOAD_OUTCOMES: [&str; 4] = ["value", "absent", "error", "timed_out"];
/// Why a loaded value was not kept, as labels of `fills_rejected_total`.
const REJECTIONS: [&str; 10] = [
    "missed_change",
    "changed_since",
    "interrupted",
    "no_floor",
    "too_many",
    "other_epoch",
    "too_large",
    "not_kept",
    "lease_lost",
    "admission",
];

/// What the online checker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckVerdict {
    /// The source still says the same.
    Fresh,
    /// The source says otherwise, by a change that came after what the answer claims to reflect.
    InFlight,
    /// The source says otherwise and no change explains it: the promise is broken.
    Stale,
}

impl CheckVerdict {
    /// All of them, in the order of their metrics.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::InFlight, Self::Stale];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::InFlight => "in_flight",
            Self::Stale => "stale",
        }
    }
}

/// Counters of one class. A hit costs one relaxed addition.
#[derive(Debug)]
pub struct ClassStats {
    hits: Stripes,
    served: [AtomicU64; 6],
    absent: AtomicU64,
    misses: [AtomicU64; 6],
    failures: AtomicU64,
    coalesced: AtomicU64,
    in_flight: AtomicU64,
    shed: AtomicU64,
    renewed: AtomicU64,
    loads: [Histogram<{ LOAD_BOUNDS_US.len() }>; LOAD_OUTCOMES.len()],
    reads: Histogram<{ READ_BOUNDS_NS.len() }>,
    rejected: [AtomicU64; REJECTIONS.len()],
    checks: [AtomicU64; 3],
    eviction_ages: Histogram<{ EVICTION_AGE_BOUNDS_MS.len() }>,
    pub(crate) stampede: StampedeStats,
    pub(crate) warming: WarmingStats,
    published: [AtomicU64; Fate::LABELS.len()],
}

/// A copy of all counters at one time.
#[derive(Clone, Debug)]
pub struct ClassCounts {
    /// Answers by where they came from.
    pub served: [(ServedBy, u64); 7],
    /// Answers, among those, that said "absent" without asking the source.
    pub absent: u64,
    /// Reads that memory could not answer, by reason.
    pub misses: [(&'static str, u64); 6],
    /// Reads that ended in an error.
    pub failures: u64,
    /// Reads that waited for another read's load.
    pub coalesced: u64,
    /// Loads under way.
    pub in_flight: u64,
    /// Reads, among those, that were refused without asking the source: too many loads were waiting, or it is left alone.
    pub shed: u64,
    /// Entries that were given another life without a load.
    pub renewed: u64,
    /// Duration of loads by outcome, in microseconds.
    pub loads: [(&'static str, HistogramCounts); 4],
    /// Duration of a sample of reads, in nanoseconds.
    pub reads: HistogramCounts,
    /// Loaded values that were answered and not kept, by reason.
    pub rejected: [(&'static str, u64); 10],
    /// Verdicts of the online checker.
    pub checks: [(CheckVerdict, u64); 3],
    /// Time since their load of entries that had to make room, in milliseconds.
    pub eviction_ages: HistogramCounts,
    /// Locks of the fleet, and refreshes before a reader needs them.
    pub stampede: StampedeCounts,
    /// Keys that were read before anybody asked for them.
    pub warmed: Warmed,
    /// Rows that writes have published, by what became of them.
    pub published: [(&'static str, u64); 6],
}

impl Default for ClassStats {
    fn default() -> Self {
        Self {
            hits: Stripes::default(),
            served: Default::default(),
            absent: AtomicU64::default(),
            misses: Default::default(),
            failures: AtomicU64::default(),
            coalesced: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            shed: AtomicU64::default(),
            renewed: AtomicU64::default(),
            loads: std::array::from_fn(|_| Histogram::new(LOAD_BOUNDS_US)),
            reads: Histogram::new(READ_BOUNDS_NS),
            rejected: Default::default(),
            checks: Default::default(),
            eviction_ages: Histogram::new(EVICTION_AGE_BOUNDS_MS),
            stampede: StampedeStats::default(),
            warming: WarmingStats::default(),
            published: Default::default(),
        }
    }
}

impl ClassStats {
    #[inline]
    pub(crate) fn hit(&self) {
        self.hits.add_one();
    }

    pub(crate) fn hit_absent(&self) {
        add_one(&self.absent);
    }

    pub(crate) fn served(&self, by: ServedBy) {
        match by {
            ServedBy::L1 => self.hits.add_one(),
            ServedBy::L2 => add_one(&self.served[0]),
            ServedBy::Source => add_one(&self.served[1]),
            ServedBy::Stale => add_one(&self.served[2]),
            ServedBy::Filter => add_one(&self.served[3]),
            ServedBy::Fallback => add_one(&self.served[4]),
            ServedBy::Pending => add_one(&self.served[5]),
        }
    }

    pub(crate) fn missed(&self, miss: Miss) {
        add_one(&self.misses[miss.index()]);
    }

    pub(crate) fn failed(&self, error: &ReadError) {
        if matches!(error, ReadError::Load(LoadError::Unfilled)) {
            // Nothing went wrong: its client is to fill it.
            return;
        }
        add_one(&self.failures);
        if matches!(error, ReadError::Load(error) if error.retry_after_ms().is_some()) {
            add_one(&self.shed);
        }
    }

    pub(crate) fn coalesced(&self) {
        add_one(&self.coalesced);
    }

    pub(crate) fn renewed(&self) {
        add_one(&self.renewed);
    }

    pub(crate) fn load_began(&self) {
        add_one(&self.in_flight);
    }

    /// How many loads are under way.
    pub(crate) fn loads_under_way(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn load_ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// `found` is whether there was a value.
    pub(crate) fn loaded(&self, result: Result<bool, &LoadError>, took: Duration) {
        let outcome = match result {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(LoadError::TimedOut { .. }) => 3,
            Err(_) => 2,
        };
        self.loads[outcome].record(took.as_micros() as u64);
    }

    pub(crate) fn read_took(&self, took: Duration) {
        self.reads.record(took.as_nanos() as u64);
    }

    pub(crate) fn evicted_at(&self, age: Duration) {
        self.eviction_ages.record(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    }

    pub(crate) fn rejected(&self, why: Rejected) {
        let index = match why {
            Rejected::MissedChange => 0,
            Rejected::ChangedSince => 1,
            Rejected::Interrupted => 2,
            Rejected::NoFloor => 3,
            Rejected::TooMany => 4,
            Rejected::OtherEpoch => 5,
        };
        add_one(&self.rejected[index]);
    }

    pub(crate) fn rejected_too_large(&self) {
        add_one(&self.rejected[6]);
    }

    pub(crate) fn rejected_by_plan(&self) {
        add_one(&self.rejected[7]);
    }

    pub(crate) fn rejected_lease(&self) {
        add_one(&self.rejected[8]);
    }

    pub(crate) fn rejected_by_admission(&self) {
        add_one(&self.rejected[9]);
    }

    pub(crate) fn published(&self, fate: &Fate) {
        add_one(&self.published[fate.index()]);
    }

    pub(crate) fn checked(&self, verdict: CheckVerdict) {
        add_one(&self.checks[verdict as usize]);
    }

    /// What a hit rate is made of; reads that failed or were refused are no hits.
    pub(crate) fn hit_counts(&self) -> HitCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let hits = self.hits.sum() + get(&self.served[0]);
        let others: u64 = self.served[1..].iter().map(get).sum();
        HitCounts { hits, reads: hits + others + get(&self.failures) }
    }

    /// A copy of all counters.
    #[must_use]
    pub fn counts(&self) -> ClassCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClassCounts {
            served: [
                (ServedBy::L1, self.hits.sum()),
                (ServedBy::L2, get(&self.served[0])),
                (ServedBy::Source, get(&self.served[1])),
                (ServedBy::Stale, get(&self.served[2])),
                (ServedBy::Filter, get(&self.served[3])),
                (ServedBy::Fallback, get(&self.served[4])),
                (ServedBy::Pending, get(&self.served[5])),
            ],
            absent: get(&self.absent),
            misses: std::array::from_fn(|i| (Miss::LABELS[i], get(&self.misses[i]))),
            failures: get(&self.failures),
            coalesced: get(&self.coalesced),
            in_flight: get(&self.in_flight),
            shed: get(&self.shed),
            renewed: get(&self.renewed),
            loads: std::array::from_fn(|i| (LOAD_OUTCOMES[i], self.loads[i].counts())),
            reads: self.reads.counts(),
            rejected: std::array::from_fn(|i| (REJECTIONS[i], get(&self.rejected[i]))),
            checks: std::array::from_fn(|i| (CheckVerdict::ALL[i], get(&self.checks[i]))),
            eviction_ages: self.eviction_ages.counts(),
            stampede: self.stampede.counts(),
            warmed: self.warming.counts(),
            published: std::array::from_fn(|i| (Fate::LABELS[i], get(&self.published[i]))),
        }
    }
}

impl ClassCounts {
    /// All answers.
    #[must_use]
    pub fn reads_total(&self) -> u64 {
        self.served.iter().map(|(_, count)| count).sum()
    }

    /// Share of answers, 0 to 1, that did not ask the source; none before the first read.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let total = self.reads_total();
        let cached = self.served[0].1 + self.served[1].1 + self.served[4].1;
        (total > 0).then(|| cached as f64 / total as f64)
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
