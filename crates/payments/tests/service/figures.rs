//! Figures, for a quiet machine and a release build: `cargo test --release -p payments --test service figures -- --ignored --nocapture`.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use trueup::engine::env::Clock;

use crate::support::{ANN, Ask, BEN, World, id};

const CLIENTS: usize = 16;

/// Requests of each client.
fn requests() -> usize {
    std::env::var("FIGURES_REQUESTS").ok().map_or(200, |count| count.parse().unwrap())
}

/// Rate and quantiles of what `ask` takes, by `CLIENTS` clients at once.
async fn measure<F: Future<Output = u16>>(what: &str, ask: impl Fn(usize) -> F) {
    let clock = Clock::system();
    let started = clock.now();
    let client = |client: usize| {
        let (ask, clock) = (&ask, &clock);
        async move {
            let mut took = Vec::new();
            for request in 0..requests() {
                let began = clock.now();
                let status = ask(client * requests() + request).await;
                assert!([200, 201].contains(&status), "{what}: {status}");
                took.push(clock.now().since(began));
            }
            took
        }
    };
    let mut took: Vec<Duration> = join_all((0..CLIENTS).map(client)).await.into_iter().flatten().collect();
    let rate = took.len() as f64 / clock.now().since(started).as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[(took.len() as f64 * share) as usize].as_micros();
    println!("{what:<48} {rate:>8.0}/s   p50 {:>7} us   p99 {:>7} us", at(0.5), at(0.99));
}

async fn transfer(world: &World, request: usize) -> u16 {
    let (who, from, to) = if request.is_multiple_of(2) { ("ann", ANN, BEN) } else { ("ben", BEN, ANN) };
    let body = json!({"id": id(), "from": from, "to": to, "amount": 1, "currency": "EUR"});
    world.post(who, "/transfers", &body).await.status
}

async fn look(world: &World, cached: bool) -> u16 {
    let ask: Ask = world.ask("ann", "GET", &format!("/accounts/{ANN}"));
    let ask = if cached { ask } else { ask.header("cache-control", "no-cache") };
    ask.send().await.status
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures"]
async fn figures_of_transfers_and_of_looks() {
    let world = World::postgres().await;
    println!("{CLIENTS} clients, {} requests each, a connection for each request, PostgreSQL", requests());
    measure("transfers between two wallets", |request| transfer(&world, request)).await;
    let mix = |cached| {
        let world = &world;
        move |request: usize| async move {
            if request.is_multiple_of(20) {
                transfer(world, request / 20).await
            } else {
                look(world, cached).await
            }
        }
    };
    measure("95 looks to 5 transfers, with Trueup", mix(true)).await;
    measure("95 looks to 5 transfers, from the database", mix(false)).await;
    world.end().await;
}
