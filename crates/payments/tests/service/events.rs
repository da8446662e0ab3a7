//! Messages of the outbox on their way through a stream of Redis, and jobs by the clock.

use std::time::Duration;

use crate::support::{OPENING, World, transfer_of};

async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    for _ in 0..6_000 {
        if look().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_leave_for_the_stream_and_are_consumed_from_it_once() {
    let started =
        tokio::task::spawn_blocking(
            || trueup_testbed::Redis::start(&trueup_testbed::RedisOptions::default()),
        );
    let mut redis = started.await.unwrap().unwrap();
    let url = redis.url();
    let world = World::sqlite_with(|settings| settings.events = Some(url.parse().unwrap())).await;
    for _ in 0..5 {
        assert_eq!(world.post("ann", "/transfers", &transfer_of(1)).await.status, 201);
    }
    let notices = async || world.count("SELECT COUNT(*) FROM notice").await;
    eventually("five notices", async || notices().await == 5).await;
    assert_eq!(redis.cli(&["XLEN", "payments.events"]).unwrap().trim(), "5");
    // Published again, as after a crash before the mark: the stream has them twice, people are told once.
    world.run("UPDATE once_outbox SET published_ms = NULL").await;
    eventually("the second copies", async || redis.cli(&["XLEN", "payments.events"]).unwrap().trim() == "10")
        .await;
    // With the stream down money moves all the same, and messages wait.
    redis.kill();
    assert_eq!(world.post("ann", "/transfers", &transfer_of(1)).await.status, 201);
    redis.start_again().unwrap();
    eventually("the sixth notice", async || notices().await == 6).await;
    let pending = || redis.cli(&["XPENDING", "payments.events", "notices"]).unwrap();
    eventually("every entry to be acknowledged", async || pending().starts_with('0')).await;
    assert_eq!(notices().await, 6);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_one_runs_the_jobs_of_the_day() {
    let nightly = "00:00".parse().unwrap();
    // The first makes the wallets, before anybody settles.
    let world = World::postgres().await;
    let (one, other) = tokio::join!(
        world.beside(|settings| settings.nightly = Some(nightly)),
        world.beside(|settings| settings.nightly = Some(nightly))
    );
    let runs = "SELECT COUNT(*) FROM once_job_runs WHERE finished_ms IS NOT NULL";
    eventually("the day's jobs", async || one.count(runs).await == 2).await;
    // By whichever came first, and by nobody twice: 50 millionths of each wallet.
    let settled = "SELECT COUNT(*) FROM posting WHERE kind = 'settlement'";
    assert_eq!(one.count(settled).await, 2);
    assert_eq!(one.balance(crate::support::ANN).await, OPENING + 5);
    let fences = "SELECT CAST(MAX(fence) AS BIGINT) FROM once_leases WHERE name = 'job/settlement'";
    assert_eq!(one.count(fences).await, 1, "one instance had the lease");
    for instance in [other, one, world] {
        instance.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_runs_jobs_unless_told_to() {
    let world = World::sqlite().await;
    assert_eq!(world.post("ann", "/transfers", &transfer_of(1)).await.status, 201);
    eventually("the relay, which is started last", async || {
        world.count("SELECT COUNT(*) FROM notice").await == 1
    })
    .await;
    assert_eq!(world.count("SELECT COUNT(*) FROM once_job_runs").await, 0);
    world.end().await;
}
