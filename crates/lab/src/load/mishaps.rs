//! What becomes of messages on their way: some come late, behind those sent after them, and some come twice.

use rand::{Rng as _, rngs::StdRng};

/// How a broker or a network delivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mishaps {
    /// Share of messages that come twice.
    pub(crate) twice: f64,
    /// Share of messages that come late.
    pub(crate) late: f64,
    /// By how many others they are overtaken, at most.
    pub(crate) late_by_max: usize,
}

impl Mishaps {
    /// What arrives of `sent`, and in which order: nothing is lost.
    pub(crate) fn deliver<T: Clone>(&self, sent: &[T], dice: &mut StdRng) -> Vec<T> {
        let mut arrived: Vec<(usize, T)> = Vec::with_capacity(sent.len() * 2);
        let late = |dice: &mut StdRng| dice.random_range(1..=self.late_by_max.max(1)) + 1;
        for (place, message) in sent.iter().enumerate() {
            let at = if dice.random_bool(self.late) { place + late(dice) } else { place };
            arrived.push((at, message.clone()));
            if dice.random_bool(self.twice) {
                arrived.push((at + late(dice), message.clone()));
            }
        }
        // Stable: what comes at one place stays in the order in which it was sent.
        arrived.sort_by_key(|(at, _)| *at);
        arrived.into_iter().map(|(_, message)| message).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn all_arrive_some_twice_and_some_behind_later_ones() {
        let sent: Vec<u32> = (0..1_000).collect();
        let mishaps = Mishaps { twice: 0.1, late: 0.2, late_by_max: 5 };
        let arrived = mishaps.deliver(&sent, &mut StdRng::seed_from_u64(3));
        assert_eq!(arrived, mishaps.deliver(&sent, &mut StdRng::seed_from_u64(3)));
        assert!(sent.iter().all(|message| arrived.contains(message)));
        assert!((1_050..1_150).contains(&arrived.len()), "{}", arrived.len());
        assert!(arrived.windows(2).any(|pair| pair[0] > pair[1]), "nothing came late");
        let calm = Mishaps { twice: 0.0, late: 0.0, late_by_max: 5 };
        assert_eq!(calm.deliver(&sent, &mut StdRng::seed_from_u64(3)), sent);
    }
}
