//! What the remote tier costs over its client library alone, and what keeping the newer entry costs over a plain write.
//!
//! `cargo bench -p trueup --bench redis_cost` starts a `redis-server` of its own (or what `TRUEUP_TEST_REDIS` names) and, if
//! `--cluster` is given, a cluster of six. Each figure is the best of several rounds, taken in turns: on a machine that does
//! other things too, the ratios count.

#![allow(clippy::expect_used)] // a bench that cannot be set up has nothing to measure

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use trueup::redis::{Redis, RedisOptions, RedisTier};
use trueup_core::{
    entry::{Body, Envelope, EpochId, Header, KeyRing},
    env::{Clock, spawn},
    tier::{RemoteKey, RemotePut, RemoteTier as _},
};
use trueup_testbed::{Cluster, ClusterOptions, Redis as Server, RedisOptions as ServerOptions};

/// Keys that are read and written.
const KEYS: u32 = 1_000;
/// Calls of one round, over all tasks.
const CALLS: u32 = 6_000;
/// Rounds, of which the fastest counts.
const ROUNDS: u32 = 7;
/// Keys of one multi-get.
const MANY: u32 = 100;
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

/// Microseconds that a call takes with so many tasks, and calls a second.
async fn timed<F, W>(tasks: u32, work: F) -> (f64, f64)
where
    F: Fn(u32) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let clock = Clock::system();
    let began = clock.now();
    let running: Vec<_> = (0..tasks).map(|task| spawn("bench", work(task))).collect();
    for task in running {
        task.ended().await;
    }
    let took = clock.now().since(began).as_secs_f64();
    let calls = f64::from(CALLS / tasks * tasks);
    (took * 1e6 / calls * f64::from(tasks), calls / took)
}

