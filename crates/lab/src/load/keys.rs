//! Which keys are asked for: drawn from a distribution, or as a trace has them.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::zipf::Zipf;

/// Keys, one after another, by a seed.
#[derive(Debug)]
pub(crate) struct Keys {
    from: Origin,
    dice: StdRng,
}

#[derive(Debug)]
enum Origin {
    Zipf(Zipf<i64>),
    Trace { keys: Vec<i64>, next: usize },
}

impl Keys {
    /// `count` keys from 1 on, of which a few are asked for most; the seed chooses which.
    pub(crate) fn zipf(count: i64, exponent: f64, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut ranked: Vec<i64> = (1..=count.max(1)).collect();
        ranked.shuffle(&mut dice);
        Self { from: Origin::Zipf(Zipf::uneven(ranked, exponent)), dice }
    }

    /// The keys of a trace, in its order, from a place that the seed chooses, and from its beginning when it ends.
    pub(crate) fn trace(keys: Vec<i64>, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let next = dice.random_range(0..keys.len().max(1));
        Self { from: Origin::Trace { keys, next }, dice }
    }

    /// The next one.
    pub(crate) fn draw(&mut self) -> i64 {
        match &mut self.from {
            Origin::Zipf(zipf) => zipf.draw(&mut self.dice),
            Origin::Trace { keys, next } => {
                let key = keys.get(*next).copied().unwrap_or_default();
                *next = (*next + 1) % keys.len().max(1);
                key
            }
        }
    }

    /// The next so many.
    pub(crate) fn take(&mut self, count: usize) -> Vec<i64> {
        (0..count).map(|_| self.draw()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_keys_and_another_seed_another_favourite() {
        let keys = |seed| Keys::zipf(100, 0.99, seed).take(2_000);
        assert_eq!(keys(1), keys(1));
        let favourite = |keys: Vec<i64>| {
            let count = |key: i64| keys.iter().filter(|other| **other == key).count();
            (1..=100).max_by_key(|key| count(*key))
        };
        assert_ne!(favourite(keys(1)), favourite(keys(2)));
        assert!(keys(1).iter().all(|key| (1..=100).contains(key)));
    }

    #[test]
    fn a_trace_is_read_in_its_order_and_again_from_its_beginning() {
        let mut keys = Keys::trace(vec![5, 6, 7], 1);
        let read = keys.take(6);
        assert_eq!(read[..3], read[3..]);
        let first = read[0];
        assert!(
            read[..3].windows(2).all(|pair| pair[1] == pair[0] + 1 || (pair[0] == 7 && pair[1] == 5)),
            "{first}"
        );
        assert_eq!(Keys::trace(Vec::new(), 1).draw(), 0);
    }
}
