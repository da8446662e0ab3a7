//! A hundred thousand keys loaded together with one life of 60 s. The clock is stepped: one step is one second, in which every key
//! is read once. The database is real.

use std::time::Duration;

use trueup::{
    catalog::Demand,
    engine::{env::Clock, key::Key},
};

use super::support::{Node, servers, until};

const KEYS: u32 = 100_000;
const LIFE_S: u64 = 60;
/// Seconds in which no key ends by any of the plans: passed over in one step.
const CALM_S: u64 = 45;
/// Keys read by one command.
const BATCH: usize = 1_000;

fn plan(more: &str) -> String {
    format!(
        "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nlife = \"{LIFE_S}s\"\nl1_capacity = \"512MiB\"\n{more}\n"
    )
}

const AGED: &str = "invalidation = { owner = \"the tests\", reason = \"to compare\" }\n";

/// Reloads in each second after the load, for `seconds`.
async fn reloads(url: &str, more: &str, seconds: u64) -> (Vec<u64>, u64) {
    let clock = Clock::stepped();
    let node = Node::start(url, None, &plan(more), clock.clone()).await;
    let class = node.class();
    let keys: Vec<Key> = (1..=KEYS).map(|id| node.key(id)).collect();
    let load = async |keys: &[Key]| {
        for batch in keys.chunks(BATCH) {
            class.read_many(batch, Demand::default(), false).await.unwrap();
        }
    };
    load(&keys).await;
    let mut each = Vec::new();
    for second in CALM_S..seconds {
        clock.advance(Duration::from_secs(if second == CALM_S { CALM_S + 1 } else { 1 }));
        // The feed has to say how far it is at this time, too: what it said before the step is a step old.
        until("news of the feed", || async {
            (node.catalog.cache().status().moment >= clock.now()).then_some(())
        })
        .await;
        let ended: Vec<Key> =
            keys.iter().filter(|key| class.peek(key, Demand::default()).is_none()).cloned().collect();
        load(&ended).await;
        each.push(ended.len() as u64);
    }
    let renewed = node.counts().renewed;
    node.catalog.cache().shut_down().await;
    (each, renewed)
}

fn share(count: u64) -> f64 {
    count as f64 / f64::from(KEYS) * 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure: minutes on a real server"]
async fn keys_loaded_together_do_not_end_together() {
    let servers = servers(KEYS).await;
    let url = servers.postgres.url();
    println!(
        "| {KEYS} keys, life {LIFE_S} s, stepped clock | reloads in {} s | busiest second | of all keys | renewed |",
        LIFE_S + 2
    );
    println!("|---|---|---|---|---|");
    let mut busiest = Vec::new();
    for (name, more) in [
        ("age-bounded, no jitter (naive)", format!("{AGED}jitter = \"0%\"")),
        ("age-bounded, jitter 20 %", format!("{AGED}jitter = \"20%\"")),
        ("proven, jitter 20 %", "jitter = \"20%\"\nmax_staleness = \"1min\"\nhard_age = \"24h\"".to_owned()),
    ] {
        let (each, renewed) = reloads(&url, &more, LIFE_S + 2).await;
        let most = each.iter().copied().max().unwrap();
        println!("| {name} | {} | {most} | {:.1} % | {renewed} |", each.iter().sum::<u64>(), share(most));
        busiest.push(share(most));
    }
    assert!(busiest[0] > 99.9 && busiest[1] <= 10.0 && busiest[2] == 0.0, "{busiest:?}");
}
