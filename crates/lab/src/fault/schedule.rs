//! When which fault comes: each alone in an order that the seed chooses, then two at a time.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _, seq::SliceRandom as _};
use trueup_core::env::Nanos;

use super::{Fault, Kind, Part};
use crate::world::World;

/// Calm before each fault, so that what was normal is known.
const CALM: [u64; 2] = [1_500, 2_500];
/// Rest after each repair, in which late damage shows.
const REST: Duration = Duration::from_secs(2);
/// What is to come.
pub(crate) struct Plan {
    kinds: Vec<&'static Kind>,
    dice: StdRng,
    next: usize,
}

impl Plan {
    pub(crate) fn new(mut kinds: Vec<&'static Kind>, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed ^ 0xFA17);
        kinds.shuffle(&mut dice);
        Self { kinds, dice, next: 0 }
    }

    /// The faults of the next round: one, as long as there is one that was not alone yet; then two of different parts.
    fn next(&mut self) -> Vec<&'static Kind> {
        self.next += 1;
        if let Some(kind) = self.kinds.get(self.next - 1) {
            return vec![*kind];
        }
        let Some(first) = self.kinds.choose(&mut self.dice).copied() else { return Vec::new() };
        let others: Vec<_> = self.kinds.iter().copied().filter(|other| first.goes_with(other)).collect();
        let second = others.choose(&mut self.dice).copied();
        [Some(first), second].into_iter().flatten().collect()
    }
}

/// A time in which something was broken.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) faults: Vec<&'static str>,
    /// Whether writes may have failed by what was done to the database.
    pub(crate) of_database: bool,
    pub(crate) start: Nanos,
    /// When everything was mended.
    pub(crate) healed: Nanos,
    /// When every node could prove answers again.
    pub(crate) ready: Nanos,
}

/// Breaks things until `end`. `tell` hears of each round, `mended` is called when one is over.
pub(crate) async fn run(
    world: &Arc<World>,
    mut plan: Plan,
    end: Nanos,
    mut tell: impl FnMut(&[&'static str]),
    mut mended: impl AsyncFnMut(),
) -> Vec<Window> {
    let clock = world.book.clock.clone();
    let mut windows = Vec::new();
    loop {
        let calm = Duration::from_millis(plan.dice.random_range(CALM[0]..CALM[1]));
        tell(&[]);
        tokio::time::sleep(calm).await;
        let kinds = plan.next();
        let hold = kinds.iter().map(|kind| draw(kind.hold, &mut plan.dice)).max().unwrap_or_default();
        if kinds.is_empty() || clock.now().after(hold) > end {
            return windows;
        }
        tell(&kinds.iter().map(|kind| kind.name).collect::<Vec<_>>());
        windows.push(round(world, &kinds, hold, &mut plan.dice).await);
        mended().await;
    }
}

async fn round(world: &Arc<World>, kinds: &[&'static Kind], hold: Duration, dice: &mut StdRng) -> Window {
    let clock = world.book.clock.clone();
    let start = clock.now();
    let mut broken: Vec<(&'static str, Box<dyn Fault>)> = Vec::new();
    for kind in kinds {
        let mut fault = (kind.make)();
        if let Err(error) = fault.inject(world, dice).await {
            world.trouble.report(format!("{} could not be injected: {error}", kind.name));
        }
        broken.push((kind.name, fault));
    }
    tokio::time::sleep(hold).await;
    // The last first: what was broken on top is mended on top.
    for (name, mut fault) in broken.into_iter().rev() {
        if let Err(error) = fault.heal(world).await {
            world.trouble.report(format!("{name} could not be mended: {error}"));
        }
    }
    let healed = clock.now();
    if let Err(error) = world.ready().await {
        world.trouble.report(format!("after {}: {error}", names(kinds)));
    }
    let ready = clock.now();
    tokio::time::sleep(REST).await;
    let faults = kinds.iter().map(|kind| kind.name).collect();
    let of_database = kinds.iter().any(|kind| kind.part == Part::Database || kind.part == Part::Rows);
    Window { faults, of_database, start, healed, ready }
}

fn names(kinds: &[&'static Kind]) -> String {
    kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(" + ")
}

fn draw([least, most]: [Duration; 2], dice: &mut StdRng) -> Duration {
    dice.random_range(least..=most)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{CATALOGUE, LOCKED},
        *,
    };

    #[test]
    fn each_comes_alone_first_and_the_same_seed_brings_the_same() {
        let order = |seed| {
            let mut plan = Plan::new(CATALOGUE.iter().collect(), seed);
            (0..CATALOGUE.len() + 20)
                .map(|_| plan.next().iter().map(|kind| kind.name).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let (first, again, other) = (order(1), order(1), order(2));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let (alone, mixed) = first.split_at(CATALOGUE.len());
        assert!(alone.iter().all(|round| round.len() == 1));
        let parts = |name: &str| CATALOGUE.iter().find(|kind| kind.name == name).map(|kind| kind.part);
        assert!(mixed.iter().all(|round| round.len() == 2 && parts(round[0]) != parts(round[1])));
    }

    #[test]
    fn nothing_that_has_to_write_is_broken_while_the_file_is_locked() {
        let find = |name: &str| CATALOGUE.iter().find(|kind| kind.name == name).unwrap();
        let (locked, emptied, killed) = (find(LOCKED), find("delete-all"), find("node-killed"));
        assert!(!locked.goes_with(emptied) && !emptied.goes_with(locked));
        assert!(locked.goes_with(killed) && killed.goes_with(locked) && emptied.goes_with(killed));
    }
}
