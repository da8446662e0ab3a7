//! What a seed decides: amounts, leases, how soon the service is started again, and who comes back meanwhile.

use std::{
    cell::Cell,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::RangeInclusive,
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// The seed; 1 unless it says otherwise.
const VARIABLE: &str = "PAYMENTS_SEED";

thread_local! {
    /// Draws that the test of this thread has made.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Numbers drawn for one world. A test that fails says its seed.
pub(crate) struct Draw {
    random: SmallRng,
    seed: u64,
}

impl Draw {
    pub(crate) fn new() -> Self {
        let seed = std::env::var(VARIABLE).map_or(1, |seed| seed.parse().expect("a seed is a whole number"));
        let mut of_world = DefaultHasher::new();
        // Tests run beside each other: what one draws is no matter of the others.
        (seed, std::thread::current().name(), COUNT.replace(COUNT.get() + 1)).hash(&mut of_world);
        Self { random: SmallRng::seed_from_u64(of_world.finish()), seed }
    }

    pub(crate) fn from(&mut self, range: RangeInclusive<i64>) -> i64 {
        self.random.random_range(range)
    }
}

impl Drop for Draw {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {VARIABLE}={}", self.seed);
        }
    }
}
