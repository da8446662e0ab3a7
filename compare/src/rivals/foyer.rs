//! foyer's hybrid cache: memory in front of this node's disk, as in "Easy-to-use Hybrid Cache" of its documentation, reads
//! by `get_or_fetch`, writes followed by `remove`.
//!
//! It is a cache of one node: no Redis, no messages, and no life of entries. Its second tier is the disk.

use anyhow::{Result, anyhow};
use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};

use super::Rival;
use crate::{
    driver::{Database, Item},
    protocol::Open,
};

/// Bytes of disk.
const DISK_BYTES: usize = 512 << 20;

pub(crate) struct Foyer {
    cache: HybridCache<i64, Item>,
    database: Database,
}

impl Rival for Foyer {
    async fn open(open: &Open, database: &Database) -> Result<Self> {
        std::fs::create_dir_all(&open.folder)?;
        let device = FsDeviceBuilder::new(&open.folder).with_capacity(DISK_BYTES).build()?;
        let cache = HybridCacheBuilder::new()
            // Else the disk holds only what memory has thrown out, and a restarted node finds nothing there.
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(usize::try_from(open.entries)?)
            .storage()
            .with_engine_config(BlockEngineConfig::new(device))
            .build()
            .await?;
        Ok(Self { cache, database: database.clone() })
    }

    async fn get(&self, id: i64) -> Result<i64> {
        let database = self.database.clone();
        let entry = self.cache.get_or_fetch(&id, || async move { database.load(id).await }).await;
        entry.map(|entry| entry.value().version).map_err(|why| anyhow!("{why}"))
    }

    async fn changed(&self, id: i64) -> Result<()> {
        self.cache.remove(&id);
        Ok(())
    }

    async fn hand_over(&self) -> Result<()> {
        self.cache.close().await.map_err(|why| anyhow!("{why}"))
    }
}
