//! Servers, tiers and envelopes for tests.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use trueup::redis::{Redis, RedisOptions, RedisTier};
use trueup_core::{
    entry::{Body, Envelope, EpochId, Header, KeyRing},
    env::Clock,
    tier::{RemoteKey, RemotePut, RemoteTier as _},
};
use trueup_testbed::{Cluster, ClusterOptions, Redis as Server, RedisOptions as ServerOptions};

/// Longest time that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Options of a server: the program that the environment names, else `redis-server`.
pub(crate) fn options() -> ServerOptions {
    match std::env::var_os("TRUEUP_TEST_REDIS") {
        Some(program) => ServerOptions::default().program(program),
        None => ServerOptions::default(),
    }
}

/// Starts a server, away from the test's own runtime.
pub(crate) async fn server(options: ServerOptions) -> Server {
    blocking(move || Server::start(&options).unwrap()).await
}

/// Starts a cluster of six, of which a part answers where another part is lost.
pub(crate) async fn cluster() -> Cluster {
    blocking(|| {
        Cluster::start(&ClusterOptions::default().node(options().set("cluster-require-full-coverage", "no")))
            .unwrap()
    })
    .await
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Limits that a busy machine keeps, where a test is not about them.
pub(crate) fn patient() -> RedisOptions {
    RedisOptions {
        get_timeout: Duration::from_secs(2),
        put_timeout: Duration::from_secs(2),
        ..RedisOptions::default()
    }
}

/// A tier that is of use.
pub(crate) async fn tier(redis: Redis) -> Arc<RedisTier> {
    let tier = redis.start(Clock::system()).unwrap();
    until("a tier that is connected", || async { tier.connected().await.ok() }).await;
    tier
}

/// Waits until `look` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let clock = Clock::system();
    let began = clock.now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock.now().since(began) < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A key of its own for each number.
pub(crate) fn key(number: u32) -> RemoteKey {
    let mut digest = [7; 32];
    digest[..4].copy_from_slice(&number.to_le_bytes());
    RemoteKey::new("item", digest)
}

/// An envelope as a node would write it.
pub(crate) fn envelope(key: &RemoteKey, value: &[u8], upper: u64, proven_at: u64) -> Bytes {
    envelope_of([2; 16], key, value, upper, proven_at)
}

/// The same, of an epoch.
pub(crate) fn envelope_of(
    epoch: [u8; 16],
    key: &RemoteKey,
    value: &[u8],
    upper: u64,
    proven_at: u64,
) -> Bytes {
    let keys = KeyRing::parse(&"5a01".repeat(16)).unwrap();
    let header = Header {
        class_digest: [1; 16],
        epoch: EpochId::from_bytes(epoch),
        created_ms: 0,
        life_ms: 60_000,
        upper,
        proven_at,
        row_version: Some(1),
    };
    let envelope = Envelope { header, tags: &[1, 2], body: Body::Value(value) };
    envelope.encode(key.digest(), keys.sealing()).unwrap()
}

/// How long entries of tests were under way, so that writing them takes all that a write may take.
pub(crate) const LATE: Duration = Duration::from_secs(10);

/// An envelope to be stored for a minute.
pub(crate) fn put(number: u32, value: &[u8], position: u64) -> RemotePut {
    let key = key(number);
    let envelope = envelope(&key, value, position, position);
    RemotePut { key, envelope, life: Duration::from_secs(60), age: LATE }
}

/// Stores and finds an entry: the tier is of use for this key.
pub(crate) async fn works(tier: &RedisTier, number: u32) -> Option<()> {
    let put = put(number, b"works", 1);
    let (key, envelope) = (put.key.clone(), put.envelope.clone());
    tier.put(put).await.ok()?;
    (tier.get(&key).await.ok()?? == envelope).then_some(())
}
