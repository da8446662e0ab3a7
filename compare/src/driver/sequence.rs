//! Keys in the order in which they are read and written, the same for every rival.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, Zipf};

/// How uneven: the exponent that most published traces of caches come to.
const EXPONENT: f64 = 0.99;

/// Writes `count` keys out of 1 to `keys`: a popular few, by `seed`.
pub(crate) fn write(path: &Path, keys: u32, count: usize, seed: u64) -> Result<()> {
    let (ranks, mut dice) = (Zipf::new(f64::from(keys), EXPONENT)?, StdRng::seed_from_u64(seed));
    let drawn = ranks.sample_iter(&mut dice).take(count);
    let bytes: Vec<u8> = drawn.flat_map(|rank| (rank as u32).to_le_bytes()).collect();
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads them back.
pub(crate) fn read(path: &Path) -> Result<Arc<[i64]>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (keys, _) = bytes.as_chunks::<4>();
    Ok(keys.iter().map(|key| i64::from(u32::from_le_bytes(*key))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence_in_which_few_keys_are_popular() {
        let folder = tempfile::tempdir().unwrap();
        let [one, same, other] = ["one", "same", "other"].map(|name| folder.path().join(name));
        write(&one, 100, 10_000, 7).unwrap();
        write(&same, 100, 10_000, 7).unwrap();
        write(&other, 100, 10_000, 8).unwrap();
        let keys = read(&one).unwrap();
        assert_eq!(keys, read(&same).unwrap());
        assert_ne!(keys, read(&other).unwrap());
        assert!(keys.iter().all(|key| (1..=100).contains(key)));
        let first = keys.iter().filter(|key| **key == 1).count();
        assert!((1_500..2_500).contains(&first), "{first}");
    }
}
