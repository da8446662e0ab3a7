//! Monotonic time that counts the time a machine was suspended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A point on this machine's own clock, in nanoseconds since boot. Never compared across machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The origin: earlier than every reading of a clock.
    pub const ZERO: Self = Self(0);

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns_since(earlier))
    }

    /// Nanoseconds from `earlier` to `self`; zero when `earlier` is later. For the hot path: making a [`Duration`] divides.
    #[inline]
    #[must_use]
    pub const fn ns_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self` plus `span`, saturating at the end of time (584 years after boot).
    #[inline]
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        let span_ns = span.as_nanos();
        if span_ns > u64::MAX as u128 { Self(u64::MAX) } else { Self(self.0.saturating_add(span_ns as u64)) }
    }
}

/// Where the engine reads time.
///
/// The system clock is `CLOCK_BOOTTIME`: monotonic, and unlike `CLOCK_MONOTONIC` it counts suspension, so an entry
/// cannot look fresh because the machine slept. It is read on every hit (about 20 ns through the vDSO): a ticked clock
/// would serve old entries as fresh after the process was stopped.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    stepped: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { stepped: None }
    }

    /// A clock that moves only when [`Clock::advance`] is called: for tests and simulation. Starts at one second.
    #[must_use]
    pub fn stepped() -> Self {
        Self { stepped: Some(Arc::new(AtomicU64::new(1_000_000_000))) }
    }

    /// The current time.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Nanos {
        match &self.stepped {
            None => {
                let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Nanos((time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
            }
            Some(time_ns) => Nanos(time_ns.load(Ordering::SeqCst)),
        }
    }

    /// Moves a stepped clock forward by `span`; does nothing to the system clock.
    pub fn advance(&self, span: Duration) {
        if let Some(time_ns) = &self.stepped {
            time_ns.fetch_add(span.as_nanos() as u64, Ordering::SeqCst);
        }
    }
}

/// Milliseconds since 1970 by the wall clock. For people and logs only: freshness never depends on it.
#[must_use]
pub fn unix_ms() -> u64 {
    unix_us() / 1_000
}

/// Microseconds since 1970 by the wall clock. For people, logs and metrics only, as [`unix_ms`].
#[must_use]
pub fn unix_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (time.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(time.tv_nsec as u64 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepped_clock_moves_only_when_told() {
        let clock = Clock::stepped();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.now().since(start), Duration::from_millis(5));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = Clock::system();
        let readings: Vec<_> = (0..1000).map(|_| clock.now()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > Nanos::ZERO);
    }

    #[test]
    fn adding_a_span_saturates() {
        assert_eq!(Nanos(5).after(Duration::MAX), Nanos(u64::MAX));
    }
}
