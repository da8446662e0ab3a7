//! What a request costs more with its key than without. Run alone, in release:
//! `cargo test --release -p once --test stores -- --ignored --nocapture cost_of_a_request`.

use std::{sync::Arc, time::Duration};

use once::{
    OnceError, Ran,
    store::{Owned as _, Store as _},
};
use trueup_core::env::Clock;

use crate::bed::{Bed, answer, effect, request};

/// Requests of each kind; `ONCE_COST_REQUESTS` overrides.
const REQUESTS: u32 = 2_000;

fn requests() -> u32 {
    std::env::var("ONCE_COST_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(REQUESTS)
}

async fn cost<B: Bed>(bed: Arc<B>, database: &str) {
    let once = bed.once();
    let clock = Clock::system();
    let count = requests();
    let mut times: [Vec<Duration>; 4] = Default::default();
    // Side by side, so that what else the machine does falls on all alike.
    for n in 0..count {
        let asked = request("ann", n, "a");
        let start = clock.now();
        let tx = once.store().begin().await.unwrap();
        effect(&tx, "naive", "x").await;
        tx.commit().await.unwrap();
        times[0].push(clock.now().since(start));

        let start = clock.now();
        let ran = once.run(&asked, |tx, _| {
            Box::pin(async move {
                effect(tx, "once", "x").await;
                Ok::<_, OnceError>(answer("done"))
            })
        });
        assert!(matches!(ran.await, Ok(Ran::Fresh(_))));
        times[1].push(clock.now().since(start));

        let start = clock.now();
        once.look_up(&request("ann", n + count, "a")).await.unwrap();
        times[2].push(clock.now().since(start));

        let start = clock.now();
        once.look_up(&asked).await.unwrap();
        times[3].push(clock.now().since(start));
    }
    let names = [
        "transaction with one insert, no key",
        "the same by `run`: claim, insert, answer",
        "look-up of a new key",
        "replay",
    ];
    println!("{database}, {count} of each, one client, medians and 99th percentiles in microseconds");
    for (name, times) in names.iter().zip(&mut times) {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_micros();
        println!("  {name:<42} {:>7} {:>7}", at(50), at(99));
    }
}

#[test]
#[ignore = "prints a figure"]
fn cost_of_a_request_on_postgres() {
    crate::bed::run::<crate::bed::PostgresBed, _>(|bed| cost(bed, "PostgreSQL, fsync off"));
}

#[test]
#[ignore = "prints a figure"]
fn cost_of_a_request_on_sqlite() {
    crate::bed::run::<crate::bed::SqliteBed, _>(|bed| cost(bed, "SQLite, synchronous = FULL"));
}
