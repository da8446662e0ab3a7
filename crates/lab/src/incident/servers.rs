//! The real servers of a run: one PostgreSQL and one Redis Cluster, started once, behind proxies that make a network of the
//! loopback. They end with this process, however it ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{cluster::ClusterClient, cluster_async::ClusterConnection};
use serde::Serialize;
use trueup_testbed::{Cluster, ClusterOptions, Failed, Postgres, PostgresOptions};

use super::shop::Distance;
use crate::{
    proxy::{Proxy, Weather},
    world::{Address, LabError, blocking},
};

/// How long a call of the application to its cache may take: its answer may come late, but it must not be lost.
const CACHE_PATIENCE: Duration = Duration::from_secs(10);
/// Processes of an application that share one cache.
const PROCESSES: usize = 16;

/// What an incident ran on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ground {
    pub(crate) database: String,
    pub(crate) cache: String,
    pub(crate) network: &'static str,
}

impl Ground {
    /// Nothing but this process.
    pub(crate) fn embedded() -> Self {
        Self {
            database: format!("SQLite {}", rusqlite::version()),
            cache: "a map of this process".to_owned(),
            network: "waits of the naive side's calls",
        }
    }
}

/// The servers, which stop when this is dropped.
pub(crate) struct Servers {
    postgres: Postgres,
    /// Where applications and nodes connect to PostgreSQL.
    way: Proxy,
    _cluster: Cluster,
    /// The same of each node of the cluster, which tells clients of no other way.
    ways: Vec<Proxy>,
    made: AtomicU32,
    /// Databases that nobody needs any more.
    done: Mutex<Vec<String>>,
    ground: Ground,
}

impl Servers {
    /// Starts them; `seed` chooses the waits of the network.
    ///
    /// # Errors
    /// When a server cannot be started; where its program is missing, with the package to install.
    pub(crate) async fn start(seed: u64) -> Result<Arc<Self>, LabError> {
        let postgres = blocking(|| Ok(Postgres::start(&PostgresOptions::default())?))?;
        let cluster = blocking(|| Ok(Cluster::start(&ClusterOptions::default())?))?;
        let way = uneven(postgres.port(), seed).await?;
        let mut ways = Vec::new();
        for node in cluster.nodes() {
            ways.push(uneven(node.port(), seed.wrapping_add(u64::from(node.port()))).await?);
        }
        let ground = blocking(|| {
            cluster.announce(&ways.iter().map(|way| way.address().port()).collect::<Vec<_>>())?;
            Ok(Ground {
                database: format!("PostgreSQL {}", postgres.query("SHOW server_version")?),
                cache: format!("Redis {}, a cluster of {} nodes", version(&cluster)?, ways.len()),
                network: "waits of proxies before each server, for both sides",
            })
        })?;
        let (made, done) = (AtomicU32::new(0), Mutex::default());
        Ok(Arc::new(Self { postgres, way, _cluster: cluster, ways, made, done, ground }))
    }

    /// Which they are.
    pub(crate) fn ground(&self) -> Ground {
        self.ground.clone()
    }

    /// An empty database; those that were given back are dropped.
    pub(super) async fn new_database(&self) -> Result<String, LabError> {
        let mut session = Address::Postgres(self.postgres.url()).connect().await?;
        let done = std::mem::take(&mut *self.done.lock());
        for name in done {
            // A durable slot of a fleet would keep its database, and the log.
            let slots = format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                 WHERE database = '{name}' AND NOT active"
            );
            let dropped = match session.batch(&slots).await {
                Ok(()) => session.batch(&format!("DROP DATABASE {name} WITH (FORCE)")).await,
                failed => failed,
            };
            if dropped.is_err() {
                // Something of it still ends; the next one tries again.
                self.done.lock().push(name);
            }
        }
        let name = format!("incident_{}", self.made.fetch_add(1, Ordering::Relaxed));
        session.batch(&format!("CREATE DATABASE {name}")).await?;
        Ok(name)
    }

    /// Nobody needs the database any more.
    pub(super) fn done_with(&self, database: String) {
        self.done.lock().push(database);
    }

    pub(super) fn url(&self, database: &str, distance: Distance) -> String {
        let address = match distance {
            Distance::Network => self.way.address(),
            Distance::None => local(self.postgres.port()),
        };
        format!("postgres://postgres@{address}/{database}")
    }

    /// The nodes of the cluster.
    pub(super) fn cache_addresses(&self) -> Vec<String> {
        self.ways.iter().map(|way| way.address().to_string()).collect()
    }

    /// A connection to the cluster for each process of an application, and a name of its own for its keys.
    pub(super) async fn shelf(&self) -> Result<(Vec<ClusterConnection>, String), LabError> {
        let nodes = self.cache_addresses().into_iter().map(|address| format!("redis://{address}"));
        let client = ClusterClient::builder(nodes)
            .connection_timeout(CACHE_PATIENCE)
            .response_timeout(CACHE_PATIENCE)
            .build()?;
        let mut connections = Vec::with_capacity(PROCESSES);
        for _ in 0..PROCESSES {
            connections.push(client.get_async_connection().await?);
        }
        let name = format!("shelf-{}", self.made.fetch_add(1, Ordering::Relaxed));
        Ok((connections, name))
    }
}

async fn uneven(port: u16, seed: u64) -> Result<Proxy, LabError> {
    let proxy = Proxy::start(local(port), seed).await?;
    proxy.set(Weather::uneven());
    Ok(proxy)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn version(cluster: &Cluster) -> Result<String, Failed> {
    let info = cluster.nodes().first().map_or(Ok(String::new()), |node| node.cli(&["INFO", "server"]))?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.unwrap_or("of an unknown version").trim().to_owned())
}
