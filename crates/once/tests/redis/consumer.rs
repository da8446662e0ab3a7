//! From the stream into the inbox: once, in its turn, acknowledged after the commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use once::{
    Once,
    inbox::redis::{Consume, Order, StreamConsumer},
    outbox::{Message, redis::RedisStreams},
    sqlite::{SqliteStore, SqliteTx},
    store::{Store as _, Transaction as _},
};
use trueup_testbed::{Redis, RedisOptions};

use crate::{STREAM, World, world};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Writes down what it is given; fails as often as it is told to.
#[derive(Clone, Default)]
struct Writes {
    failures: Arc<AtomicUsize>,
}

impl Consume<SqliteStore> for Writes {
    async fn consume(&self, _: &Once<SqliteStore>, tx: &SqliteTx, message: &Message) -> Result<(), Failed> {
        let sql = "INSERT INTO seen (aggregate, sequence, business_id) VALUES ($1, $2, $3)";
        let params = [(&message.aggregate).into(), message.sequence.into(), (&message.business_id).into()];
        tx.execute(sql, &params).await?;
        if self.failures.load(SeqCst) > 0 {
            self.failures.fetch_sub(1, SeqCst);
            return Err("told to fail".into());
        }
        assert_eq!(&message.payload[..], b"{\"amount\":7}\0\xff");
        Ok(())
    }
}

async fn consuming() -> (Redis, World) {
    let redis = Redis::start(&RedisOptions::default()).unwrap();
    let world = world().await;
    world.sql("CREATE TABLE seen (number INTEGER PRIMARY KEY, aggregate TEXT, sequence INTEGER, business_id TEXT)").await;
    (redis, world)
}

async fn publish(redis: &Redis, world: &World) {
    let relay = world.relay(RedisStreams::connect(&redis.url(), STREAM).unwrap());
    world.pass().await;
    let lease = relay.acquire().await.unwrap().unwrap();
    while relay.run_once(&lease).await.unwrap().read > 0 {}
}

fn consumer(
    redis: &Redis,
    world: &World,
    writes: Writes,
    order: Order,
) -> StreamConsumer<SqliteStore, Writes> {
    let consumer = StreamConsumer::new(world.once.clone(), writes, &redis.url(), STREAM, "ledger").unwrap();
    consumer.tuned(order, Duration::ZERO)
}

async fn seen(world: &World) -> Vec<(String, i64)> {
    let rows =
        world.once.store().read("SELECT aggregate, sequence FROM seen ORDER BY number", &[]).await.unwrap();
    rows.iter().map(|row| (row.text(0).unwrap().to_owned(), row.int(1).unwrap())).collect()
}

fn pending(redis: &Redis) -> String {
    redis.cli(&["XPENDING", STREAM, "ledger"]).unwrap().lines().next().unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_published_twice_has_one_effect() {
    let (redis, world) = consuming().await;
    world.put("wallet/7", "1").await;
    world.put("wallet/7", "2").await;
    publish(&redis, &world).await;
    // The relay died before it marked them.
    world.sql("UPDATE once_outbox SET published_ms = NULL").await;
    publish(&redis, &world).await;
    let consumer = consumer(&redis, &world, Writes::default(), Order::Each);
    let report = consumer.run_once().await.unwrap();
    assert_eq!((report.first, report.skipped, report.early, report.failed), (2, 2, 0, 0));
    assert_eq!(seen(&world).await, [("wallet/7".to_owned(), 1), ("wallet/7".to_owned(), 2)]);
    assert_eq!(pending(&redis), "0");
    assert_eq!(consumer.run_once().await.unwrap(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_committed_and_not_acknowledged_is_acknowledged_without_an_effect() {
    let (redis, world) = consuming().await;
    world.put("wallet/7", "1").await;
    publish(&redis, &world).await;
    let consumer = consumer(&redis, &world, Writes::default(), Order::Any);
    assert_eq!(consumer.run_once().await.unwrap().first, 1);
    // The same entry, given to an instance that died after its commit: the group begins anew at the stream's start.
    redis.cli(&["XGROUP", "SETID", STREAM, "ledger", "0"]).unwrap();
    redis.cli(&["XREADGROUP", "GROUP", "ledger", "dead", "STREAMS", STREAM, ">"]).unwrap();
    assert_eq!(pending(&redis), "1");
    assert_eq!(consumer.run_once().await.unwrap().skipped, 1);
    assert_eq!((pending(&redis).as_str(), seen(&world).await.len()), ("0", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_effect_failed_comes_again_and_those_behind_it_wait() {
    let (redis, world) = consuming().await;
    for n in 1..=3 {
        world.put("wallet/7", &n.to_string()).await;
    }
    publish(&redis, &world).await;
    // What belongs to different things comes in no order of its own.
    world.put("wallet/8", "other").await;
    publish(&redis, &world).await;
    let writes = Writes::default();
    writes.failures.store(1, SeqCst);
    let consumer = consumer(&redis, &world, writes, Order::Each);
    let report = consumer.run_once().await.unwrap();
    assert_eq!((report.first, report.early, report.failed), (1, 2, 1));
    assert_eq!(pending(&redis), "3");
    let report = consumer.run_once().await.unwrap();
    assert_eq!((report.first, report.early, report.failed), (3, 0, 0));
    let mine = seen(&world).await.into_iter().filter(|(aggregate, _)| aggregate == "wallet/7");
    assert_eq!(mine.map(|(_, sequence)| sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(pending(&redis), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_consume_each_message_once_and_in_its_turn() {
    let (redis, world) = consuming().await;
    for n in 0..90 {
        world.put(["wallet/7", "wallet/8", "wallet/9"][n % 3], &n.to_string()).await;
    }
    publish(&redis, &world).await;
    let instances = [0, 1].map(|_| {
        let consumer = consumer(&redis, &world, Writes::default(), Order::Each)
            .tuned(Order::Each, Duration::from_millis(50));
        tokio::spawn(async move {
            loop {
                consumer.run_once().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    while seen(&world).await.len() < 90 || pending(&redis) != "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for instance in instances {
        instance.abort();
    }
    let seen = seen(&world).await;
    for aggregate in ["wallet/7", "wallet/8", "wallet/9"] {
        let mine = seen.iter().filter(|(a, _)| a == aggregate).map(|(_, sequence)| *sequence);
        assert_eq!(mine.collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_no_message_is_passed_over() {
    let (redis, world) = consuming().await;
    redis.cli(&["XADD", STREAM, "*", "hello", "world"]).unwrap();
    world.put("wallet/7", "1").await;
    publish(&redis, &world).await;
    let report = consumer(&redis, &world, Writes::default(), Order::Last).run_once().await.unwrap();
    assert_eq!((report.first, report.failed), (1, 1));
    assert_eq!(pending(&redis), "0");
}
