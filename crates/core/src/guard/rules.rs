//! How the source's capacity is shared between priorities: from values alone.

use std::{num::NonZeroU32, time::Duration};

use crate::class::Priority;

/// Most loads under way at once for a source, unless stated.
pub const SOURCE_LOADS_MAX_DEFAULT: NonZeroU32 = NonZeroU32::new(128).expect("128 is not zero");
/// Share of the source kept for critical loads, unless stated.
pub const CRITICAL_RESERVE_DEFAULT: f64 = 0.2;
/// Share of loads that are not critical with which a ramp begins, unless stated.
pub const RAMP_FLOOR_DEFAULT: f64 = 0.1;
/// What is left for loads that are not critical while a hit rate is below its floor. Something is: else it would never rise.
pub(super) const TRIPPED_SHARE: f64 = 0.25;
/// And of that for sheddable ones.
const TRIPPED_SHARE_SHEDDABLE: f64 = 0.125;

/// What one node may ask of its source, all classes together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadLimits {
    /// Most loads under way at once. The limit in force adapts to the source's latency and is never above.
    pub loads_max: NonZeroU32,
    /// Most loads begun in a second; none: as many as `loads_max` allows.
    pub loads_per_second_max: Option<NonZeroU32>,
    /// Share, 0 to 1, of both that only critical loads may take.
    pub critical_reserve: f64,
    /// How long, from the start of the node on, the share of loads for readers that are let through grows, critical ones
    /// aside; zero: all are from the start.
    pub ramp: Duration,
    /// The share, 0 to 1, with which that begins.
    pub ramp_floor: f64,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            loads_max: SOURCE_LOADS_MAX_DEFAULT,
            loads_per_second_max: None,
            critical_reserve: CRITICAL_RESERVE_DEFAULT,
            ramp: Duration::ZERO,
            ramp_floor: RAMP_FLOOR_DEFAULT,
        }
    }
}

/// How many loads that are not critical may be under way for one of this priority to join them; no bound for a critical one.
///
/// A normal load leaves the reserve alone, a sheddable one leaves as much again to the normal ones. One always may, so that
/// a small limit starves nobody for good.
pub(super) fn others_max(limit: f64, reserve: f64, priority: Priority, tripped: bool) -> Option<u32> {
    let share = match (priority, tripped) {
        (Priority::Critical, _) => return None,
        (Priority::Normal, true) => TRIPPED_SHARE,
        (Priority::Sheddable, true) => TRIPPED_SHARE_SHEDDABLE,
        (Priority::Normal, false) => 1.0 - reserve,
        (Priority::Sheddable, false) => 1.0 - 2.0 * reserve,
    };
    Some((limit * share).max(1.0) as u32)
}

/// Whether loads of this priority may wait for their turn; else they go at once, or not at all.
pub(super) fn may_wait(priority: Priority, tripped: bool) -> bool {
    !(tripped && priority == Priority::Sheddable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_less_important_gets_less_and_always_something() {
        let most = |priority, tripped| others_max(100.0, 0.2, priority, tripped);
        assert_eq!(most(Priority::Critical, true), None);
        assert_eq!((most(Priority::Normal, false), most(Priority::Sheddable, false)), (Some(80), Some(60)));
        assert_eq!(most(Priority::Normal, true), Some(25));
        assert_eq!(others_max(1.0, 0.9, Priority::Sheddable, false), Some(1));
        assert_eq!(most(Priority::Sheddable, true), Some(12));
        assert!(!may_wait(Priority::Sheddable, true) && may_wait(Priority::Normal, true));
        assert!(may_wait(Priority::Sheddable, false));
    }
}
