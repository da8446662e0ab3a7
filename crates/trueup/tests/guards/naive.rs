//! The way it is mostly written: ask Redis, else the database, and put it back for a minute.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Manager, Pool};
use redis::{
    AsyncCommands as _,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{load::Fate, world::World};

/// Connections to the database, as a pool is mostly set.
const CONNECTIONS: usize = 50;
const LIFE_S: u64 = 60;
const REDIS_WITHIN: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct Naive {
    pool: Pool,
    redis: Arc<ConnectionManager>,
}

impl Naive {
    pub(crate) async fn new(world: &World) -> Self {
        let config = world.database.url().parse().unwrap();
        let pool =
            Pool::builder(Manager::new(config, tokio_postgres::NoTls)).max_size(CONNECTIONS).build().unwrap();
        let settings = ConnectionManagerConfig::new()
            .set_response_timeout(Some(REDIS_WITHIN))
            .set_connection_timeout(Some(REDIS_WITHIN))
            .set_number_of_retries(0);
        let client = redis::Client::open(world.redis.url()).unwrap();
        let redis = Arc::new(ConnectionManager::new_with_config(client, settings).await.unwrap());
        Self { pool, redis }
    }

    pub(crate) async fn read(self, table: &'static str, id: i64) -> Fate {
        let key = format!("naive:{table}:{id}");
        let mut redis = self.redis.as_ref().clone();
        if let Ok(Some(_)) = redis.get::<_, Option<Vec<u8>>>(&key).await {
            return Fate::Cached;
        }
        let Ok(connection) = self.pool.get().await else { return Fate::Failed };
        let sql = format!("SELECT to_jsonb(t)::text FROM {table} t WHERE id = $1");
        let Ok(statement) = connection.prepare_cached(&sql).await else { return Fate::Failed };
        let Ok(row) = connection.query_opt(&statement, &[&id]).await else { return Fate::Failed };
        let value: String = row.map(|row| row.get(0)).unwrap_or_default();
        drop(connection);
        let _ = redis.set_ex::<_, _, ()>(&key, value, LIFE_S).await;
        Fate::Source
    }
}

/// The same for many keys at once: one question to Redis, one statement for what it lacks, one answer to put all of it back.
#[derive(Clone)]
pub(crate) struct Together {
    naive: Naive,
    life_s: u64,
}

impl Together {
    pub(crate) async fn new(world: &World, life_s: u64) -> Self {
        Self { naive: Naive::new(world).await, life_s }
    }

    /// How many of these rows the database was asked for.
    pub(crate) async fn read(self, table: &'static str, ids: Vec<i64>) -> usize {
        let mut redis = self.naive.redis.as_ref().clone();
        let name = |id: &i64| format!("naive:{table}:{id}");
        let found: Vec<Option<Vec<u8>>> = redis.mget(ids.iter().map(name).collect::<Vec<_>>()).await.unwrap();
        let lacking: Vec<i64> =
            ids.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(id, _)| *id).collect();
        if lacking.is_empty() {
            return 0;
        }
        let connection = self.naive.pool.get().await.unwrap();
        let sql = format!("SELECT id, to_jsonb(t)::text FROM {table} t WHERE id = ANY($1)");
        let statement = connection.prepare_cached(&sql).await.unwrap();
        let rows = connection.query(&statement, &[&lacking]).await.unwrap();
        let mut store = redis::pipe();
        for row in &rows {
            store.set_ex(name(&row.get(0)), row.get::<_, String>(1), self.life_s).ignore();
        }
        let () = store.query_async(&mut redis).await.unwrap();
        rows.len()
    }
}
