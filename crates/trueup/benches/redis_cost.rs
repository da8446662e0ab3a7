//! What the remote tier costs over its client library alone, and what keeping the newer entry costs over a plain write.
//!
//! `cargo bench -p trueup --bench redis_cost` starts a `redis-server` of its own (or what `TRUEUP_TEST_REDIS` names) and, if
//! `--cluster` is given, a cluster of six: first over the loopback, then over wires on which everything is half a millisecond
//! there and back. Ways are taken in turns; what is printed are medians, and medians of the ratios of the same turn.
//! `--only gets|puts|many` leaves out the rest.

#![allow(clippy::expect_used)] // a bench that cannot be set up has nothing to measure

mod turns;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use mimalloc::MiMalloc;
use serde::{Deserialize, Serialize};
use trueup::{
    Plan, ServedBy, Sqlite, SqliteOptions, Trueup,
    redis::{Redis, RedisOptions, RedisTier},
    sqlite::{FeedPlan, InstallOptions},
};
use trueup_core::{
    entry::{Body, Envelope, EpochId, Header, KeyRing},
    env::Clock,
    tier::{RemoteKey, RemotePut, RemoteTier as _},
};
use trueup_testbed::{Cluster, ClusterOptions, Redis as Server, RedisOptions as ServerOptions};

use turns::{Way, in_turns, link::link_to, report};

/// The allocator of the `trueup` command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Keys that are read and written.
const KEYS: u32 = 1_000;
/// Calls of one turn, by one task and by many.
const CALLS_OF_ONE: u32 = 320;
const CALLS_OF_MANY: u32 = 3_200;
/// Turns of each way.
const TURNS: usize = 101;
/// Keys of one multi-get, and how often it is called in a turn.
const MANY: u32 = 100;
const MANY_CALLS: u32 = 20;
/// Entries of one batch of writes.
const BATCH: u32 = 64;
/// Nobody is cut short in a bench.
const PATIENCE: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_secs(600);

fn key(number: u32) -> RemoteKey {
    let mut digest = [7; 32];
    digest[..4].copy_from_slice(&number.to_le_bytes());
    RemoteKey::new("item", digest)
}

fn envelope(number: u32, value_bytes: usize, position: u64) -> Bytes {
    let keys = KeyRing::parse(&"5a01".repeat(16)).expect("the bench's own secret");
    let header = Header {
        class_digest: [1; 16],
        epoch: EpochId::from_bytes([2; 16]),
        created_ms: 0,
        life_ms: 60_000,
        upper: position,
        proven_at: position,
        row_version: Some(1),
    };
    let value = vec![b'v'; value_bytes];
    let envelope = Envelope { header, tags: &[1, 2], body: Body::Value(&value) };
    envelope.encode(key(number).digest(), keys.sealing()).expect("a settled entry")
}

/// Calls of one turn.
const fn calls(tasks: u32) -> u32 {
    if tasks == 1 { CALLS_OF_ONE } else { CALLS_OF_MANY / tasks * tasks }
}

/// The numbers that a task works on.
fn numbers(task: u32, tasks: u32) -> impl Iterator<Item = u32> + Send {
    (0..calls(tasks) / tasks).map(move |call| (call * 31 + task * 17) % KEYS)
}

async fn bare(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).expect("an address");
    let info = client.get_connection_info().clone();
    let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let config =
        redis::AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(1_024);
    let client = redis::Client::open(info).expect("an address");
    client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection")
}

fn limits() -> RedisOptions {
    RedisOptions { get_timeout: PATIENCE, put_timeout: PATIENCE, ..RedisOptions::default() }
}

async fn tier(redis: Redis) -> Arc<RedisTier> {
    let tier = redis.options(limits()).start(Clock::system()).expect("a tier");
    while tier.get_many(&(0..200).map(key).collect::<Vec<_>>()).await.iter().any(Result::is_err) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tier
}

/// A row of about `value_bytes` as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    id: i64,
    text: String,
}

/// A cache that keeps next to nothing in memory, so that each read in turn is answered by the remote tier.
async fn node(path: &Path, url: &str, value_bytes: usize) -> Trueup {
    let database = rusqlite::Connection::open(path).expect("a database");
    let schema = "PRAGMA journal_mode = wal; CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT NOT NULL);";
    database.execute_batch(schema).expect("a table");
    for id in 0..KEYS {
        // Every text of its own, and one that cannot be packed away.
        let text: String = (0..value_bytes as u32 / 8)
            .map(|word| format!("{:08x}", (id * 7_919 + word).wrapping_mul(2_654_435_761)))
            .collect();
        database.execute("INSERT INTO item VALUES (?1, ?2)", (id, text)).expect("a row");
    }
    FeedPlan::new(path, &InstallOptions::default()).expect("a plan").apply().expect("a feed");
    let keys = KeyRing::parse(&"5a01".repeat(16)).expect("the bench's own secret");
    let l2 = Redis::standalone(url).options(limits()).secret(keys);
    let plan = "[defaults]\nl1_capacity = \"16KiB\"\nvalue_bytes_max = \"12KiB\"\n";
    let plan = Plan::parse("bench", plan, &[]).expect("a plan");
    let source = Sqlite::open(path, SqliteOptions::default()).expect("a source");
    Trueup::builder().source(source).l2(l2).plan(plan).build().await.expect("a node")
}

