//! A hundred thousand entries that are loaded in one moment and live for one minute.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use trueup::{Class, ServedBy, engine::guard::LoadLimits};

use super::{
    naive::Together,
    world::{World, busiest_second, now_ms, scaled},
};

const KEYS: i64 = 100_000;
/// Keys asked for at once.
const BATCH: usize = 1_000;
/// Tasks that look at their share of the keys all the time.
const WATCHERS: i64 = 4;
const LIFE_S: u64 = 60;

const PLAN: &str = "[l2]\nurls = [\"redis://h:1\"]\n\
    [class.aged]\ntable = \"aged\"\nkey = [\"id\"]\nl2 = true\nlife = \"60s\"\nhard_age = \"60s\"\njitter = \"20%\"\n\
    max_staleness = \"60s\"\ninvalidation = { owner = \"the tests\", reason = \"its end is looked at\" }\n\
    [class.proven]\ntable = \"proven\"\nkey = [\"id\"]\nl2 = true\nlife = \"60s\"\njitter = \"20%\"\n";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: i64,
    name: String,
}

/// Looks at all keys again and again until `LIFE_S` and a little have passed since they were loaded. When each key was loaded
/// again, in milliseconds since 1970, in order: `look` gives how many of its keys came from the database.
async fn watch<F>(look: impl Fn(Vec<i64>) -> F + Clone + Send + 'static) -> Vec<u64>
where
    F: Future<Output = usize> + Send,
{
    let end = now_ms() + scaled(LIFE_S + LIFE_S / 10).as_millis() as u64;
    let mut watchers = JoinSet::new();
    for watcher in 0..WATCHERS {
        let look = look.clone();
        let keys: Vec<i64> = (1..=KEYS).filter(|key| key % WATCHERS == watcher).collect();
        watchers.spawn(async move {
            let mut loaded = Vec::new();
            let mut first = 0;
            while now_ms() < end {
                for batch in keys.chunks(BATCH) {
                    let count = look(batch.to_vec()).await;
                    loaded.extend(std::iter::repeat_n(now_ms(), count));
                    // What memory answers is answered without a pause, and there are others on these threads.
                    tokio::task::yield_now().await;
                }
                if first == 0 {
                    first = loaded.len();
                    assert_eq!(first, keys.len(), "the first look loads each of them");
                }
            }
            loaded.split_off(first)
        });
    }
    let mut loaded: Vec<u64> = watchers.join_all().await.into_iter().flatten().collect();
    loaded.sort_unstable();
    loaded
}

/// What comes from the database, of a class of Trueup.
async fn watch_class(class: Class<i64, Row>) -> Vec<u64> {
    watch(move |ids| {
        let class = class.clone();
        async move {
            let answers = class.get_many(&ids).await.unwrap();
            answers.iter().filter(|answer| answer.receipt().served_by == ServedBy::Source).count()
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes"]
async fn a_hundred_thousand_entries_of_one_life_are_loaded_again_bit_by_bit_or_not_at_all() {
    let world = World::start();
    for table in ["aged", "proven"] {
        let sql = format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, name text NOT NULL); \
             INSERT INTO {table} SELECT g, 'thing ' || g FROM generate_series(0, {KEYS}) g; ANALYZE {table}"
        );
        world.database.query(&sql).unwrap();
    }
    let together = Together::new(&world, LIFE_S).await;
    let naive = watch(move |ids| together.clone().read("aged", ids)).await;

    let node = world.node(PLAN, LoadLimits::default()).await;
    let mut ways = Vec::new();
    for name in ["aged", "proven"] {
        let class = node.class::<i64, Row>(name).unwrap();
        // A node that has just started keeps nothing until it has seen what was under way. This row is none of those that are counted.
        for pause in [Duration::ZERO, Duration::from_millis(600)] {
            tokio::time::sleep(pause).await;
            while class.get(&0).await.unwrap().receipt().served_by != ServedBy::L1 {}
        }
        ways.push(watch_class(class).await);
    }
    node.shut_down().await;

    println!(
        "| {KEYS} entries, loaded together, one life of {LIFE_S} s | loaded again | in the busiest second |"
    );
    println!("|---|---|---|");
    let names = ["naive: one life in Redis", "bounded by age, jitter 20 %", "proven"];
    for (name, times) in names.iter().zip([&naive, &ways[0], &ways[1]]) {
        println!("| {name} | {} | {} |", times.len(), busiest_second(times, 0));
    }
    let most = KEYS as usize / 10;
    assert!(busiest_second(&naive, 0) > most, "the naive way shows what jitter is for");
    assert!(ways[0].len() >= KEYS as usize, "each has ended once: {}", ways[0].len());
    assert!(
        busiest_second(&ways[0], 0) <= most,
        "{} in a second, at most {most}",
        busiest_second(&ways[0], 0)
    );
    assert_eq!(ways[1].len(), 0, "what is proven is renewed without a load");
}
