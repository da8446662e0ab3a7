//! Which keys of a class are worth keeping, where there is no end of keys.

use std::hash::BuildHasher;

use super::{FrequencySketch, HotKeys, sketch::COUNT_MAX};
use crate::key::KeyHashBuilder;

/// The sketch tells so many times the keys that are kept apart, and forgets by half after as many times as many reads.
const REMEMBERED_PER_KEPT: u64 = 8;

/// Decides which keys are kept: those that were asked for often enough lately, and those that are known to be hot.
///
/// Only reads that memory could not answer are counted: a key that is kept needs no more of them, and one that was evicted
/// has to be asked for often enough again.
#[derive(Debug)]
pub struct Admission {
    seen: u8,
    sketch: FrequencySketch,
    hot: HotKeys,
    hasher: KeyHashBuilder,
}

impl Admission {
    /// Keeps keys that were asked for `seen` times lately, and those in `hot`; `keys_max` are kept at once, at most.
    #[must_use]
    pub fn new(seen: u8, keys_max: u32, hot: HotKeys) -> Self {
        let remembered = u64::from(keys_max) * REMEMBERED_PER_KEPT;
        Self {
            seen: seen.min(COUNT_MAX),
            sketch: FrequencySketch::new(remembered as usize / 2, remembered),
            hot,
            hasher: KeyHashBuilder::default(),
        }
    }

    /// Notes that `key`, in normal form, was asked for and not in memory.
    pub fn note(&self, key: &str) {
        self.sketch.add(self.hasher.hash_one(key));
    }

    /// `key` is known to be asked for often enough, from before a restart or from an access log.
    pub fn vouch(&self, key: &str) {
        let hash = self.hasher.hash_one(key);
        for _ in self.sketch.count(hash)..self.seen {
            self.sketch.add(hash);
        }
    }

    /// Whether `key` is to be kept.
    #[must_use]
    pub fn admits(&self, key: &str) -> bool {
        self.sketch.count(self.hasher.hash_one(key)) >= self.seen || self.hot.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_once_it_was_asked_for_often_enough_and_hot_ones_at_once() {
        let admission = Admission::new(3, 100, HotKeys::parse("hot=*").unwrap());
        for asked in 1..=3 {
            admission.note("a");
            assert_eq!(admission.admits("a"), asked == 3, "{asked}");
        }
        assert!(admission.admits("hot=1") && !admission.admits("b"));
    }

    #[test]
    fn a_key_that_is_vouched_for_is_kept_at_once() {
        let admission = Admission::new(3, 100, HotKeys::default());
        admission.vouch("a");
        assert!(admission.admits("a") && !admission.admits("b"));
    }

    #[test]
    fn what_is_asked_for_rarely_is_forgotten() {
        let admission = Admission::new(2, 100, HotKeys::default());
        admission.note("rare");
        // Two periods of others.
        (0..2_000).for_each(|key| admission.note(&format!("other {key}")));
        admission.note("rare");
        assert!(!admission.admits("rare"));
    }
}
