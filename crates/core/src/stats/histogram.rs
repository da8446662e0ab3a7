//! Histograms with fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the read duration's buckets, in nanoseconds: 100 ns to 1 s.
pub const READ_BOUNDS_NS: [u64; 14] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];

/// Upper bounds of the load duration's buckets, in microseconds: 5 us to 30 s.
pub const LOAD_BOUNDS_US: [u64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 500_000, 5_000_000, 30_000_000];

/// Upper bounds of the ages at eviction, in milliseconds: 10 ms to 1 d.
pub const EVICTION_AGE_BOUNDS_MS: [u64; 10] =
    [10, 100, 1_000, 5_000, 30_000, 60_000, 300_000, 1_800_000, 10_800_000, 86_400_000];

/// Counts of values by bucket. `N` bounds make `N` buckets, and values above the last bound are counted apart.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    buckets: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// What a [`Histogram`] has counted, in the unit of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramCounts {
    /// Upper bound and count of each bucket; the last has no bound.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// Sum of all values.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// Empty, with ascending upper `bounds`.
    #[must_use]
    pub fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one value.
    pub fn record(&self, value: u64) {
        let bucket = match self.bounds.iter().position(|bound| value <= *bound) {
            Some(index) => &self.buckets[index],
            None => &self.above,
        };
        bucket.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> HistogramCounts {
        let bounded =
            self.bounds.iter().zip(&self.buckets).map(|(b, n)| (Some(*b), n.load(Ordering::Relaxed)));
        let buckets = bounded.chain([(None, self.above.load(Ordering::Relaxed))]).collect();
        HistogramCounts { buckets, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl HistogramCounts {
    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The bound below which at least `share` (0 to 1) of the values lie; none when empty or beyond the last bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets.iter().find_map(|(bound, count)| {
            seen += count;
            (seen >= wanted).then_some(*bound)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new([10, 20]);
        for value in [1, 10, 11, 21, 1000] {
            histogram.record(value);
        }
        let counts = histogram.counts();
        assert_eq!(counts.buckets, [(Some(10), 2), (Some(20), 1), (None, 2)]);
        assert_eq!((counts.count(), counts.sum), (5, 1043));
        assert_eq!(counts.quantile(0.4), Some(10));
        assert_eq!(counts.quantile(0.5), Some(20));
        assert_eq!(counts.quantile(0.9), None);
    }
}
