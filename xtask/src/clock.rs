//! Time of this machine, the same for all its processes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds of `CLOCK_BOOTTIME`: one clock for every process of this machine, so that a reader's and a writer's
/// readings may be compared.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    (time.tv_sec as u64) * NANOS_PER_SECOND + time.tv_nsec as u64
}

/// Time since a reading of [`now_ns`].
pub(crate) fn since(start_ns: u64) -> Duration {
    Duration::from_nanos(now_ns().saturating_sub(start_ns))
}

/// A point in time by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    end_ns: u64,
}

impl Deadline {
    /// `span` from now.
    pub(crate) fn after(span: Duration) -> Self {
        Self { end_ns: now_ns().saturating_add(span.as_nanos() as u64) }
    }

    /// Whether it is too late.
    pub(crate) fn passed(self) -> bool {
        now_ns() >= self.end_ns
    }

    /// Time left; zero when it has passed.
    pub(crate) fn left(self) -> Duration {
        Duration::from_nanos(self.end_ns.saturating_sub(now_ns()))
    }
}
