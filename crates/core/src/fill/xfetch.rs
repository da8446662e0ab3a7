//! Probabilistic early refresh (XFetch): Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
//! Prevention", VLDB 2015.
//!
//! A reader refreshes when `now - delta * beta * ln(rand) >= end`, with `delta` the time that a load takes. So the chance of a
//! reader who comes `left` before the end is `exp(-left / (delta * beta))`: next to nothing far from it, 1 at it.

use std::time::Duration;

/// Beyond so many times `delta * beta` before the end the chance of a reader is below one in a billion, and no number is drawn.
const WINDOW_SPREADS: f64 = 21.0;
/// Distinct values of a draw.
const DRAWS: f64 = (1_u64 << 53) as f64;

/// How long before its end an entry is looked at more closely than by one comparison.
pub(crate) fn window(delta: Duration, beta: f64) -> Duration {
    Duration::try_from_secs_f64(delta.as_secs_f64() * beta * WINDOW_SPREADS).unwrap_or(Duration::MAX)
}

/// Whether the reader who drew `random`, `left` before the end, is to refresh.
pub(crate) fn is_due(left: Duration, delta: Duration, beta: f64, random: u64) -> bool {
    // In (0, 1]: the logarithm of zero would be due at any distance.
    let rand = ((random >> 11) as f64 + 1.0) / DRAWS;
    left.as_secs_f64() <= -delta.as_secs_f64() * beta * rand.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::random;

    const DELTA: Duration = Duration::from_millis(100);

    /// Share of draws that are due.
    fn share(left: Duration, beta: f64) -> f64 {
        const DRAWN: u32 = 200_000;
        let due = (0..DRAWN).filter(|_| is_due(left, DELTA, beta, random::number())).count();
        due as f64 / f64::from(DRAWN)
    }

    #[test]
    fn the_chance_is_the_published_one() {
        for beta in [0.5, 1.0, 2.0] {
            for spreads in [0.1_f64, 0.5, 1.0, 2.0, 4.0] {
                let expected = (-spreads).exp();
                let got = share(DELTA.mul_f64(spreads * beta), beta);
                // Five standard deviations of a share of 200,000.
                assert!((got - expected).abs() < 0.006, "{got} at {spreads} spreads, {expected} expected");
            }
        }
        assert_eq!(share(Duration::ZERO, 1.0), 1.0, "at the end everybody refreshes");
    }

    proptest! {
        #[test]
        fn nobody_is_due_outside_the_window_by_more_than_the_rarest_draws(random in 1_u64 << 34.., beta in 0.01..100.0_f64) {
            let outside = window(DELTA, beta) + Duration::from_nanos(1);
            prop_assert!(!is_due(outside, DELTA, beta, random));
        }

        #[test]
        fn nearer_to_the_end_nobody_is_less_due(random: u64, near_ms in 0_u64..1000, further_ms in 0_u64..1000) {
            let left = |ms| Duration::from_millis(ms);
            prop_assert!(is_due(left(near_ms), DELTA, 1.0, random) || !is_due(left(near_ms + further_ms), DELTA, 1.0, random));
        }
    }

    #[test]
    fn nonsense_is_no_panic() {
        assert_eq!(window(Duration::MAX, f64::MAX), Duration::MAX);
        assert_eq!(window(DELTA, f64::NAN), Duration::MAX);
        assert!(!is_due(Duration::MAX, Duration::ZERO, 1.0, 0));
    }
}
