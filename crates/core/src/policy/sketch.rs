//! How often keys were asked for lately, roughly and in fixed memory: a count-min sketch of four-bit counters that are all
//! halved now and then (the frequency sketch of TinyLFU, Einziger, Friedman and Manes, 2017).
//!
//! Own code, because the crates that have one keep it to themselves (moka, pingora), and those that show one do not age.

use std::sync::atomic::{AtomicU64, Ordering};

/// The highest count.
pub(super) const COUNT_MAX: u8 = 15;
/// Counters in one word.
const COUNTERS: u64 = 16;
/// Rows of the sketch: a key has a counter in each, and its count is the lowest.
const ROWS: u64 = 4;
/// Clears the highest bit of each counter, so that halving all of a word is one shift.
const HALF_MASK: u64 = 0x7777_7777_7777_7777;
/// Odd numbers that spread one hash over the rows.
const SEEDS: [u64; ROWS as usize] =
    [0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x9ae1_6a3b_2f90_404f, 0xcbf2_9ce4_8422_2325];

/// Counts keys by their hash.
///
/// Never counts too low between two halvings, as far as its counters reach; now and then too high, where keys share all of
/// their counters with others. Shared by any number of threads; counts that meet in one word at the same instant are all
/// counted.
pub struct FrequencySketch {
    words: Box<[AtomicU64]>,
    /// All counters are halved after so many additions.
    period: u64,
    additions: AtomicU64,
}

impl FrequencySketch {
    /// A sketch that tells about `keys` keys apart, and halves its counters after `period` additions. Takes 16 bytes a key,
    /// rounded up to a power of two.
    #[must_use]
    pub fn new(keys: usize, period: u64) -> Self {
        let words = keys.max(16).next_power_of_two() * 2;
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            period: period.max(1),
            additions: AtomicU64::new(0),
        }
    }

    /// Counts one more time, and returns the count.
    pub fn add(&self, hash: u64) -> u8 {
        let mut count = COUNT_MAX;
        for row in 0..ROWS {
            let (word, shift) = self.place(hash, row);
            let raise =
                |word: u64| ((word >> shift) & 0xF < u64::from(COUNT_MAX)).then(|| word + (1 << shift));
            let raised = match word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise) {
                Ok(before) => ((before >> shift) & 0xF) as u8 + 1,
                Err(_) => COUNT_MAX,
            };
            count = count.min(raised);
        }
        if self.additions.fetch_add(1, Ordering::Relaxed) + 1 == self.period {
            self.halve();
        }
        count
    }

    /// How often `hash` was counted lately.
    #[must_use]
    pub fn count(&self, hash: u64) -> u8 {
        let one = |row| {
            let (word, shift) = self.place(hash, row);
            ((word.load(Ordering::Relaxed) >> shift) & 0xF) as u8
        };
        (0..ROWS).map(one).min().unwrap_or_default()
    }

    /// Bytes of the counters.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words.len() * size_of::<AtomicU64>()
    }

    fn halve(&self) {
        for word in &self.words {
            let half = |word: u64| Some((word >> 1) & HALF_MASK);
            // Always some.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, half);
        }
        self.additions.store(self.period / 2, Ordering::Relaxed);
    }

    fn place(&self, hash: u64, row: u64) -> (&AtomicU64, u64) {
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(SEEDS[row as usize]);
        let spread = mixed ^ (mixed >> 29);
        let index = (spread >> 8) as usize & (self.words.len() - 1);
        // Each row has four counters of a word to itself.
        let shift = (row * ROWS + (spread & 3)) * (64 / COUNTERS);
        (&self.words[index], shift)
    }
}

impl std::fmt::Debug for FrequencySketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrequencySketch").field("words", &self.words.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    fn hashes(count: u64) -> Vec<u64> {
        let hasher = foldhash::quality::FixedState::with_seed(7);
        (0..count).map(|key| hasher.hash_one(key)).collect()
    }

    #[test]
    fn what_was_counted_is_not_told_too_low_and_rarely_too_high() {
        let sketch = FrequencySketch::new(10_000, u64::MAX);
        let keys = hashes(20_000);
        for (index, hash) in keys.iter().take(10_000).enumerate() {
            for _ in 0..index % 5 {
                sketch.add(*hash);
            }
        }
        let exact = |index: usize| (index % 5) as u8;
        let too_high = (0..10_000).filter(|i| sketch.count(keys[*i]) > exact(*i)).count();
        assert!((0..10_000).all(|i| sketch.count(keys[i]) >= exact(i)));
        assert!(too_high < 400, "{too_high} of 10,000");
        let unseen = keys[10_000..].iter().filter(|hash| sketch.count(**hash) > 0).count();
        assert!(unseen < 400, "{unseen} of 10,000");
    }

    #[test]
    fn counts_stop_at_the_highest_and_are_halved_after_a_period() {
        let sketch = FrequencySketch::new(16, 40);
        let key = hashes(1)[0];
        let counts: Vec<u8> = (0..39).map(|_| sketch.add(key)).collect();
        assert_eq!((counts[0], counts[14], counts[38]), (1, 15, 15));
        sketch.add(key);
        assert_eq!(sketch.count(key), 7, "the fortieth addition halves");
    }

    #[test]
    fn no_addition_is_lost_between_threads() {
        let sketch = FrequencySketch::new(1 << 12, u64::MAX);
        let keys = hashes(1_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| keys.iter().map(|hash| sketch.add(*hash)).max());
            }
        });
        assert!(keys.iter().all(|hash| sketch.count(*hash) >= 4));
    }
}
