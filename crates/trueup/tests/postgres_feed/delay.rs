//! How long it takes from a commit to its application on each node: a measurement, not a test.

use std::{sync::atomic::Ordering, time::Duration};

use trueup_core::{
    apply::{DELAY_BOUNDS_US, FeedStats},
    env::spawn,
};

use crate::{
    fleet::{TABLE, three},
    support::{server, session},
};

const WRITERS: u32 = 4;
const WRITES_EACH: u32 = 2500;
/// Of each writer, so that all of them make 2,000 changes a second.
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release --test postgres_feed delay -- --ignored --nocapture"]
async fn delay_from_commit_to_application() {
    let server = server(TABLE);
    let members = three(&server).await;
    let mut writers = Vec::new();
    for id in 1..=WRITERS {
        let client = session(&server).await;
        writers.push(spawn("a writer", async move {
            let mut ticks = tokio::time::interval(PAUSE);
            for _ in 0..WRITES_EACH {
                ticks.tick().await;
                client.execute(&format!("UPDATE t SET v = 'w' WHERE id = {id}"), &[]).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.ended().await;
    }
    for member in &members {
        member.node.caught_up().await;
        println!("{:?}: {}", member.node.postgres.feed_state().role, shares(&member.node.stats));
    }
}

/// The share of transactions applied within each bound; the database's clock tells whole milliseconds.
fn shares(stats: &FeedStats) -> String {
    let counts: Vec<u64> = stats.delays.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let mut sum = 0;
    let bounds = DELAY_BOUNDS_US.iter().zip(&counts).map(|(bound_us, count)| {
        sum += count;
        format!("<= {} ms: {:.2} %", *bound_us as f64 / 1000.0, 100.0 * sum as f64 / all)
    });
    bounds.collect::<Vec<_>>().join(", ")
}