/// The numbers that a task works on.
fn numbers(task: u32, tasks: u32) -> impl Iterator<Item = u32> + Send {
    (0..CALLS / tasks).map(move |call| (call * 31 + task * 17) % KEYS)
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

async fn tier(redis: Redis, prefer_newer: bool) -> Arc<RedisTier> {
    let limits = RedisOptions {
        get_timeout: PATIENCE,
        put_timeout: PATIENCE,
        prefer_newer,
        ..RedisOptions::default()
    };
    let tier = redis.options(limits).start(Clock::system()).expect("a tier");
    while tier.get_many(&(0..200).map(key).collect::<Vec<_>>()).await.iter().any(Result::is_err) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tier
}

fn report(name: &str, tasks: u32, best: (f64, f64), base: Option<(f64, f64)>) {
    let ratio = base.map_or_else(String::new, |base| format!("  {:.2} x", best.0 / base.0));
    println!("{name:<38} {tasks:>3} tasks  {:>8.1} us a call  {:>9.0} calls/s{ratio}", best.0, best.1);
}

fn better(best: Option<(f64, f64)>, round: (f64, f64)) -> Option<(f64, f64)> {
    Some(best.filter(|best| best.0 <= round.0).unwrap_or(round))
}

async fn gets(url: &str, value_bytes: usize) {
    let (tier, bare) = (tier(Redis::standalone(url), true).await, bare(url).await);
    let puts =
        (0..KEYS).map(|n| RemotePut { key: key(n), envelope: envelope(n, value_bytes, 1), life: LIFE });
    assert!(tier.put_many(puts.collect()).await.iter().all(Result::is_ok));
    for tasks in [1, 64] {
        let (mut of_client, mut of_tier) = (None, None);
        for _ in 0..ROUNDS {
            let client = |task| {
                let mut connection = bare.clone();
                async move {
                    for number in numbers(task, tasks) {
                        let get = redis::cmd("GET").arg(key(number).to_string()).clone();
                        let found = get.query_async::<Option<Vec<u8>>>(&mut connection).await;
                        assert!(found.is_ok_and(|found| found.is_some()));
                    }
                }
            };
            of_client = better(of_client, timed(tasks, client).await);
            let through_tier = |task| {
                let tier = Arc::clone(&tier);
                async move {
                    for number in numbers(task, tasks) {
                        assert!(matches!(tier.get(&key(number)).await, Ok(Some(_))));
                    }
                }
            };
            of_tier = better(of_tier, timed(tasks, through_tier).await);
        }
        if let (Some(of_client), Some(of_tier)) = (of_client, of_tier) {
            report(&format!("GET {value_bytes} B, client alone"), tasks, of_client, None);
            report(&format!("GET {value_bytes} B, tier"), tasks, of_tier, Some(of_client));
        }
    }
}

async fn puts(url: &str, value_bytes: usize) {
    let (newer, plain) =
        (tier(Redis::standalone(url), true).await, tier(Redis::standalone(url), false).await);
    for tasks in [1, 64] {
        let (mut of_newer, mut of_plain) = (None, None);
        for round in 0..ROUNDS {
            let envelopes: Arc<Vec<Bytes>> =
                Arc::new((0..KEYS).map(|n| envelope(n, value_bytes, u64::from(round) + 2)).collect());
            for (tier, best) in [(&plain, &mut of_plain), (&newer, &mut of_newer)] {
                let write = |task| {
                    let (tier, envelopes) = (Arc::clone(tier), Arc::clone(&envelopes));
                    async move {
                        for number in numbers(task, tasks) {
                            let envelope = envelopes[number as usize].clone();
                            let put = RemotePut { key: key(number), envelope, life: LIFE };
                            assert_eq!(tier.put(put).await, Ok(()));
                        }
                    }
                };
                *best = better(*best, timed(tasks, write).await);
            }
        }
        if let (Some(of_plain), Some(of_newer)) = (of_plain, of_newer) {
            report(&format!("SET {value_bytes} B, plain"), tasks, of_plain, None);
            report(&format!("SET {value_bytes} B, unless newer is there"), tasks, of_newer, Some(of_plain));
        }
    }
}

/// One multi-get over all shards, against each shard's own part of it.
async fn many(cluster: &Cluster) {
    let tier = tier(Redis::standalone(&cluster.url()), true).await;
    let keys: Vec<RemoteKey> = (0..MANY).map(key).collect();
    let puts = (0..MANY).map(|n| RemotePut { key: key(n), envelope: envelope(n, 256, 1), life: LIFE });
    assert!(tier.put_many(puts.collect()).await.iter().all(Result::is_ok));
    let mut shards: std::collections::BTreeMap<String, Vec<RemoteKey>> = Default::default();
    for key in &keys {
        let endpoint = tier.place(key).endpoint.expect("a cluster that is known");
        shards.entry(endpoint.into()).or_default().push(key.clone());
    }
    let clock = Clock::system();
    let mut best = vec![f64::MAX; shards.len() + 1];
    for _ in 0..ROUNDS * 100 {
        for (place, part) in best.iter_mut().zip(std::iter::once(&keys).chain(shards.values())) {
            let began = clock.now();
            assert!(tier.get_many(part).await.iter().all(Result::is_ok));
            *place = place.min(clock.now().since(began).as_secs_f64() * 1e6);
        }
    }
    let slowest = best[1..].iter().copied().fold(0.0, f64::max);
    println!(
        "{MANY} keys over {} shards: {:.0} us; the slowest shard's own part: {slowest:.0} us; {:.2} x",
        shards.len(),
        best[0],
        best[0] / slowest
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads");
    let mut options = ServerOptions::default();
    if let Some(program) = std::env::var_os("TRUEUP_TEST_REDIS") {
        options = options.program(program);
    }
    let server = Server::start(&options).expect("a server");
    runtime.block_on(async {
        for value_bytes in [256, 4_096] {
            gets(&server.url(), value_bytes).await;
        }
        for value_bytes in [256, 4_096] {
            puts(&server.url(), value_bytes).await;
        }
    });
    if std::env::args().any(|argument| argument == "--cluster") {
        let cluster = Cluster::start(&ClusterOptions::default().node(options)).expect("a cluster");
        runtime.block_on(many(&cluster));
    }
}
