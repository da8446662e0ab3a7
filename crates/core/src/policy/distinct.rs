//! How many different texts were seen, in memory that does not grow with them: the k smallest hashes (Bar-Yossef and others, 2002).
//!
//! As long as there are no more than k, they are counted exactly. Beyond, the k-th smallest of hashes that are spread evenly tells
//! how many there are, within `1 / sqrt(k)` of it in two cases of three. What is kept is at the same time an even sample of what was
//! seen.
//!
//! Own code: it is a page, and the sketches in the registries do not tell whether a text is among the sample.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

/// Counts different texts.
#[derive(Clone, Debug)]
pub struct Distinct {
    smallest: BTreeSet<u64>,
    hashes_max: usize,
}

impl Distinct {
    /// Keeps `hashes_max` hashes at most, two at least: 8 bytes each and what a tree adds.
    #[must_use]
    pub const fn new(hashes_max: usize) -> Self {
        Self { smallest: BTreeSet::new(), hashes_max: if hashes_max < 2 { 2 } else { hashes_max } }
    }

    /// Counts `text`. True if it was certainly not seen before and is now part of the sample; once there are more than can be
    /// kept, a new text may also be none of it.
    pub fn note(&mut self, text: &str) -> bool {
        let hash = xxh3_64(text.as_bytes());
        if self.is_exact() {
            return self.smallest.insert(hash);
        }
        let largest = self.smallest.last().copied().unwrap_or(u64::MAX);
        if hash >= largest || !self.smallest.insert(hash) {
            return false;
        }
        self.smallest.pop_last();
        true
    }

    /// How many different texts were seen: exactly if [`is_exact`](Self::is_exact), else about so many.
    #[must_use]
    pub fn count(&self) -> u64 {
        let kept = self.smallest.len() as u64;
        match self.smallest.last() {
            Some(largest) if !self.is_exact() => {
                let share = (*largest as f64 + 1.0) / 2.0_f64.powi(64);
                ((kept - 1) as f64 / share).round() as u64
            }
            _ => kept,
        }
    }

    /// Whether every text seen is still part of the sample.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.smallest.len() < self.hashes_max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_are_counted_exactly_and_each_is_new_once() {
        let mut seen = Distinct::new(100);
        for round in 0..3 {
            for text in 0..99 {
                assert_eq!(seen.note(&text.to_string()), round == 0, "{text} in round {round}");
            }
        }
        assert_eq!((seen.count(), seen.is_exact()), (99, true));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!((Distinct::new(0).count(), Distinct::new(0).is_exact()), (0, true));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn many_are_counted_within_a_few_times_the_error_and_none_twice(many in 2_000..60_000_u32, salt: u32) {
            let mut seen = Distinct::new(1_024);
            let mut sampled = 0_u32;
            for _ in 0..2 {
                sampled = (0..many).filter(|text| seen.note(&format!("{salt}-{text}"))).count() as u32;
            }
            prop_assert_eq!(sampled, 0, "all were seen in the first round");
            prop_assert!(seen.smallest.len() <= 1_024);
            let off = (seen.count() as f64 / f64::from(many) - 1.0).abs();
            prop_assert!(off < 5.0 / 32.0, "{} of {many}", seen.count());
        }
    }
}
