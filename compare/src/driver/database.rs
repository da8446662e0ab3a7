//! The table and its statements: the same for every rival that loads by itself.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;

/// How a row is loaded.
const LOAD: &str = "SELECT id, version, name, body FROM item WHERE id = $1";
/// How a row is changed; the database itself numbers the versions.
const CHANGE: &str = "UPDATE item SET version = version + 1 WHERE id = $1 RETURNING version";

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) body: String,
}

/// Connections to the database.
#[derive(Clone, Debug)]
pub(crate) struct Database(Pool);

impl Database {
    pub(crate) fn connect(url: &str, connections: usize) -> Result<Self> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(url.parse()?, NoTls, config);
        Ok(Self(Pool::builder(manager).max_size(connections).build()?))
    }

    pub(crate) async fn load(&self, id: i64) -> Result<Item> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(LOAD).await?;
        let row = client.query_opt(&statement, &[&id]).await?.with_context(|| format!("no row {id}"))?;
        Ok(Item { id: row.get(0), version: row.get(1), name: row.get(2), body: row.get(3) })
    }

    pub(crate) async fn load_shared(&self, id: i64) -> Result<Arc<Item>> {
        self.load(id).await.map(Arc::new)
    }

    /// Changes the row and returns its new version, once the commit is acknowledged.
    pub(crate) async fn change(&self, id: i64) -> Result<i64> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(CHANGE).await?;
        Ok(client.query_one(&statement, &[&id]).await?.get(0))
    }
}