async fn gets(url: &str, value_bytes: usize) {
    let (tier, bare) = (tier(Redis::standalone(url)).await, bare(url).await);
    let puts = (0..KEYS).map(|n| RemotePut {
        key: key(n),
        envelope: envelope(n, value_bytes, 1),
        life: LIFE,
        age: Duration::ZERO,
    });
    assert!(tier.put_many(puts.collect()).await.iter().all(Result::is_ok));
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(&folder.path().join("items.db"), url, value_bytes).await;
    let items = node.class::<i64, Item>("item").expect("a class");
    for id in 0..i64::from(KEYS) {
        items.get(&id).await.expect("a row");
    }
    while node.cache().remote_counts().is_none_or(|counts| counts.stored < u64::from(KEYS)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for tasks in [1, 64] {
        let client = Way::tasks("the client alone", tasks, |task| {
            let mut connection = bare.clone();
            async move {
                for number in numbers(task, tasks) {
                    let mut get = redis::cmd("GET");
                    get.arg(key(number).to_string());
                    let found = get.query_async::<Option<Vec<u8>>>(&mut connection).await;
                    assert!(found.is_ok_and(|found| found.is_some()));
                }
            }
        });
        let through_tier = Way::tasks("the tier", tasks, |task| {
            let tier = Arc::clone(&tier);
            async move {
                for number in numbers(task, tasks) {
                    assert!(matches!(tier.get(&key(number)).await, Ok(Some(_))));
                }
            }
        });
        let whole_read = Way::tasks("a read of a class, L1 missed, L2 hit", tasks, |task| {
            let items = items.clone();
            async move {
                for number in numbers(task, tasks) {
                    let found = items.get(&i64::from(number)).await.expect("a row");
                    assert!(matches!(found.receipt().served_by, ServedBy::L2 | ServedBy::L1));
                }
            }
        });
        let took = in_turns(TURNS, calls(tasks), &[client, through_tier, whole_read]).await;
        report(&format!("GET of {value_bytes} B, {tasks} tasks"), &took);
    }
    node.shut_down().await;
}

async fn puts(url: &str, value_bytes: usize) {
    let tier = tier(Redis::standalone(url)).await;
    let (in_time, late) = (Duration::ZERO, Duration::from_secs(10));
    let envelopes: Arc<Vec<Bytes>> = Arc::new((0..KEYS).map(|n| envelope(n, value_bytes, 2)).collect());
    let one = |age: Duration, tasks: u32, task: u32| {
        let (tier, envelopes) = (Arc::clone(&tier), Arc::clone(&envelopes));
        async move {
            for number in numbers(task, tasks) {
                let envelope = envelopes[number as usize].clone();
                let put = RemotePut { key: key(number), envelope, life: LIFE, age };
                assert_eq!(tier.put(put).await, Ok(()));
            }
        }
    };
    for tasks in [1, 64] {
        let ways = [
            Way::tasks("an entry in time: SET", tasks, |task| one(in_time, tasks, task)),
            Way::tasks("a late one: SET unless newer is there", tasks, |task| one(late, tasks, task)),
        ];
        report(
            &format!("SET of {value_bytes} B, {tasks} tasks"),
            &in_turns(TURNS, calls(tasks), &ways).await,
        );
    }
    // As the engine writes: in the background, by batches.
    let batch = |age: Duration| {
        let (tier, envelopes) = (Arc::clone(&tier), Arc::clone(&envelopes));
        async move {
            for _ in 0..MANY_CALLS {
                let put = |n: u32| RemotePut {
                    key: key(n),
                    envelope: envelopes[n as usize].clone(),
                    life: LIFE,
                    age,
                };
                assert!(tier.put_many((0..BATCH).map(put).collect()).await.iter().all(Result::is_ok));
            }
        }
    };
    let ways = [
        Way::tasks("entries in time: SET", 1, |_| batch(in_time)),
        Way::tasks("late ones: SET unless newer is there", 1, |_| batch(late)),
    ];
    let took = in_turns(TURNS, MANY_CALLS * BATCH, &ways).await;
    report(&format!("SET of {value_bytes} B, batches of {BATCH}, by entry"), &took);
}

/// One multi-get over all shards, against the slowest shard's own part, asked by the client alone.
async fn many(over: &str, cluster: &Cluster) {
    let tier = tier(Redis::standalone(&cluster.url())).await;
    let keys: Arc<Vec<RemoteKey>> = Arc::new((0..MANY).map(key).collect());
    let puts = (0..MANY).map(|n| RemotePut {
        key: key(n),
        envelope: envelope(n, 256, 1),
        life: LIFE,
        age: Duration::ZERO,
    });
    assert!(tier.put_many(puts.collect()).await.iter().all(Result::is_ok));
    let mut parts: BTreeMap<String, Vec<RemoteKey>> = BTreeMap::default();
    for key in keys.iter() {
        let endpoint = tier.place(key).endpoint.expect("a cluster that is known");
        parts.entry(endpoint.into()).or_default().push(key.clone());
    }
    let mut shards = Vec::new();
    for (endpoint, part) in parts {
        shards.push((bare(&format!("redis://{endpoint}")).await, Arc::new(part)));
    }
    let shards = Arc::new(shards);
    let mut ways: Vec<Way<'_>> = shards
        .iter()
        .map(|(connection, part)| {
            Way::tasks(format!("the client alone, one shard's {} keys", part.len()), 1, move |_| {
                let (mut connection, part) = (connection.clone(), Arc::clone(part));
                async move {
                    for _ in 0..MANY_CALLS {
                        ask_by_hand(&mut connection, &part).await;
                    }
                }
            })
        })
        .collect();
    ways.push(Way::tasks("the client alone, three pipelines side by side", 1, |_| {
        let shards = Arc::clone(&shards);
        async move {
            for _ in 0..MANY_CALLS {
                let asked = shards.iter().map(|(connection, part)| {
                    let mut connection = connection.clone();
                    async move { ask_by_hand(&mut connection, part).await }
                });
                futures_util::future::join_all(asked).await;
            }
        }
    }));
    ways.push(Way::tasks("the tier", 1, |_| {
        let (tier, keys) = (Arc::clone(&tier), Arc::clone(&keys));
        async move {
            for _ in 0..MANY_CALLS {
                assert!(tier.get_many(&keys).await.iter().all(Result::is_ok));
            }
        }
    }));
    let mut took = in_turns(TURNS, MANY_CALLS, &ways).await;
    let shards = took.len() - 2;
    took[..shards].sort_by(|a, b| b.median().total_cmp(&a.median()));
    let title =
        format!("{MANY} keys of 256 B over {over}, {shards} shards, beside the slowest shard's own part");
    report(&title, &took);
}

/// Has each node tell clients the near end of a wire as its own port; nodes go on to meet on the ports of their bus.
fn lay_wires(cluster: &Cluster) {
    for node in cluster.nodes() {
        let near = link_to(node.port()).to_string();
        node.cli(&["CONFIG", "SET", "cluster-announce-port", &near]).expect("a port to announce");
    }
    let announced = |node: &Server| node.cli(&["CLUSTER", "NODES"]).expect("a list of nodes");
    let known = |node: &Server| {
        let nodes = announced(node);
        cluster.nodes().iter().all(|other| !nodes.contains(&format!(":{}@", other.port())))
    };
    while !cluster.nodes().iter().all(known) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The keys of one shard in one pipeline: they are of many slots, so that one `MGET` is refused.
async fn ask_by_hand(connection: &mut redis::aio::MultiplexedConnection, part: &[RemoteKey]) {
    let mut pipeline = redis::Pipeline::with_capacity(part.len());
    for key in part {
        pipeline.cmd("GET").arg(key.to_string());
    }
    let found = pipeline.query_async::<Vec<Option<Vec<u8>>>>(connection).await;
    assert!(found.is_ok_and(|found| found.iter().all(Option::is_some)));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads");
    let mut options = ServerOptions::default();
    if let Some(program) = std::env::var_os("TRUEUP_TEST_REDIS") {
        options = options.program(program);
    }
    let arguments: Vec<String> = std::env::args().collect();
    let only =
        arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let server = Server::start(&options).expect("a server");
    runtime.block_on(async {
        for value_bytes in [256, 4_096] {
            if wanted("gets") {
                gets(&server.url(), value_bytes).await;
            }
        }
        for value_bytes in [256, 4_096] {
            if wanted("puts") {
                puts(&server.url(), value_bytes).await;
            }
        }
    });
    if arguments.iter().any(|argument| argument == "--cluster") && wanted("many") {
        let cluster = Cluster::start(&ClusterOptions::default().node(options)).expect("a cluster");
        runtime.block_on(many("the loopback", &cluster));
        lay_wires(&cluster);
        runtime.block_on(many("wires", &cluster));
    }
}
