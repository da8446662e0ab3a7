//! A log of requests, replayed through the memory tier itself: what another size or another policy would have missed.
//!
//! Of a long log a sample of the keys is enough, if it is taken by the hash of the key, so that a key is in it with all of its requests
//! or not at all, and the tier is made smaller by the same share (SHARDS; Waldspurger and others, FAST 2015). A share of 1 in 100
//! of a large workload tells its miss ratios within about a point.

use std::{collections::HashMap, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

use super::{MemoryConfig, MemoryTier, Policy, Uses, Weighed};
use crate::key::KeyHashBuilder;

/// Keys below which a sample would say too little: then it is the end of the log that is left out.
const KEPT_KEYS_MIN: usize = 8_192;

/// The requests of a log, in their order. Keys are kept as hashes of 64 bits.
#[derive(Clone, Debug)]
pub struct Replay {
    numbers: HashMap<u64, u32, KeyHashBuilder>,
    /// Numbers of keys, in the order in which they were asked for.
    requests: Vec<u32>,
    /// Keys with a hash up to this one are kept.
    hash_max: u64,
    /// Requests up to the last one that was recorded, kept or not.
    seen: u64,
    /// Requests after that one.
    unseen: u64,
    has_ended: bool,
}

impl Default for Replay {
    /// Nothing was asked for yet; every key will be kept.
    fn default() -> Self {
        Self::of_share(1.0)
    }
}

/// One key, as an entry of weight 1.
struct Page {
    key: String,
    uses: Uses,
}

impl Weighed for Page {
    fn weight(&self) -> usize {
        1
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn uses(&self) -> &Uses {
        &self.uses
    }
}

impl Replay {
    /// Keeps this share of the keys, above 0 to 1.
    #[must_use]
    pub fn of_share(share: f64) -> Self {
        Self {
            numbers: HashMap::default(),
            requests: Vec::new(),
            // The conversion saturates.
            hash_max: (share * 2.0_f64.powi(64)) as u64,
            seen: 0,
            unseen: 0,
            has_ended: false,
        }
    }

    /// Records a request for `key`.
    pub fn note(&mut self, key: &str) {
        if self.has_ended {
            self.unseen += 1;
            return;
        }
        self.seen += 1;
        let hash = xxh3_64(key.as_bytes());
        if hash <= self.hash_max {
            let next = self.numbers.len() as u32;
            let number = *self.numbers.entry(hash).or_insert(next);
            self.requests.push(number);
        }
    }

    /// Halves what is kept and will be: every other key goes, as if it had never been recorded. Where that would leave too few
    /// to say anything, recording ends instead, and all is about the requests so far.
    pub fn thin(&mut self) {
        if self.numbers.len() < 2 * KEPT_KEYS_MIN {
            self.has_ended = true;
            return;
        }
        self.hash_max /= 2;
        let mut moved = vec![None; self.numbers.len()];
        let mut next = 0;
        let hash_max = self.hash_max;
        self.numbers.retain(|hash, number| {
            let stays = *hash <= hash_max;
            if stays {
                moved[*number as usize] = Some(next);
                *number = next;
                next += 1;
            }
            stays
        });
        self.requests = self.requests.iter().filter_map(|number| moved[*number as usize]).collect();
    }

    /// Whether what comes next will be part of this.
    #[must_use]
    pub const fn is_recording(&self) -> bool {
        !self.has_ended
    }

    /// All requests up to the last one that is part of this.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.seen
    }

    /// Requests that came after recording had ended.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.unseen
    }

    /// Requests that are kept in memory.
    #[must_use]
    pub const fn kept_requests(&self) -> usize {
        self.requests.len()
    }

    /// Different keys that are kept in memory.
    #[must_use]
    pub fn kept_keys(&self) -> usize {
        self.numbers.len()
    }

    /// Different keys of the log: exactly if all are kept, else about so many.
    #[must_use]
    pub fn keys(&self) -> u64 {
        (self.numbers.len() as f64 / self.share()).round() as u64
    }

    /// Share of the keys that is kept, above 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.hash_max as f64 / 2.0_f64.powi(64)).max(f64::MIN_POSITIVE)
    }

    /// Share of requests that a memory without end would miss: the first one of each key.
    #[must_use]
    pub fn least_miss_ratio(&self) -> f64 {
        self.ratio(self.numbers.len() as u64)
    }

    /// Share of requests, 0 to 1, that find nothing in a tier of `entries` under `policy`, which begins empty. Of a sample it
    /// is what the whole log would have missed in a whole tier, about.
    #[must_use]
    pub fn miss_ratio(&self, policy: Policy, entries: usize) -> f64 {
        let entries = ((entries as f64 * self.share()).round() as usize).max(1);
        let config = MemoryConfig::new(entries)
            .with_policy(policy)
            .with_overhead_bytes(0)
            .with_entry_bytes_expected(1);
        let tier = MemoryTier::new(&config);
        // Made anew for each tier: an entry carries a note of the tier that holds it.
        let pages: Vec<Arc<Page>> = (0..self.numbers.len())
            .map(|number| Arc::new(Page { key: number.to_string(), uses: Uses::default() }))
            .collect();
        let mut misses = 0_u64;
        for request in &self.requests {
            let page = &pages[*request as usize];
            if tier.get(page.key()).is_none() {
                misses += 1;
                let _ = tier.insert(Arc::clone(page));
            }
        }
        self.ratio(misses)
    }

    /// Misses of the sample over the requests that a sample of this share should have had: whether it holds the hottest key of
    /// all, which is never missed, must not move the ratio.
    fn ratio(&self, misses: u64) -> f64 {
        if self.seen == 0 {
            return 0.0;
        }
        (misses as f64 / (self.seen as f64 * self.share())).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replay(keys: impl IntoIterator<Item = u32>) -> Replay {
        let mut replay = Replay::default();
        keys.into_iter().for_each(|key| replay.note(&key.to_string()));
        replay
    }

    #[test]
    fn a_loop_one_longer_than_the_memory_is_all_misses_of_an_exact_lru() {
        let round = || replay((0..40).map(|step| step % 4));
        assert_eq!(round().miss_ratio(Policy::Lru, 3), 1.0);
        assert_eq!(round().miss_ratio(Policy::Lru, 4), 0.1, "four first requests of forty");
        assert_eq!(round().least_miss_ratio(), 0.1);
        assert_eq!(Replay::default().miss_ratio(Policy::S3Fifo, 1), 0.0, "nothing was missed");
    }

    /// Keys of a long tail: low ones often.
    fn skewed(requests: u64, keys: u64) -> impl Iterator<Item = u32> {
        let mut state = 42_u64;
        (0..requests).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let even = (state >> 11) as f64 / 2.0_f64.powi(53);
            ((keys as f64).powf(even)) as u32
        })
    }

    #[test]
    fn half_the_keys_tell_about_what_all_of_them_do() {
        let whole = replay(skewed(400_000, 150_000));
        let mut half = whole.clone();
        half.thin();
        assert_eq!(half.requests(), whole.requests());
        assert!((half.share() - 0.5).abs() < 1e-9 && half.kept_keys() < whole.kept_keys() * 6 / 10);
        let off = half.keys().abs_diff(whole.keys());
        assert!(off * 20 < whole.keys(), "{} of {}", half.keys(), whole.keys());
        for entries in [2_000, 8_000] {
            let (all, some) = (whole.miss_ratio(Policy::Lru, entries), half.miss_ratio(Policy::Lru, entries));
            assert!((all - some).abs() < 0.03, "{all} and {some} at {entries}");
        }
        // What is kept goes on as if it had been thinned from the start.
        let mut from_the_start = Replay::of_share(0.5);
        skewed(400_000, 150_000).for_each(|key| from_the_start.note(&key.to_string()));
        assert_eq!(from_the_start.kept_keys(), half.kept_keys());
        assert_eq!(from_the_start.miss_ratio(Policy::Lru, 2_000), half.miss_ratio(Policy::Lru, 2_000));
    }

    #[test]
    fn of_few_keys_it_is_the_end_of_the_log_that_is_left_out() {
        let mut few = replay((0..100).map(|step| step % 10));
        few.thin();
        few.note("11");
        assert_eq!((few.requests(), few.left_out(), few.kept_keys()), (100, 1, 10));
        assert_eq!(few.miss_ratio(Policy::Lru, 10), 0.1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_memory_without_end_misses_each_key_once(keys in prop::collection::vec(0..300_u32, 1..2_000)) {
            let replay = replay(keys.iter().copied());
            let distinct = keys.iter().collect::<std::collections::HashSet<_>>().len();
            let once = distinct as f64 / keys.len() as f64;
            prop_assert_eq!((replay.keys(), replay.least_miss_ratio()), (distinct as u64, once));
            for policy in Policy::ALL {
                prop_assert_eq!(replay.miss_ratio(policy, 5_000), once, "{}", policy);
            }
        }

        #[test]
        fn an_exact_lru_misses_less_the_larger_it_is(keys in prop::collection::vec(0..60_u32, 1..1_000)) {
            let replay = replay(keys);
            let ratios: Vec<f64> = (1..64).map(|entries| replay.miss_ratio(Policy::Lru, entries)).collect();
            prop_assert!(ratios.windows(2).all(|pair| pair[1] <= pair[0]), "{ratios:?}");
        }
    }
}
