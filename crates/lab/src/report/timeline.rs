//! The run in slices of a tenth of a second, counted as it goes.

use std::{collections::BTreeMap, time::Duration};

use trueup_core::env::Nanos;

use super::ms;
use crate::{history::Read, load::Failure};

/// Length of a slice.
pub(super) const SLICE: Duration = Duration::from_millis(100);
/// Slices that are looked at for what was normal before a fault.
const BEFORE: usize = 15;
/// Slices that are looked at together for whether it is normal again.
const AGAIN: usize = 10;
/// How near is near: a point, or what chance alone makes of so few reads (two standard errors).
const NEAR: f64 = 0.01;
const STANDARD_ERRORS: f64 = 2.0;

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

/// Times to answer, in classes less than a hundredth wide.
#[derive(Clone, Debug, Default)]
struct Latencies(BTreeMap<u16, u32>);

/// Bits of a time that are told apart within its power of two.
const PRECISION_BITS: u32 = 7;

impl Latencies {
    fn add(&mut self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let shift = us.ilog2().saturating_sub(PRECISION_BITS);
        let class = (shift << PRECISION_BITS) + (us >> shift);
        *self.0.entry(class as u16).or_default() += 1;
    }

    /// The least time of a class.
    fn us(class: u16) -> u64 {
        let shift = (u32::from(class) >> PRECISION_BITS).saturating_sub(1);
        u64::from(u32::from(class) - (shift << PRECISION_BITS)) << shift
    }
}

fn quantile_ms<'a>(slices: impl Iterator<Item = &'a Latencies>, quantile: f64) -> f64 {
    let mut all: BTreeMap<u16, u64> = BTreeMap::new();
    for (class, count) in slices.flat_map(|latencies| &latencies.0) {
        *all.entry(*class).or_default() += u64::from(*count);
    }
    let wanted = (all.values().sum::<u64>() as f64 * quantile).ceil().max(1.0) as u64;
    let mut seen = 0;
    let class = all.iter().find_map(|(class, count)| {
        seen += count;
        (seen >= wanted).then_some(*class)
    });
    class.map_or(0.0, |class| ms(Duration::from_micros(Latencies::us(class))))
}

/// A tenth of a second.
#[derive(Clone, Debug, Default)]
struct Slice {
    counts: Counts,
    latencies: Latencies,
    /// The same for each node.
    nodes: Vec<Counts>,
}

impl Slice {
    fn node(&mut self, node: u8) -> &mut Counts {
        let node = usize::from(node);
        if self.nodes.len() <= node {
            self.nodes.resize(node + 1, Counts::default());
        }
        &mut self.nodes[node]
    }
}

/// The run.
#[derive(Debug)]
pub(super) struct Timeline {
    origin: Nanos,
    slices: Vec<Slice>,
}

impl Timeline {
    pub(super) const fn new(origin: Nanos) -> Self {
        Self { origin, slices: Vec::new() }
    }

    fn slice(&mut self, at: Nanos) -> &mut Slice {
        let index = index(self.origin, at);
        if self.slices.len() <= index {
            self.slices.resize_with(index + 1, Slice::default);
        }
        &mut self.slices[index]
    }

    pub(super) fn answered(&mut self, read: &Read) {
        let slice = self.slice(read.end);
        let plain = read.covers == Nanos::ZERO && read.session.is_none();
        let one = Counts {
            answered: 1,
            failed: 0,
            plain: u64::from(plain),
            hits: u64::from(plain && read.served_by.is_hit()),
        };
        slice.counts = slice.counts.add(&one);
        slice.latencies.add(read.end.since(read.start));
        let of_node = slice.node(read.node);
        *of_node = of_node.add(&one);
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        let slice = self.slice(failure.end);
        let one = Counts { failed: u64::from(failure.reads), ..Counts::default() };
        slice.counts = slice.counts.add(&one);
        let of_node = slice.node(failure.node);
        *of_node = of_node.add(&one);
    }

    /// The run has ended: nothing happened in what is not there yet.
    pub(super) fn close(&mut self, end: Nanos) {
        self.slice(end);
    }

    pub(super) fn between(&self, start: Nanos, end: Nanos) -> Counts {
        self.sum(index(self.origin, start), index(self.origin, end) + 1)
    }

