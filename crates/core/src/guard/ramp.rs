//! The time after a start: of loads that are not critical, a share is let through that grows from a floor to all.

use std::time::Duration;

use super::rules::LoadLimits;
use crate::env::Nanos;

/// How soon whoever was refused may ask again at the latest, in milliseconds: the share grows all the time.
const RETRY_AFTER_MS_MAX: u64 = 1_000;

/// Lets a growing share through, evenly: of any ten that come at a share of a tenth, one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    began: Nanos,
    span: Duration,
    floor: f64,
    /// What those refused so far leave to the next one.
    credit: f64,
}

impl Ramp {
    /// One that begins now; none where none is declared.
    pub(super) fn begin(limits: &LoadLimits, now: Nanos) -> Option<Self> {
        let (span, floor) = (limits.ramp, limits.ramp_floor.clamp(0.0, 1.0));
        // The first is let through, so that something is learned of the source.
        (!span.is_zero()).then_some(Self { began: now, span, floor, credit: 1.0 })
    }

    /// What share, 0 to 1, is let through.
    pub(super) fn share(&self, now: Nanos) -> f64 {
        let done = now.since(self.began).as_secs_f64() / self.span.as_secs_f64();
        (self.floor + (1.0 - self.floor) * done).min(1.0)
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        now.since(self.began) >= self.span
    }

    /// Whether the one that comes now is let through.
    pub(super) fn admits(&mut self, now: Nanos) -> bool {
        self.credit = (self.credit + self.share(now)).min(2.0);
        let admits = self.credit >= 1.0;
        if admits {
            self.credit -= 1.0;
        }
        admits
    }

    /// When whoever is refused now may ask again, in milliseconds.
    pub(super) fn retry_after_ms(&self, now: Nanos) -> u64 {
        let left = self.span.saturating_sub(now.since(self.began));
        (left.as_millis() as u64).clamp(1, RETRY_AFTER_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ramp(span: Duration, floor: f64) -> Ramp {
        let limits = LoadLimits { ramp: span, ramp_floor: floor, ..LoadLimits::default() };
        Ramp::begin(&limits, Nanos(1)).unwrap()
    }

    #[test]
    fn none_is_begun_where_none_is_declared() {
        assert!(Ramp::begin(&LoadLimits::default(), Nanos(1)).is_none());
    }

    proptest! {
        #[test]
        fn in_each_part_of_the_ramp_the_declared_share_is_let_through(
            span_ms in 1_000_u64..100_000, floor in 0.0..1.0_f64,
        ) {
            let mut ramp = ramp(Duration::from_millis(span_ms), floor);
            const PART: usize = 1_000;
            for part in 0..10_usize {
                let mut admitted = 0;
                for n in 0..PART {
                    let done = (part * PART + n) as f64 / (10 * PART) as f64;
                    let now = Nanos(1).after(Duration::from_millis(span_ms).mul_f64(done));
                    prop_assert!(!ramp.is_over(now));
                    admitted += usize::from(ramp.admits(now));
                }
                let share = floor + (1.0 - floor) * (part as f64 + 0.5) / 10.0;
                let off = admitted as f64 - share * PART as f64;
                prop_assert!(off.abs() <= 3.0, "{admitted} of {PART} in part {part}, {share} declared");
            }
            let end = Nanos(1).after(Duration::from_millis(span_ms));
            prop_assert!(ramp.is_over(end));
            prop_assert!((0..100).all(|_| ramp.admits(end)));
        }
    }
}
