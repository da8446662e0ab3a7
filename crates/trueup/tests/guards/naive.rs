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
