//! The run in slices of a tenth of a second.

use std::time::Duration;

use hdrhistogram::Histogram;
use trueup_core::env::Nanos;

use super::{all, ms};
use crate::load::Log;

/// Length of a slice.
const SLICE: Duration = Duration::from_millis(100);
/// Slices that are looked at for what was normal before a fault.
const BEFORE: usize = 15;
/// Slices that are looked at together for whether it is normal again.
const AGAIN: usize = 10;
/// How near is near: a point, or what chance alone makes of so few reads (two standard errors).
const NEAR: f64 = 0.01;
const STANDARD_ERRORS: f64 = 2.0;
/// Longest time to answer that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Counts of a span of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    answered: u64,
    failed: u64,
    /// Answers to readers without a token; the others are asked for more than a tier may have.
    plain: u64,
    /// Of those, answers of a tier.
    hits: u64,
}

impl Counts {
    /// One where nothing was asked.
    pub(super) fn answered_share(self) -> f64 {
        share(self.answered, self.answered + self.failed)
    }

    pub(super) fn hit_rate(self) -> f64 {
        if self.plain == 0 { 0.0 } else { share(self.hits, self.plain) }
    }

    fn add(mut self, other: &Self) -> Self {
        self.answered += other.answered;
        self.failed += other.failed;
        self.plain += other.plain;
        self.hits += other.hits;
        self
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// The run.
pub(super) struct Timeline {
    origin: Nanos,
    slices: Vec<Counts>,
    /// When each answer came and how long it took, in microseconds.
    latencies: Vec<(Nanos, u32)>,
}

impl Timeline {
    pub(super) fn new(log: &Log, origin: Nanos, end: Nanos) -> Self {
        let mut slices = vec![Counts::default(); index(origin, end) + 1];
        let last = slices.len() - 1;
        let mut latencies = Vec::new();
        for read in all(log) {
            let slice = &mut slices[index(origin, read.end).min(last)];
            slice.answered += 1;
            if read.covers == Nanos::ZERO && read.session.is_none() {
                slice.plain += 1;
                slice.hits += u64::from(read.served_by.is_hit());
            }
            let took_us = read.end.since(read.start).as_micros();
            latencies.push((read.end, u32::try_from(took_us).unwrap_or(u32::MAX)));
        }
        for failure in &log.failures {
            slices[index(origin, failure.end).min(last)].failed += u64::from(failure.reads);
        }
        latencies.sort_unstable();
        Self { origin, slices, latencies }
    }

    pub(super) fn between(&self, start: Nanos, end: Nanos) -> Counts {
        self.sum(index(self.origin, start), index(self.origin, end) + 1)
    }

    /// Just before `start`.
    pub(super) fn before(&self, start: Nanos) -> Counts {
        let last = index(self.origin, start);
        self.sum(last.saturating_sub(BEFORE), last)
    }

    fn sum(&self, from: usize, to: usize) -> Counts {
        let to = to.min(self.slices.len());
        self.slices[from.min(to)..to].iter().fold(Counts::default(), Counts::add)
    }

    /// From `healed` until the hit rate is as it was; looked for until `next`.
    pub(super) fn recovery(&self, healed: Nanos, next: Nanos, before: f64) -> Option<Duration> {
        let (first, last) = (index(self.origin, healed), index(self.origin, next));
        let found = (first..last.saturating_sub(AGAIN)).find(|from| {
            let counts = self.sum(*from, from + AGAIN);
            let chance = (before * (1.0 - before) / counts.plain.max(1) as f64).sqrt();
            counts.plain > 0 && counts.hit_rate() >= before - NEAR.max(STANDARD_ERRORS * chance)
        });
        found.map(|from| SLICE * u32::try_from(from - first).unwrap_or(u32::MAX))
    }

    pub(super) fn latency_ms(&self, quantile: f64) -> f64 {
        quantile_ms(&self.latencies, quantile)
    }

    pub(super) fn latency_between_ms(&self, start: Nanos, end: Nanos, quantile: f64) -> f64 {
        let from = self.latencies.partition_point(|(at, _)| *at < start);
        let to = self.latencies.partition_point(|(at, _)| *at <= end);
        quantile_ms(&self.latencies[from..to.max(from)], quantile)
    }
}

fn quantile_ms(latencies: &[(Nanos, u32)], quantile: f64) -> f64 {
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3) else { return 0.0 };
    latencies.iter().for_each(|(_, us)| histogram.saturating_record(u64::from(*us).max(1)));
    ms(Duration::from_micros(histogram.value_at_quantile(quantile)))
}

fn index(origin: Nanos, time: Nanos) -> usize {
    (time.since(origin).as_nanos() / SLICE.as_nanos()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Read, Seen, ServedBy},
        load::Failure,
    };

    const fn at(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    fn read(ms: u64, served_by: ServedBy) -> Read {
        Read {
            object: 0,
            seen: Seen::Version(1),
            start: at(ms - 2),
            end: at(ms),
            bound: None,
            covers: Nanos::ZERO,
            session: None,
            served_by,
            node: 0,
        }
    }

    #[test]
    fn a_fault_shows_in_what_is_answered_in_hits_and_in_the_time_until_both_are_back() {
        // A read each 10 ms for 10 s; from 4 to 6 s half fail; from 4 to 7 s nothing is a hit.
        let mut log = Log::default();
        for ms in (10..10_000).step_by(10) {
            let missed = (4_000..7_000).contains(&ms);
            if (4_000..6_000).contains(&ms) && ms % 20 == 0 {
                log.failures.push(Failure { end: at(ms), reads: 1 });
            } else {
                log.reads.push(read(ms, if missed { ServedBy::Source } else { ServedBy::L1 }));
            }
        }
        let timeline = Timeline::new(&log, Nanos::ZERO, at(10_000));
        let before = timeline.before(at(4_000));
        assert!((before.hit_rate() - 1.0).abs() < 1e-9);
        let meanwhile = timeline.between(at(4_000), at(5_999));
        assert!((meanwhile.answered_share() - 0.5).abs() < 0.01 && meanwhile.hit_rate() < 1e-9);
        let recovery = timeline.recovery(at(6_000), at(10_000), before.hit_rate());
        assert_eq!(recovery, Some(Duration::from_millis(1_000)));
        assert_eq!(timeline.recovery(at(6_000), at(7_000), before.hit_rate()), None);
        assert!((timeline.latency_between_ms(at(1_000), at(2_000), 0.99) - 2.0).abs() < 0.01);
    }
}
