//! Cache-aside as it is usually written: look into Redis, else ask the database, then store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Manager, Pool};
use redis::AsyncCommands as _;
use tokio_postgres::NoTls;
use trueup::engine::env::Clock;

use super::support::Servers;

/// Connections of the naive way, as many as a node of ours has for loads.
const CONNECTIONS: usize = 16;
const KEY: &str = "product:1";

pub(crate) struct Naive {
    pool: Pool,
    redis: redis::aio::MultiplexedConnection,
    pub(crate) loads: Arc<AtomicU64>,
}

impl Naive {
    pub(crate) async fn new(servers: &Servers) -> Self {
        let config = servers.postgres.url().parse().unwrap();
        let pool = Pool::builder(Manager::new(config, NoTls)).max_size(CONNECTIONS).build().unwrap();
        let client = redis::Client::open(servers.redis.url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        Self { pool, redis, loads: Arc::default() }
    }

    /// Many readers at once of a key that has expired; how long each of them took.
    pub(crate) async fn crowd(&self, readers: usize) -> Vec<Duration> {
        let () = self.redis.clone().del(KEY).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..readers {
            let (pool, mut redis, loads) = (self.pool.clone(), self.redis.clone(), Arc::clone(&self.loads));
            tasks.spawn(async move {
                let clock = Clock::system();
                let began = clock.now();
                let found: Option<i32> = redis.get(KEY).await.unwrap();
                if found.is_none() {
                    loads.fetch_add(1, Ordering::Relaxed);
                    let client = pool.get().await.unwrap();
                    let sql = "SELECT price, pg_sleep(0.1)::text FROM product WHERE id = 1";
                    let price: i32 = client.query_one(sql, &[]).await.unwrap().get(0);
                    let () = redis.set_ex(KEY, price, 60).await.unwrap();
                }
                clock.now().since(began)
            });
        }
        tasks.join_all().await
    }
}
