//! Some objects are read and written far more often than others, as in life.

use rand::rngs::StdRng;
use rand_distr::Distribution as _;

/// How uneven: the exponent that most published traces of caches come to.
pub(crate) const EXPONENT: f64 = 0.99;

/// Objects, in their order of popularity.
#[derive(Debug)]
pub(crate) struct Zipf<T> {
    objects: Vec<T>,
    ranks: Option<rand_distr::Zipf<f64>>,
}

impl<T: Copy + Default> Zipf<T> {
    /// The first is the most popular.
    pub(crate) fn ordered(objects: Vec<T>) -> Self {
        Self::uneven(objects, EXPONENT)
    }

    /// The first is the most popular, the more so the larger the exponent.
    pub(crate) fn uneven(objects: Vec<T>, exponent: f64) -> Self {
        let ranks = rand_distr::Zipf::new(objects.len() as f64, exponent).ok();
        Self { objects, ranks }
    }

    pub(crate) fn draw(&self, dice: &mut StdRng) -> T {
        let rank = self.ranks.as_ref().map_or(1.0, |ranks| ranks.sample(dice));
        self.objects.get(rank as usize - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_first_is_drawn_most_and_all_are_drawn() {
        let (zipf, mut dice) = (Zipf::ordered((0..10).collect::<Vec<u32>>()), StdRng::seed_from_u64(1));
        let mut counts = [0_u32; 10];
        (0..10_000).for_each(|_| counts[zipf.draw(&mut dice) as usize] += 1);
        assert!(counts[0] > 2 * counts[2] && counts.iter().all(|count| *count > 100), "{counts:?}");
    }
}
