//! How long changes take on their way, counted in buckets.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of [`StageDelays`], in microseconds.
pub const DELAY_BOUNDS_US: [u64; 14] = [
    250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// How long one stage of the way took, for each transaction.
#[derive(Debug, Default)]
pub struct StageDelays {
    /// One more bucket than bounds, for everything longer.
    pub buckets: [AtomicU64; DELAY_BOUNDS_US.len() + 1],
    /// Sum, in microseconds.
    pub sum_us: AtomicU64,
}

impl StageDelays {
    pub(super) fn add(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket =
            DELAY_BOUNDS_US.iter().position(|bound| delay_us <= *bound).unwrap_or(DELAY_BOUNDS_US.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(delay_us, Ordering::Relaxed);
    }

    /// The number of transactions in each bucket.
    #[must_use]
    pub fn counts(&self) -> [u64; DELAY_BOUNDS_US.len() + 1] {
        self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// The bound, in microseconds, at or below which `share` of them lie; none before the first, and beyond the last bound.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let counts = self.counts();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        DELAY_BOUNDS_US.get(bucket).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_below_which_that_share_lies() {
        let delays = StageDelays::default();
        assert_eq!(delays.quantile_us(0.5), None);
        (0..99).for_each(|_| delays.add(Duration::from_micros(400)));
        delays.add(Duration::from_secs(60));
        assert_eq!(delays.quantile_us(0.5), Some(500));
        assert_eq!(delays.quantile_us(0.99), Some(500));
        assert_eq!(delays.quantile_us(1.0), None);
    }
}
