//! How long an entry may live, spread so that entries stored together don't end together.

use std::time::Duration;

/// `life` shortened by up to `jitter` of it (0 to 1; values outside are taken as the nearer end), uniformly by `random`.
///
/// Jitter only shortens: a life is a bound, and an entry must not outlive it. The result is in
/// `(life - jitter * life, life]`, so it is zero only if `life` is.
#[must_use]
pub fn jittered(life: Duration, jitter: f64, random: u64) -> Duration {
    let jitter = jitter.clamp(0.0, 1.0);
    // The conversion saturates, and takes a NaN as no jitter.
    let spread_ns = (life.as_nanos().min(u128::from(u64::MAX)) as f64 * jitter) as u64;
    // Floats round: a spread longer than the life would make the subtraction below saturate to zero.
    let spread_ns = u128::from(spread_ns).min(life.as_nanos());
    let cut_ns = (spread_ns * u128::from(random)) >> u64::BITS;
    life - Duration::from_nanos(cut_ns as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bins of the histogram that checks uniformity.
    const BINS: usize = 16;

    proptest! {
        #[test]
        fn never_longer_than_the_life_and_never_shorter_than_the_jitter_allows(
            life_ns in 0..=u64::MAX,
            jitter in 0.0..=1.0_f64,
            random: u64,
        ) {
            let life = Duration::from_nanos(life_ns);
            let got = jittered(life, jitter, random);
            prop_assert!(got <= life);
            prop_assert!(life.is_zero() || !got.is_zero());
            let least = (1.0 - jitter) * life_ns as f64;
            prop_assert!(got.as_nanos() as f64 >= least * (1.0 - 1e-9), "{got:?} < {least} ns");
        }

        #[test]
        fn a_larger_draw_never_lengthens(life_ns in 0..=u64::MAX, jitter in 0.0..=1.0_f64, a: u64, b: u64) {
            let life = Duration::from_nanos(life_ns);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(jittered(life, jitter, high) <= jittered(life, jitter, low));
        }
    }

    #[test]
    fn evenly_spaced_draws_fill_the_span_evenly() {
        let life = Duration::from_secs(100);
        let mut bins = [0_u32; BINS];
        for step in 0..=u64::from(u16::MAX) {
            let cut = life - jittered(life, 0.2, step << 48);
            let share = cut.as_secs_f64() / 20.0;
            bins[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let each = (u32::from(u16::MAX) + 1) / BINS as u32;
        assert!(bins.iter().all(|&count| count.abs_diff(each) <= 1), "{bins:?}");
    }

    #[test]
    fn the_ends_are_exact_and_nonsense_is_clamped() {
        let life = Duration::from_secs(10);
        assert_eq!(jittered(life, 0.5, 0), life);
        assert_eq!(jittered(life, 0.0, u64::MAX), life);
        assert_eq!(jittered(life, f64::NAN, u64::MAX), life);
        assert_eq!(jittered(life, -1.0, u64::MAX), life);
        assert_eq!(jittered(life, 7.0, u64::MAX), Duration::from_nanos(1));
        assert_eq!(jittered(Duration::MAX, 1.0, 0), Duration::MAX);
    }
}