    /// Just before `start`.
    pub(super) fn before(&self, start: Nanos) -> Counts {
        let last = index(self.origin, start);
        self.sum(last.saturating_sub(BEFORE), last)
    }

    fn range(&self, from: usize, to: usize) -> &[Slice] {
        let to = to.min(self.slices.len());
        &self.slices[from.min(to)..to]
    }

    fn sum(&self, from: usize, to: usize) -> Counts {
        self.range(from, to).iter().fold(Counts::default(), |sum, slice| sum.add(&slice.counts))
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

    /// The time in which a node was asked and gave no answer from a tier: it was away, or could prove nothing. A slice in
    /// which nobody asked is as the one before.
    pub(super) fn unproven(&self, node: usize) -> Duration {
        let (mut slices, mut is_unproven) = (0, false);
        for slice in &self.slices {
            let counts = slice.nodes.get(node).copied().unwrap_or_default();
            if counts.hits > 0 {
                is_unproven = false;
            } else if counts.plain + counts.failed > 0 {
                is_unproven = true;
            }
            slices += u32::from(is_unproven);
        }
        SLICE * slices
    }

    /// All of it.
    pub(super) fn span(&self) -> Duration {
        SLICE * u32::try_from(self.slices.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn latency_ms(&self, quantile: f64) -> f64 {
        quantile_ms(self.slices.iter().map(|slice| &slice.latencies), quantile)
    }

    pub(super) fn latency_between_ms(&self, start: Nanos, end: Nanos, quantile: f64) -> f64 {
        let slices = self.range(index(self.origin, start), index(self.origin, end) + 1);
        quantile_ms(slices.iter().map(|slice| &slice.latencies), quantile)
    }
}

fn index(origin: Nanos, time: Nanos) -> usize {
    (time.since(origin).as_nanos() / SLICE.as_nanos()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Seen, ServedBy};

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

    /// A read each 10 ms for 10 s; from 4 to 6 s half fail; from 4 to 7 s nothing is a hit.
    fn run() -> Timeline {
        let mut timeline = Timeline::new(Nanos::ZERO);
        for ms in (10..10_000).step_by(10) {
            let missed = (4_000..7_000).contains(&ms);
            if (4_000..6_000).contains(&ms) && ms % 20 == 0 {
                timeline.failed(&Failure { end: at(ms), reads: 1, node: 0 });
            } else {
                timeline.answered(&read(ms, if missed { ServedBy::Source } else { ServedBy::L1 }));
            }
        }
        timeline.close(at(10_000));
        timeline
    }

    #[test]
    fn a_fault_shows_in_what_is_answered_in_hits_and_in_the_time_until_both_are_back() {
        let timeline = run();
        let before = timeline.before(at(4_000));
        assert!((before.hit_rate() - 1.0).abs() < 1e-9);
        let meanwhile = timeline.between(at(4_000), at(5_999));
        assert!((meanwhile.answered_share() - 0.5).abs() < 0.01 && meanwhile.hit_rate() < 1e-9);
        let recovery = timeline.recovery(at(6_000), at(10_000), before.hit_rate());
        assert_eq!(recovery, Some(Duration::from_millis(1_000)));
        assert_eq!(timeline.recovery(at(6_000), at(7_000), before.hit_rate()), None);
        assert!((timeline.latency_between_ms(at(1_000), at(2_000), 0.99) - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_node_is_unproven_while_it_is_asked_and_no_tier_answers() {
        let mut timeline = run();
        assert_eq!(timeline.unproven(0), Duration::from_secs(3));
        assert_eq!(timeline.unproven(1), Duration::ZERO, "nobody asked it");
        timeline.failed(&Failure { end: at(10_200), reads: 1, node: 0 });
        timeline.close(at(10_499));
        assert_eq!(timeline.unproven(0), Duration::from_millis(3_300), "and nobody asked again");
    }

    #[test]
    fn latencies_are_told_apart_by_a_hundredth() {
        for us in [1, 2, 127, 128, 129, 255, 256, 1_000, 1_999, 2_000, 123_456, 60_000_000] {
            let mut latencies = Latencies::default();
            latencies.add(Duration::from_micros(us));
            let told = latencies.0.keys().map(|class| Latencies::us(*class)).next().unwrap();
            assert!(told <= us && (us - told) * 100 <= us, "{us}: {told}");
        }
    }
}
