//! multi-tier-cache: "Cross-Instance Invalidation" of its documentation (`new_with_invalidation`), reads by
//! `get_or_compute_typed`, writes followed by `invalidate` ("Remove").

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use multi_tier_cache::{
    CacheError, CacheManager, CacheStrategy, InvalidationConfig, L1Cache, L2Cache, MokaCacheConfig,
};

use super::{Rival, name};
use crate::{
    driver::{Database, Item},
    protocol::Open,
};

pub(crate) struct MultiTier {
    cache: CacheManager,
    database: Database,
    life: Duration,
}

impl Rival for MultiTier {
    async fn open(open: &Open, database: &Database) -> Result<Self> {
        let life = Duration::from_secs(open.life_s);
        let memory = MokaCacheConfig { max_capacity: open.entries, time_to_live: life, time_to_idle: life };
        let (memory, remote) = (L1Cache::new(memory)?, L2Cache::with_url(&open.redis).await?);
        let config = InvalidationConfig::default();
        let cache =
            CacheManager::new_with_invalidation(Arc::new(memory), Arc::new(remote), &open.redis, config);
        Ok(Self { cache: cache.await?, database: database.clone(), life })
    }

    async fn get(&self, id: i64) -> Result<i64> {
        let database = self.database.clone();
        let load = || async move {
            database.load(id).await.map_err(|why| CacheError::InternalError(format!("{why:#}")))
        };
        let (key, life) = (name(id), CacheStrategy::Custom(self.life));
        let item = self.cache.get_or_compute_typed::<Item, _, _>(&key, life, load).await;
        item.map(|item| item.version).map_err(|why| anyhow!("{why}"))
    }

    async fn changed(&self, id: i64) -> Result<()> {
        self.cache.invalidate(&name(id)).await.map_err(|why| anyhow!("{why}"))
    }
}
