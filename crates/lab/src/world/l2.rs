//! The remote tier, where the run has one.

use std::net::SocketAddr;

use parking_lot::Mutex;
use trueup_testbed::{Cluster, ClusterOptions, Failed, Redis, RedisOptions};

use super::{LabError, Settings, sql::blocking};
use crate::proxy::{Proxy, Weather};

/// Which remote tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum L2Kind {
    /// Memory alone.
    #[default]
    None,
    /// One Redis server, each node behind a proxy of its own.
    Redis,
    /// Three primaries, each with a replica.
    Cluster,
}

/// The remote tier, as faults reach it.
#[derive(Debug)]
pub(crate) enum L2 {
    None,
    Redis { server: Mutex<Redis>, proxies: Vec<Proxy> },
    Cluster(Mutex<Cluster>),
}

impl L2 {
    pub(super) async fn start(settings: &Settings) -> Result<Self, LabError> {
        Ok(match settings.l2 {
            L2Kind::None => Self::None,
            L2Kind::Redis => {
                let server = blocking(|| Ok(Redis::start(&RedisOptions::default())?))?;
                let upstream = SocketAddr::from(([127, 0, 0, 1], server.port()));
                let mut proxies = Vec::new();
                for node in 0..settings.nodes {
                    proxies.push(Proxy::start(upstream, settings.seed ^ 0x5EED ^ node as u64).await?);
                }
                Self::Redis { server: Mutex::new(server), proxies }
            }
            L2Kind::Cluster => {
                let cluster = blocking(|| Ok(Cluster::start(&ClusterOptions::default())?))?;
                Self::Cluster(Mutex::new(cluster))
            }
        })
    }

    /// What a node is told.
    pub(super) fn url(&self, node: usize) -> Option<String> {
        match self {
            Self::None => None,
            Self::Redis { proxies, .. } => {
                proxies.get(node).map(|proxy| format!("redis://{}", proxy.address()))
            }
            Self::Cluster(cluster) => Some(cluster.lock().url()),
        }
    }

    /// The weather between a node and the remote tier.
    pub(crate) fn weather(&self, node: usize, weather: Weather) {
        if let Self::Redis { proxies, .. } = self
            && let Some(proxy) = proxies.get(node)
        {
            proxy.set(weather);
        }
    }

    /// Does something with the one server that blocks.
    pub(crate) fn redis<T>(&self, work: impl FnOnce(&mut Redis) -> Result<T, Failed>) -> Result<T, LabError> {
        match self {
            Self::Redis { server, .. } => blocking(|| Ok(work(&mut server.lock())?)),
            _ => Err(LabError::Usage("this fault needs `--l2 redis`".to_owned())),
        }
    }

    /// Does something with the cluster that blocks.
    pub(crate) fn cluster<T>(
        &self,
        work: impl FnOnce(&mut Cluster) -> Result<T, Failed>,
    ) -> Result<T, LabError> {
        match self {
            Self::Cluster(cluster) => blocking(|| Ok(work(&mut cluster.lock())?)),
            _ => Err(LabError::Usage("this fault needs `--l2 cluster`".to_owned())),
        }
    }
}
