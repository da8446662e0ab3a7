//! How many loads a second.
//!
//! The generic cell rate algorithm, on the engine's own clock, as the caller's lock guards it: the queue has to ask when the
//! next load may go without taking it, and may have to ask two paces at once, which rate limiters that count for themselves do
//! not offer.

use std::{num::NonZeroU32, time::Duration};

use crate::env::Nanos;

const NS_PER_S: u64 = 1_000_000_000;
/// How much of a second's loads may come at once after a rest. In no second are there more than `1 + BURST_SHARE` of the rate,
/// and one: what is owed by a timer that came late, and no more.
const BURST_SHARE: f64 = 0.02;

/// Lets so many pass in a second, evenly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    interval_ns: u64,
    tolerance_ns: u64,
    /// When the one after the last would be exactly on time.
    due: Nanos,
}

impl Pace {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let interval_ns = (NS_PER_S / u64::from(per_second.get())).max(1);
        let burst = (f64::from(per_second.get()) * BURST_SHARE) as u64;
        Self { interval_ns, tolerance_ns: interval_ns * burst.saturating_sub(1), due: Nanos::ZERO }
    }

    /// A share (0 to 1) of `per_second`, one in a second at least.
    pub(super) fn share_of(per_second: NonZeroU32, share: f64) -> Self {
        let part = (f64::from(per_second.get()) * share.clamp(0.0, 1.0)) as u32;
        Self::new(NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN))
    }

    /// How long until the next may pass; zero if it may now.
    pub(super) fn wait(&self, now: Nanos) -> Duration {
        Nanos(self.due.0.saturating_sub(self.tolerance_ns)).since(now)
    }

    /// One passes.
    pub(super) fn take(&mut self, now: Nanos) {
        self.due = Nanos(self.due.max(now).0.saturating_add(self.interval_ns));
    }

    pub(super) fn per_second(&self) -> f64 {
        NS_PER_S as f64 / self.interval_ns as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asks at each of `gaps_us` and returns when those passed that might.
    fn passed(per_second: u32, gaps_us: &[u64]) -> Vec<Nanos> {
        let mut pace = Pace::new(NonZeroU32::new(per_second).unwrap());
        let mut now = Nanos(NS_PER_S);
        let mut passed = Vec::new();
        for gap_us in gaps_us {
            now = now.after(Duration::from_micros(*gap_us));
            if pace.wait(now).is_zero() {
                pace.take(now);
                passed.push(now);
            }
        }
        passed
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_its_rate_and_the_burst(
            per_second in 1..500_u32,
            gaps_us in prop::collection::vec(0..20_000_u64, 1..4_000),
        ) {
            let passed = passed(per_second, &gaps_us);
            let most = (f64::from(per_second) * (1.0 + BURST_SHARE)) as usize + 1;
            for (index, first) in passed.iter().enumerate() {
                let within = passed[index..].iter().take_while(|at| at.ns_since(*first) < NS_PER_S).count();
                prop_assert!(within <= most, "{within} in a second, {most} allowed");
            }
        }
    }

    #[test]
    fn whoever_asks_all_the_time_gets_the_whole_rate() {
        let passed = passed(200, &[1_000; 10_000]);
        assert!((1_990..=2_010).contains(&passed.len()), "{} in ten seconds at 200/s", passed.len());
    }

    #[test]
    fn a_timer_that_comes_late_does_not_cost_the_rate() {
        // 1,000/s asked for in handfuls every 10 ms.
        let gaps: Vec<u64> = (0..10_000).map(|n| if n % 20 == 0 { 10_000 } else { 0 }).collect();
        let passed = passed(1_000, &gaps);
        assert!(passed.len() >= 4_900, "{} in five seconds at 1,000/s", passed.len());
    }
}
