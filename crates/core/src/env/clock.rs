//! Monotonic time that counts the time a machine was suspended.

use std::{
    sync::atomic::{AtomicU64, Ordering},
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
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` plus `span`, saturating at the end of time (584 years after boot).
    #[inline]
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        let span_ns = span.as_nanos();
        if span_ns > u64::MAX as u128 { Self(u64::MAX) } else { Self(self.0.saturating_add(span_ns as u64)) }
    }
}

/// A source of [`Nanos`].
///
/// The hot path is generic over the clock so that the system clock is a direct call and tests can step time.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Nanos;
}

/// `CLOCK_BOOTTIME`: monotonic, and unlike `CLOCK_MONOTONIC` it counts suspension, so an entry cannot look fresh
/// because the machine slept.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Nanos {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Nanos((time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
    }
}

/// A clock that moves only when told to.
#[derive(Clone, Debug, Default)]
pub struct SteppedClock(std::sync::Arc<AtomicU64>);

impl SteppedClock {
    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Nanos {
        Nanos(self.0.load(Ordering::SeqCst))
    }
}
