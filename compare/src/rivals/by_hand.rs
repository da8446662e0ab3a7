//! moka and Redis by hand: what a team writes that knows both.
//!
//! Memory in front, loads of one key joined (`try_get_with`), Redis behind with a life, deleted after a write, and a message
//! to the other nodes, which drop their copy. When its subscription was lost a node drops all it holds, as Redis' own
//! documentation asks of client-side caches; an invalidation that fails is tried again.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use futures_util::StreamExt as _;
use moka::future::Cache;
use redis::{AsyncCommands as _, aio::ConnectionManager};

use super::{Rival, name};
use crate::{
    driver::{Database, Item},
    protocol::Open,
};

/// The channel on which nodes tell each other what changed.
const CHANNEL: &str = "item:changed";
/// Pause before a lost subscription is made again.
const AGAIN: Duration = Duration::from_millis(100);
/// How often an invalidation is tried.
const TRIES: usize = 3;

pub(crate) struct ByHand {
    memory: Cache<i64, Arc<Item>>,
    redis: ConnectionManager,
    database: Database,
    life_s: u64,
}

impl Rival for ByHand {
    async fn open(open: &Open, database: &Database) -> Result<Self> {
        let memory = Cache::builder()
            .max_capacity(open.entries)
            .time_to_live(Duration::from_secs(open.life_s))
            .build();
        let client = redis::Client::open(open.redis.as_str())?;
        let redis = client.get_connection_manager().await?;
        tokio::spawn(listen(client, memory.clone()));
        Ok(Self { memory, redis, database: database.clone(), life_s: open.life_s })
    }

    async fn get(&self, id: i64) -> Result<i64> {
        // Looked for first: `try_get_with` is made for misses.
        if let Some(item) = self.memory.get(&id).await {
            return Ok(item.version);
        }
        let item = self.memory.try_get_with(id, self.load(id)).await;
        item.map(|item| item.version).map_err(|why: Arc<anyhow::Error>| anyhow!("{why:#}"))
    }

    async fn changed(&self, id: i64) -> Result<()> {
        let mut last = Ok(());
        for _ in 0..TRIES {
            last = self.invalidate(id).await;
            if last.is_ok() {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        last
    }
}

impl ByHand {
    async fn load(&self, id: i64) -> Result<Arc<Item>> {
        let mut redis = self.redis.clone();
        // A Redis that is away must not take the service down.
        let held: Option<Vec<u8>> = redis.get(name(id)).await.unwrap_or(None);
        if let Some(item) = held.and_then(|held| serde_json::from_slice(&held).ok()) {
            return Ok(Arc::new(item));
        }
        let item = self.database.load_shared(id).await?;
        let kept: redis::RedisResult<()> =
            redis.set_ex(name(id), serde_json::to_vec(&*item)?, self.life_s).await;
        drop(kept);
        Ok(item)
    }

    async fn invalidate(&self, id: i64) -> Result<()> {
        let mut redis = self.redis.clone();
        let () = redis.del(name(id)).await?;
        self.memory.invalidate(&id).await;
        let () = redis.publish(CHANNEL, id).await?;
        Ok(())
    }
}

/// Drops what other nodes have changed.
async fn listen(client: redis::Client, memory: Cache<i64, Arc<Item>>) {
    loop {
        if let Ok(mut messages) = client.get_async_pubsub().await
            && messages.subscribe(CHANNEL).await.is_ok()
        {
            // What was told meanwhile is lost.
            memory.invalidate_all();
            let mut stream = messages.on_message();
            while let Some(message) = stream.next().await {
                if let Ok(id) = message.get_payload::<i64>() {
                    memory.invalidate(&id).await;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
