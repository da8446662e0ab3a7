//! A hit rate over a sliding window, held against its floor.

use std::{collections::VecDeque, time::Duration};

use crate::env::Nanos;

/// Samples that a window is made of.
const SAMPLES: u32 = 10;
/// Reads in a window below which its hit rate says nothing.
const READS_MIN: u64 = 100;
/// How far above the floor the rate must be before all is well again.
const HYSTERESIS: f64 = 0.05;

/// What a class has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HitCounts {
    /// Reads answered without asking the source.
    pub(crate) hits: u64,
    /// Reads, the failed and refused ones too: else a class that sheds its misses would look well.
    pub(crate) reads: u64,
}

/// Watches one class.
#[derive(Debug)]
pub(crate) struct HitRateFloor {
    floor: f64,
    window: Duration,
    samples: VecDeque<(Nanos, HitCounts)>,
    /// Since when the rate has been below its floor.
    below_since: Option<Nanos>,
}

/// The verdict has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Turn {
    /// The rate in the window, which is below the floor.
    Below(f64),
    /// The rate in the window, which is well above it.
    Above(f64),
}

impl HitRateFloor {
    pub(crate) fn new(floor: f64, window: Duration) -> Self {
        Self { floor, window, samples: VecDeque::new(), below_since: None }
    }

    /// How often [`observe`](Self::observe) wants to be called.
    pub(crate) fn every(&self) -> Duration {
        self.window / SAMPLES
    }

    /// Takes the counts at `now`.
    pub(crate) fn observe(&mut self, now: Nanos, counts: HitCounts) -> Option<Turn> {
        self.samples.push_back((now, counts));
        // One sample older than the window stays: the window reaches from there.
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= self.window) {
            self.samples.pop_front();
        }
        let rate = self.rate();
        match (self.below_since, rate) {
            (None, Some(rate)) if rate < self.floor => {
                self.below_since = Some(now);
                Some(Turn::Below(rate))
            }
            (Some(since), Some(rate)) if now.since(since) >= self.window && rate >= self.well_above() => {
                self.below_since = None;
                Some(Turn::Above(rate))
            }
            _ => None,
        }
    }

    /// The hit rate in the window; none while too few reads tell.
    fn rate(&self) -> Option<f64> {
        let ((_, first), (_, last)) = (self.samples.front()?, self.samples.back()?);
        let reads = last.reads.saturating_sub(first.reads);
        let hits = last.hits.saturating_sub(first.hits);
        (reads >= READS_MIN).then(|| hits as f64 / reads as f64)
    }

    /// Half of what is missing to 100 % at most, so that a floor of 99 % can be left again.
    fn well_above(&self) -> f64 {
        self.floor + HYSTERESIS.min((1.0 - self.floor) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    /// Feeds `seconds` of 1,000 reads each at `rate`; returns what turned.
    fn feed(
        floor: &mut HitRateFloor,
        now: &mut Nanos,
        counts: &mut HitCounts,
        rate: f64,
        seconds: u32,
    ) -> Vec<Turn> {
        let mut turns = Vec::new();
        for _ in 0..seconds {
            *now = now.after(Duration::from_secs(1));
            counts.reads += 1_000;
            counts.hits += (1_000.0 * rate) as u64;
            turns.extend(floor.observe(*now, *counts));
        }
        turns
    }

    #[test]
    fn it_trips_below_the_floor_and_is_well_again_clearly_above_it() {
        let (mut floor, mut now, mut counts) =
            (HitRateFloor::new(0.8, WINDOW), Nanos(1), HitCounts::default());
        assert_eq!(feed(&mut floor, &mut now, &mut counts, 0.95, 30), []);
        let turns = feed(&mut floor, &mut now, &mut counts, 0.5, 10);
        assert!(matches!(turns[..], [Turn::Below(rate)] if rate < 0.8), "{turns:?}");
        // Just above the floor is not enough: it would flap.
        assert_eq!(feed(&mut floor, &mut now, &mut counts, 0.82, 30), []);
        let turns = feed(&mut floor, &mut now, &mut counts, 0.9, 30);
        assert!(matches!(turns[..], [Turn::Above(rate)] if rate >= 0.85), "{turns:?}");
    }

    #[test]
    fn a_short_dip_within_the_window_does_not_trip() {
        let (mut floor, mut now, mut counts) =
            (HitRateFloor::new(0.8, WINDOW), Nanos(1), HitCounts::default());
        feed(&mut floor, &mut now, &mut counts, 0.95, 30);
        assert_eq!(feed(&mut floor, &mut now, &mut counts, 0.0, 1), []);
        assert_eq!(feed(&mut floor, &mut now, &mut counts, 0.95, 30), []);
    }

    #[test]
    fn few_reads_tell_nothing_and_a_floor_near_the_top_can_be_left() {
        let (mut floor, mut now, mut counts) =
            (HitRateFloor::new(0.99, WINDOW), Nanos(1), HitCounts::default());
        for _ in 0..30 {
            now = now.after(Duration::from_secs(1));
            counts.reads += 5;
            assert_eq!(floor.observe(now, counts), None);
        }
        assert_eq!(feed(&mut floor, &mut now, &mut counts, 0.5, 20).len(), 1);
        assert_eq!(feed(&mut floor, &mut now, &mut counts, 1.0, 30).len(), 1);
    }
}
