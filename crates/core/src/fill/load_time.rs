//! How long the loads of a class usually take.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Weight of one load in the running mean: a spike fades within a dozen loads.
const WEIGHT: f64 = 1.0 / 8.0;

/// A running mean of load times, exponentially weighted.
#[derive(Debug, Default)]
pub(crate) struct LoadTime {
    /// In nanoseconds; zero before the first load.
    mean_ns: AtomicU64,
}

impl LoadTime {
    /// Takes account of a load that brought something. Two at once may count as one: it is a mean.
    pub(crate) fn note(&self, took: Duration) {
        let took_ns = took.as_nanos() as f64;
        let mean_ns = self.mean_ns.load(Ordering::Relaxed) as f64;
        let next = if mean_ns > 0.0 { mean_ns + (took_ns - mean_ns) * WEIGHT } else { took_ns };
        self.mean_ns.store((next as u64).max(1), Ordering::Relaxed);
    }

    /// What a load usually takes; none before the first.
    pub(crate) fn usual(&self) -> Option<Duration> {
        let mean_ns = self.mean_ns.load(Ordering::Relaxed);
        (mean_ns > 0).then(|| Duration::from_nanos(mean_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_first_load_and_follows_the_later_ones() {
        let time = LoadTime::default();
        assert_eq!(time.usual(), None);
        time.note(Duration::from_millis(100));
        assert_eq!(time.usual(), Some(Duration::from_millis(100)));
        for _ in 0..40 {
            time.note(Duration::from_millis(20));
        }
        let usual = time.usual().unwrap();
        assert!(usual > Duration::from_millis(20) && usual < Duration::from_millis(22), "{usual:?}");
    }
}
