//! The outbox's way to Redis Streams, on a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "tests start tasks to kill them")]

mod consumer;

use std::time::Duration;

use once::{
    Once, OnceError, Options,
    outbox::{NewMessage, Relay, redis::RedisStreams},
    sqlite::SqliteStore,
    store::{Owned as _, Store as _, Transaction as _},
};
use tempfile::TempDir;
use trueup_testbed::{Cluster, ClusterOptions, Redis, RedisOptions};

const STREAM: &str = "payments.events";
const TTL: Duration = Duration::from_secs(600);

struct World {
    _folder: TempDir,
    once: Once<SqliteStore>,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(folder.path().join("once.db"));
    once::migrate(&store).await.unwrap();
    World { _folder: folder, once: Once::new(store, Options::new()) }
}

impl World {
    async fn put(&self, aggregate: &str, id: &str) {
        let tx = self.once.store().begin().await.unwrap();
        let message = NewMessage::new(aggregate, "wallet.debited", id, b"{\"amount\":7}\0\xff");
        self.once.outbox().put(&tx, &message).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn relay(&self, sink: RedisStreams) -> Relay<SqliteStore, RedisStreams> {
        Relay::new(self.once.clone(), sink).tuned(TTL, 100, Duration::from_millis(20))
    }

    async fn sql(&self, sql: &str) {
        let tx = self.once.store().begin().await.unwrap();
        tx.batch(sql).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// All leases end, and all pauses.
    async fn pass(&self) {
        self.sql("UPDATE once_leases SET expires_ms = 0; UPDATE once_outbox_aggregates SET retry_at_ms = 0")
            .await;
    }
}

fn entries(redis: &Redis) -> String {
    redis.cli(&["XRANGE", STREAM, "-", "+"]).unwrap()
}

fn count(redis: &Redis) -> usize {
    redis.cli(&["XLEN", STREAM]).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_with_what_a_consumer_needs() {
    let redis = Redis::start(&RedisOptions::default()).unwrap();
    let world = world().await;
    for n in 0..200 {
        world.put(["wallet/7", "wallet/8"][n % 2], &format!("transfer-{n}")).await;
    }
    let relay = world.relay(RedisStreams::connect(&redis.url(), STREAM).unwrap());
    let lease = relay.acquire().await.unwrap().unwrap();
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 100);
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 100);
    assert_eq!(relay.run_once(&lease).await.unwrap().read, 0);
    assert_eq!(count(&redis), 200);
    // Two aggregates are sent side by side: whose message comes first is nobody's promise.
    let all = entries(&redis);
    let lines: Vec<_> = all.lines().map(str::trim).collect();
    let first = lines.chunks(lines.len() / 200).find(|lines| lines.contains(&"transfer-0"));
    let lines = first.unwrap_or_else(|| panic!("no message of transfer-0 in {lines:?}"));
    for pair in [
        ["aggregate", "wallet/7"],
        ["sequence", "1"],
        ["topic", "wallet.debited"],
        ["business_id", "transfer-0"],
        ["id", "1"],
    ] {
        assert!(lines.windows(2).any(|two| two == pair), "{pair:?} in {lines:?}");
    }
    let fence = redis.cli(&["GET", "{payments.events}.fence"]).unwrap();
    assert_eq!(fence.trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_paused_past_its_lease_sends_nothing_old_after_something_new() {
    let redis = Redis::start(&RedisOptions::default()).unwrap();
    let world = world().await;
    world.put("wallet/7", "old").await;
    let sink = RedisStreams::connect(&redis.url(), STREAM).unwrap();
    // Paused between its look into the outbox and its call: what it read is what it sends.
    let read = once::outbox::Message {
        id: 1,
        aggregate: "wallet/7".to_owned(),
        sequence: 1,
        topic: "wallet.debited".to_owned(),
        business_id: "old".to_owned(),
        payload: "{}".into(),
        created_ms: 0,
    };
    let paused = world.relay(RedisStreams::connect(&redis.url(), STREAM).unwrap());
    let old = paused.acquire().await.unwrap().unwrap();
    world.pass().await;
    let next = world.relay(RedisStreams::connect(&redis.url(), STREAM).unwrap());
    let new = next.acquire().await.unwrap().unwrap();
    assert_eq!(next.run_once(&new).await.unwrap().published, 1);
    let refused = once::outbox::Sink::publish(&sink, old.fence(), &[read]).await.unwrap_err();
    assert!(refused.fenced && refused.accepted == 0, "{refused}");
    assert!(matches!(paused.run_once(&old).await, Err(OnceError::LeaseLost { .. })));
    assert_eq!(count(&redis), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_loses_nothing() {
    let mut redis =
        Redis::start(&RedisOptions::default().set("appendonly", "yes").set("appendfsync", "always")).unwrap();
    let world = world().await;
    let relay = world.relay(RedisStreams::connect(&redis.url(), STREAM).unwrap());
    let lease = relay.acquire().await.unwrap().unwrap();
    world.put("wallet/7", "1").await;
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 1);
    redis.kill();
    world.put("wallet/7", "2").await;
    world.put("wallet/8", "3").await;
    let report = relay.run_once(&lease).await.unwrap();
    assert_eq!((report.published, report.failed), (0, 2));
    redis.start_again().unwrap();
    // It takes connections before it has read its file.
    while redis.cli(&["PING"]).unwrap().trim() != "PONG" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.sql("UPDATE once_outbox_aggregates SET retry_at_ms = 0").await;
    let report = relay.run_once(&lease).await.unwrap();
    assert_eq!(report.published, 2, "{report:?}");
    assert_eq!(count(&redis), 3, "{}", entries(&redis));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_takes_them_too() {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    let world = world().await;
    world.put("wallet/7", "1").await;
    world.put("wallet/8", "2").await;
    let urls: Vec<_> = cluster.nodes().iter().map(Redis::url).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let relay = world.relay(RedisStreams::cluster(&urls, STREAM).unwrap().length_max(1_000));
    let lease = relay.acquire().await.unwrap().unwrap();
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 2);
    let primary = cluster.primary_of(STREAM).unwrap();
    assert_eq!(count(&cluster.nodes()[primary]), 2);
}

#[test]
fn an_address_that_is_none_is_refused_at_once_and_not_shown() {
    let refused = RedisStreams::connect("redis://user:secret@[", STREAM).unwrap_err();
    assert!(!refused.to_string().contains("secret"), "{refused}");
    assert!(RedisStreams::connect("redis://127.0.0.1", "").is_err());
}
