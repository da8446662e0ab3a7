//! How many loads at once, by what the source's latency says.
//!
//! Additive increase, multiplicative decrease. Each class's usual load time is learned from loads that had the source nearly to
//! themselves; a window in which loads took twice as long as is usual for what was loaded is one in which there were too many.
//! Published limiters (Vegas, gradient) keep one latency for all, so that a class of slow queries reads as congestion.

use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Nanos;

/// Length of the windows by which the limit moves.
const WINDOW: Duration = Duration::from_millis(100);
/// Loads that must have ended before a window says anything.
const SAMPLES_MIN: u32 = 5;
/// Loads are slow when they take this many times as long as usual...
const SLOW_FACTOR: f64 = 2.0;
/// ...and this much longer: less is the noise of a busy machine.
const SLOW_EXTRA: Duration = Duration::from_millis(10);
/// What a slow window leaves of the limit.
const DECREASE: f64 = 0.8;
/// What a window in which the source failed leaves of it.
const DECREASE_ON_FAILURE: f64 = 0.5;
/// Share of the limit that must have been in use before it is raised.
const USED_SHARE: f64 = 0.8;
/// The limit falls no lower, in loads: so many are the source nearly to themselves.
const LIMIT_MIN: f64 = 4.0;
/// Weight of one load in a class's usual time.
const LEARN: f64 = 0.02;
/// Weight of one load in a class's recent time.
const RECENT: f64 = 0.1;

/// How long the loads of one class take.
#[derive(Debug, Default)]
pub struct LoadTimes(Mutex<Times>);

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// With the source nearly to itself, in nanoseconds; zero before the first.
    usual_ns: f64,
    /// Lately, however busy.
    recent_ns: f64,
}

impl LoadTimes {
    /// How long a load takes at the moment; none before the first.
    #[must_use]
    pub fn recent(&self) -> Option<Duration> {
        let recent_ns = self.0.lock().recent_ns;
        (recent_ns > 0.0).then(|| Duration::from_nanos(recent_ns as u64))
    }

    /// How long a load takes with the source nearly to itself; none before the first.
    pub(crate) fn usual(&self) -> Option<Duration> {
        let usual_ns = self.0.lock().usual_ns;
        (usual_ns > 0.0).then(|| Duration::from_nanos(usual_ns as u64))
    }

    /// Learns of a load; returns what is usual, in nanoseconds.
    fn learn(&self, took: Duration, nearly_alone: bool) -> f64 {
        let took_ns = (took.as_nanos() as f64).max(1.0);
        let mut times = self.0.lock();
        let Times { usual_ns, recent_ns } = &mut *times;
        *recent_ns = if *recent_ns == 0.0 { took_ns } else { *recent_ns + (took_ns - *recent_ns) * RECENT };
        if *usual_ns == 0.0 {
            *usual_ns = took_ns;
        } else if nearly_alone || took_ns < *usual_ns {
            *usual_ns += (took_ns - *usual_ns) * LEARN;
        }
        *usual_ns
    }
}

/// A limit that moves between its floor and the declared ceiling.
#[derive(Debug)]
pub(super) struct Adaptive {
    ceiling: f64,
    limit: f64,
    /// Doubles per window until the first slow one: after an outage.
    doubling: bool,
    window: Window,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Nanos,
    samples: u32,
    took_ns: f64,
    usual_ns: f64,
    in_flight_peak: u32,
    failures: u32,
}

impl Adaptive {
    pub(super) fn new(ceiling: u32) -> Self {
        let ceiling = f64::from(ceiling.max(1));
        Self { ceiling, limit: ceiling, doubling: false, window: Window::default() }
    }

    /// Loads that may be under way at once, by the latency alone.
    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// Few enough that each has the source nearly to itself.
    pub(super) fn few(&self) -> u32 {
        (self.limit / 4.0).max(LIMIT_MIN) as u32
    }

    /// The source is back after an outage: begins with few, and doubles while that goes well.
    pub(super) fn begin_again(&mut self) {
        self.limit = LIMIT_MIN.min(self.ceiling);
        self.doubling = true;
        self.window = Window::default();
    }

    /// A load ended at `now`; `began_among` loads were under way when it began.
    pub(super) fn ended(
        &mut self,
        now: Nanos,
        took: Duration,
        times: &LoadTimes,
        began_among: u32,
        failed: bool,
    ) {
        self.window.in_flight_peak = self.window.in_flight_peak.max(began_among);
        if failed {
            self.window.failures += 1;
        } else {
            let usual_ns = times.learn(took, began_among <= self.few());
            self.window.samples += 1;
            self.window.took_ns += took.as_nanos() as f64;
            self.window.usual_ns += usual_ns;
        }
        if self.window.began == Nanos::ZERO {
            self.window.began = now;
        } else if now.since(self.window.began) >= WINDOW {
            self.close_window(now);
        }
    }

