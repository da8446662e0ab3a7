//! cachet (Microsoft): its own memory tier in front of a tier of ours over Redis (it ships none), both with a life, with its
//! stampede protection, as in "Multi-Tier Cache with Fallback" and `get_or_insert` of its documentation.
//!
//! It has no messages between nodes: `invalidate` reaches this node's memory and Redis.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Result, anyhow};
use cachet::{Cache, CacheEntry, CacheTier, Error, InsertOutcome};
use redis::{AsyncCommands as _, aio::ConnectionManager};
use serde::{Deserialize, Serialize};
use tick::Clock;

use super::{Rival, name};
use crate::{
    driver::{Database, Item},
    protocol::Open,
};

pub(crate) struct Cachet {
    cache: Cache<i64, Arc<Item>>,
    database: Database,
}

/// What stands in Redis: milliseconds since 1970 at which it was put there, without which cachet takes an entry for expired,
/// and the row.
#[derive(Serialize, Deserialize)]
struct Held(u64, Arc<Item>);

/// Redis as a tier: values as JSON, with a life.
struct Remote {
    redis: ConnectionManager,
    life_s: u64,
}

impl CacheTier<i64, Arc<Item>> for Remote {
    async fn get(&self, key: &i64) -> Result<Option<CacheEntry<Arc<Item>>>, Error> {
        let held: Option<Vec<u8>> = self.redis.clone().get(name(*key)).await.map_err(Error::from_source)?;
        let held = held.map(|held| serde_json::from_slice::<Held>(&held)).transpose();
        Ok(held.map_err(Error::from_source)?.map(|Held(since, item)| {
            let mut entry = CacheEntry::new(item);
            entry.ensure_cached_at(UNIX_EPOCH + Duration::from_millis(since));
            entry
        }))
    }

    async fn insert(&self, key: i64, entry: CacheEntry<Arc<Item>>) -> Result<InsertOutcome, Error> {
        let since = entry.cached_at().and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        let since = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        let value = serde_json::to_vec(&Held(since, entry.into_value())).map_err(Error::from_source)?;
        let () =
            self.redis.clone().set_ex(name(key), value, self.life_s).await.map_err(Error::from_source)?;
        Ok(InsertOutcome::Accepted)
    }

    async fn invalidate(&self, key: &i64) -> Result<(), Error> {
        self.redis.clone().del(name(*key)).await.map_err(Error::from_source)
    }

    async fn clear(&self) -> Result<(), Error> {
        redis::cmd("FLUSHDB").query_async(&mut self.redis.clone()).await.map_err(Error::from_source)
    }
}

impl Rival for Cachet {
    async fn open(open: &Open, database: &Database) -> Result<Self> {
        let redis = redis::Client::open(open.redis.as_str())?.get_connection_manager().await?;
        let (clock, entries) = (Clock::new_tokio(), open.entries);
        let life = Duration::from_secs(open.life_s);
        let remote = Cache::builder::<i64, Arc<Item>>(clock.clone())
            .storage(Remote { redis, life_s: open.life_s })
            .ttl(life);
        let cache = Cache::builder::<i64, Arc<Item>>(clock)
            .memory_with(move |memory| memory.max_capacity(entries))
            .ttl(life)
            .fallback(remote)
            .stampede_protection()
            .build();
        Ok(Self { cache, database: database.clone() })
    }

    async fn get(&self, id: i64) -> Result<i64> {
        let database = self.database.clone();
        let load = || async move { database.load_shared(id).await.map_err(|why| Failed(format!("{why:#}"))) };
        let entry = self.cache.try_get_or_insert(&id, load).await;
        entry.map(|entry| entry.value().version).map_err(|why| anyhow!("{why}"))
    }

    async fn changed(&self, id: i64) -> Result<()> {
        self.cache.invalidate(&id).await.map_err(|why| anyhow!("{why}"))
    }
}

/// Why a load failed, in the form that cachet takes.
#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}
