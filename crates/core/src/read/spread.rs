//! When entries end: whether many of them will be loaded in one second.

use std::time::Duration;

use super::Class;
use crate::entry::CacheValue;

/// Seconds looked ahead.
const AHEAD_S: usize = 60;
/// Most entries looked at: a millisecond at most, and a share of 1 % is still shown.
const SAMPLE_MAX: usize = 4_096;

/// How many entries in memory come to their end within the next minute, estimated from a sample.
///
/// The end is where even an entry in use is loaded again: of the life where a class is bounded by age, else of the hard age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpirySpread {
    /// In the whole minute.
    pub next_minute: u64,
    /// In its busiest second. Spread evenly, a sixtieth of the former.
    pub busiest_second: u64,
}

impl<K, V: CacheValue> Class<K, V> {
    /// When entries end. Looks at a sample: for a scrape now and then, not for each read.
    #[must_use]
    pub fn expiry_spread(&self) -> ExpirySpread {
        let sample = self.core.tier.sample(SAMPLE_MAX);
        let now = self.core.clock.now();
        let mut seconds = [0_u64; AHEAD_S];
        for entry in &sample {
            let left = self.core.end_of(entry).since(now);
            if !left.is_zero()
                && let Some(second) = usize::try_from(left.as_secs()).ok().and_then(|s| seconds.get_mut(s))
            {
                *second += 1;
            }
        }
        let scale = self.core.tier.len().max(sample.len()) as f64 / sample.len().max(1) as f64;
        let scaled = |count: u64| (count as f64 * scale).round() as u64;
        ExpirySpread {
            next_minute: scaled(seconds.iter().sum()),
            busiest_second: scaled(seconds.into_iter().max().unwrap_or(0)),
        }
    }

    /// What a load of the class usually takes; none before the first.
    #[must_use]
    pub fn usual_load_time(&self) -> Option<Duration> {
        self.core.load_time.usual()
    }
}