    fn close_window(&mut self, now: Nanos) {
        let window = self.window;
        if window.samples + window.failures < SAMPLES_MIN {
            return;
        }
        self.window = Window { began: now, ..Window::default() };
        let extra_ns = (window.took_ns - window.usual_ns) / f64::from(window.samples.max(1));
        let slow = window.took_ns > window.usual_ns * SLOW_FACTOR && extra_ns > SLOW_EXTRA.as_nanos() as f64;
        let used = f64::from(window.in_flight_peak) >= self.limit.floor() * USED_SHARE;
        if window.failures > window.samples {
            self.lower(DECREASE_ON_FAILURE);
        } else if slow {
            self.lower(DECREASE);
        } else if used {
            let raised = if self.doubling { self.limit * 2.0 } else { self.limit + 1.0 };
            self.limit = raised.min(self.ceiling);
        }
    }

    fn lower(&mut self, to: f64) {
        self.doubling = false;
        self.limit = (self.limit * to).max(LIMIT_MIN.min(self.ceiling));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A source that serves `capacity` loads at once in `base`, and makes the rest wait their turn.
    struct Source {
        base: Duration,
        capacity: f64,
    }

    /// Runs `seconds` at the limit's own concurrency, and returns where the limit came to lie.
    fn settle(
        adaptive: &mut Adaptive,
        times: &LoadTimes,
        source: &Source,
        now: &mut Nanos,
        seconds: u32,
    ) -> f64 {
        let mut sum = 0.0;
        let steps = seconds * 100;
        for _ in 0..steps {
            *now = now.after(MS * 10);
            let among = adaptive.limit() as u32;
            let took = source.base.mul_f64((f64::from(among) / source.capacity).max(1.0));
            for _ in 0..4 {
                adaptive.ended(*now, took, times, among, false);
            }
            sum += adaptive.limit();
        }
        sum / f64::from(steps)
    }

    fn learned(base: Duration) -> LoadTimes {
        let times = LoadTimes::default();
        (0..100).for_each(|_| {
            times.learn(base, true);
        });
        times
    }

    #[test]
    fn the_limit_falls_to_what_the_source_can_do_and_rises_when_it_can_do_more() {
        let (mut adaptive, times, mut now) = (Adaptive::new(256), learned(MS * 20), Nanos(1));
        let slow = Source { base: MS * 20, capacity: 16.0 };
        settle(&mut adaptive, &times, &slow, &mut now, 10);
        let at = settle(&mut adaptive, &times, &slow, &mut now, 10);
        // Twice as long as usual is where it turns: twice the source's own concurrency.
        assert!((16.0..40.0).contains(&at), "{at}");
        let fast = Source { base: MS * 20, capacity: 200.0 };
        settle(&mut adaptive, &times, &fast, &mut now, 60);
        assert!(adaptive.limit() > 200.0, "{}", adaptive.limit());
    }

    #[test]
    fn a_class_of_slow_queries_is_no_congestion() {
        let (mut adaptive, mut now) = (Adaptive::new(64), Nanos(1));
        let (quick, slow) = (learned(MS), learned(MS * 300));
        for _ in 0..1_000 {
            now = now.after(MS * 10);
            adaptive.ended(now, MS, &quick, 60, false);
            adaptive.ended(now, MS * 300, &slow, 60, false);
        }
        assert!(adaptive.limit() >= 64.0, "{}", adaptive.limit());
    }

    #[test]
    fn a_source_that_is_slower_for_good_is_learned_and_not_throttled_for_ever() {
        let (mut adaptive, times, mut now) = (Adaptive::new(64), learned(MS * 5), Nanos(1));
        let slower = Source { base: MS * 50, capacity: 1_000.0 };
        settle(&mut adaptive, &times, &slower, &mut now, 1);
        assert!(adaptive.limit() < 20.0, "{}", adaptive.limit());
        settle(&mut adaptive, &times, &slower, &mut now, 60);
        assert!(adaptive.limit() > 50.0, "{}", adaptive.limit());
    }

    #[test]
    fn failures_halve_it_and_an_outage_begins_with_few() {
        let (mut adaptive, times, mut now) = (Adaptive::new(64), learned(MS), Nanos(1));
        for _ in 0..30 {
            now = now.after(MS * 10);
            adaptive.ended(now, MS * 100, &times, 64, true);
        }
        assert!(adaptive.limit() <= 32.0, "{}", adaptive.limit());
        adaptive.begin_again();
        assert_eq!(adaptive.limit() as u32, 4);
        settle(&mut adaptive, &times, &Source { base: MS, capacity: 100.0 }, &mut now, 1);
        assert!(adaptive.limit() > 60.0, "doubled each window: {}", adaptive.limit());
    }

    #[test]
    fn it_never_leaves_its_bounds() {
        let (mut adaptive, times, mut now) = (Adaptive::new(2), learned(MS), Nanos(1));
        for round in 0..2_000_u32 {
            now = now.after(MS * 10);
            adaptive.ended(now, MS * (1 + round % 300), &times, 2, round % 7 == 0);
            assert!((1.0..=2.0).contains(&adaptive.limit()), "{}", adaptive.limit());
        }
    }
}
