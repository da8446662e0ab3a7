//! hitbox: a `#[cached]` function over memory composed with Redis, as in "Multi-Tier Composition" of hitbox-redis, with the
//! concurrency manager that its documentation asks for in production.
//!
//! Its documentation ends entries by their life alone. Here they are also deleted by their key in both tiers after a write,
//! which the backends can do, though the key has to be built by hand. It has no messages between nodes.

use std::time::Duration;

use anyhow::{Result, anyhow};
use hitbox::{
    CacheKey, KeyPart,
    concurrency::BroadcastConcurrencyManager,
    context::CacheContext,
    offload::OffloadManager,
    policy::{ConcurrencyLimit, PolicyConfig},
};
use hitbox_backend::{
    CacheBackend as _, CompositionBackend,
    composition::{Compose as _, CompositionPolicy, policy::RefillPolicy},
};
use hitbox_fn::{Cache, CacheableResponse, cached};
use hitbox_moka::MokaBackend;
use hitbox_redis::{ConnectionMode, RedisBackend};
use serde::{Deserialize, Serialize};

use super::Rival;
use crate::{
    driver::{Database, Item},
    protocol::Open,
};

/// Under which the function's answers are held.
const PREFIX: &str = "item";

/// A row, in the form that hitbox takes.
#[derive(Clone, Debug, Serialize, Deserialize, CacheableResponse)]
struct Row {
    item: Item,
}

#[derive(Clone, Debug)]
struct Failed(String);

#[cached(prefix = "item", skip(database))]
async fn load_item(database: Database, id: i64) -> Result<Row, Failed> {
    database.load(id).await.map(|item| Row { item }).map_err(|why| Failed(format!("{why:#}")))
}

type Tiers = CompositionBackend<MokaBackend, RedisBackend, OffloadManager>;

pub(crate) struct Hitbox {
    cache: Cache<Tiers, BroadcastConcurrencyManager<Result<Row, Failed>>>,
    database: Database,
}

impl Rival for Hitbox {
    async fn open(open: &Open, database: &Database) -> Result<Self> {
        let memory = MokaBackend::builder().max_entries(open.entries).build();
        let redis =
            RedisBackend::builder().connection(ConnectionMode::single(open.redis.as_str())).build()?;
        let one = ConcurrencyLimit::new(1).ok_or_else(|| anyhow!("one is a limit"))?;
        let policy = PolicyConfig::builder().ttl(Duration::from_secs(open.life_s)).concurrency(one).build();
        // Unless told so it puts nothing into memory that it finds in Redis.
        let fill = CompositionPolicy::new().refill(RefillPolicy::Always);
        let cache = Cache::builder()
            .backend(memory.compose_with(redis, OffloadManager::with_defaults(), fill))
            .policy(policy)
            .concurrency_manager(BroadcastConcurrencyManager::new())
            .build();
        Ok(Self { cache, database: database.clone() })
    }

    async fn get(&self, id: i64) -> Result<i64> {
        let row = load_item(self.database.clone(), id).cache(&self.cache).await;
        row.map(|row| row.item.version).map_err(|Failed(why)| anyhow!(why))
    }

    async fn changed(&self, id: i64) -> Result<()> {
        let parts = vec![KeyPart::new("fn", Some(PREFIX)), KeyPart::new("id", Some(id.to_string()))];
        let key = CacheKey::new("", 0, parts);
        let mut context = CacheContext::default().boxed();
        self.cache.backend().delete(&key, &mut context).await.map_err(|why| anyhow!("{why}"))?;
        Ok(())
    }
}
