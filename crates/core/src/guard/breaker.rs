//! Leaves a dependency alone for a while after it has failed several times in a row.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    env::{Clock, Nanos, random},
    tier::jittered,
};

/// Share of a pause by which probes are spread, so that nodes that lost a dependency together do not ask it together.
const PAUSE_JITTER: f64 = 0.2;

/// When a [`Breaker`] opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// First pause before a probe; doubled by each probe that fails.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

/// Closed while a dependency works, open while it is left alone.
///
/// A call asks [`is_open`](Self::is_open) and tells how it went. While the breaker is open no call goes through: the
/// dependency's keeper probes it when [`probe_in`](Self::probe_in) says so, at nobody's expense, and closes the breaker
/// when a probe succeeds. A call costs one atomic load before and one after.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    clock: Clock,
    open: AtomicBool,
    failures: AtomicU32,
    resting: Mutex<Resting>,
}

#[derive(Debug)]
struct Resting {
    until: Nanos,
    pause: Duration,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: BreakerConfig, clock: Clock) -> Self {
        Self {
            config,
            clock,
            open: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            resting: Mutex::new(Resting { until: Nanos::ZERO, pause: config.pause_min }),
        }
    }

    /// Whether the dependency is left alone at the moment.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// A call went well. It does not close an open breaker: the call may have been sent long ago.
    #[inline]
    pub fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A call failed. True if that has opened the breaker just now.
    pub fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failures >= self.config.failures_max && self.trip()
    }

    /// Opens the breaker at once, with its first probe due at once: the connection is gone. True if it was closed.
    pub fn trip(&self) -> bool {
        let mut resting = self.resting.lock();
        let was_open = self.open.swap(true, Ordering::AcqRel);
        if !was_open {
            *resting = Resting { until: self.clock.now(), pause: self.config.pause_min };
        }
        !was_open
    }

    /// How long until a probe is due; none while the breaker is closed.
    #[must_use]
    pub fn probe_in(&self) -> Option<Duration> {
        let resting = self.resting.lock();
        self.is_open().then(|| resting.until.since(self.clock.now()))
    }

    /// A probe went well: calls go through again.
    pub fn close(&self) {
        let mut resting = self.resting.lock();
        self.failures.store(0, Ordering::Relaxed);
        resting.pause = self.config.pause_min;
        self.open.store(false, Ordering::Release);
    }

    /// A probe failed: the next one is due after a pause, twice as long each time.
    pub fn probe_failed(&self) {
        let mut resting = self.resting.lock();
        resting.until = self.clock.now().after(jittered(resting.pause, PAUSE_JITTER, random::number()));
        resting.pause = (resting.pause * 2).min(self.config.pause_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures_max: 3,
        pause_min: Duration::from_millis(100),
        pause_max: Duration::from_millis(350),
    };

    fn breaker() -> (Breaker, Clock) {
        let clock = Clock::stepped();
        (Breaker::new(CONFIG, clock.clone()), clock)
    }

    #[test]
    fn opens_after_failures_in_a_row_and_not_before() {
        let (breaker, _) = breaker();
        assert!(!breaker.failed() && !breaker.failed());
        breaker.succeeded();
        assert!(!breaker.failed() && !breaker.failed());
        assert!(!breaker.is_open());
        assert!(breaker.failed(), "the third in a row opens it");
        assert!(breaker.is_open());
        assert!(!breaker.failed(), "it opens once");
    }

    #[test]
    fn a_late_success_does_not_close_it() {
        let (breaker, _) = breaker();
        breaker.trip();
        breaker.succeeded();
        assert!(breaker.is_open());
        breaker.close();
        assert!(!breaker.is_open());
        assert_eq!(breaker.probe_in(), None);
    }

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let (breaker, clock) = breaker();
        breaker.trip();
        assert_eq!(breaker.probe_in(), Some(Duration::ZERO), "the first probe is due at once");
        for pause in [100, 200, 350, 350].map(Duration::from_millis) {
            breaker.probe_failed();
            let due = breaker.probe_in().unwrap();
            assert!(due <= pause && due >= pause.mul_f64(1.0 - PAUSE_JITTER - 1e-6), "{due:?} of {pause:?}");
            clock.advance(pause);
            assert_eq!(breaker.probe_in(), Some(Duration::ZERO));
        }
        breaker.close();
        breaker.trip();
        breaker.probe_failed();
        assert!(breaker.probe_in().unwrap() <= CONFIG.pause_min);
    }
}
