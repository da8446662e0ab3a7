//! What a team keeps beside its database: one cache for all its processes, with a life for each entry, over a network. A map
//! of this process, or the run's Redis Cluster.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use redis::cluster_async::ClusterConnection;
use serde::{Serialize, de::DeserializeOwned};
use trueup_core::env::{Clock, Nanos};

use super::{Setup, network::Network};
use crate::world::LabError;

/// The shared cache of the naive side: `GET`, `SET` with a life, `DEL`.
pub(super) struct Shelf<V> {
    place: Place<V>,
}

enum Place<V> {
    Embedded {
        kept: Mutex<HashMap<String, (V, Nanos)>>,
        clock: Clock,
        network: Network,
    },
    /// Values as JSON, under keys that begin with the shelf's name.
    Cluster {
        processes: Processes,
        name: String,
        values: PhantomData<fn() -> V>,
    },
}

/// Connections of a team's processes. Commands on one connection keep their order; those of two processes overtake each other.
struct Processes {
    connections: Vec<ClusterConnection>,
    calls: AtomicUsize,
}

impl Processes {
    /// The connection of whichever process makes the next call.
    fn next(&self) -> ClusterConnection {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.connections[call % self.connections.len()].clone()
    }
}

impl<V: Clone + Serialize + DeserializeOwned> Shelf<V> {
    /// An empty one.
    pub(super) async fn open(setup: &Setup) -> Result<Self, LabError> {
        let place = match &setup.full {
            None => Place::Embedded {
                kept: Mutex::default(),
                clock: Clock::system(),
                network: Network::new(setup.seed ^ 0x5E1F),
            },
            Some(servers) => {
                let (connections, name) = servers.shelf().await?;
                let processes = Processes { connections, calls: AtomicUsize::new(0) };
                Place::Cluster { processes, name, values: PhantomData }
            }
        };
        Ok(Self { place })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<V>, LabError> {
        match &self.place {
            Place::Embedded { kept, clock, network } => {
                network.hop().await;
                let now = clock.now();
                let found =
                    kept.lock().get(key).filter(|(_, until)| *until > now).map(|(value, _)| value.clone());
                network.hop().await;
                Ok(found)
            }
            Place::Cluster { processes, name, .. } => {
                let mut get = redis::cmd("GET");
                get.arg(format!("{name}:{key}"));
                let found: Option<Vec<u8>> = get.query_async(&mut processes.next()).await?;
                let read = found.map(|json| serde_json::from_slice(&json)).transpose();
                read.map_err(|why| LabError::failed("a value of the shelf", why))
            }
        }
    }

    pub(super) async fn set(&self, key: &str, value: V, life: Duration) -> Result<(), LabError> {
        match &self.place {
            Place::Embedded { kept, clock, network } => {
                network.hop().await;
                let until = clock.now().after(life);
                kept.lock().insert(key.to_owned(), (value, until));
                Ok(())
            }
            Place::Cluster { processes, name, .. } => {
                let json = serde_json::to_vec(&value);
                let json = json.map_err(|why| LabError::failed("a value of the shelf", why))?;
                let mut set = redis::cmd("SET");
                set.arg(format!("{name}:{key}")).arg(json).arg("PX").arg(life.as_millis() as u64);
                Ok(set.query_async(&mut processes.next()).await?)
            }
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), LabError> {
        match &self.place {
            Place::Embedded { kept, network, .. } => {
                network.hop().await;
                kept.lock().remove(key);
                Ok(())
            }
            Place::Cluster { processes, name, .. } => {
                let mut delete = redis::cmd("DEL");
                delete.arg(format!("{name}:{key}"));
                Ok(delete.query_async(&mut processes.next()).await?)
            }
        }
    }
}
