//! All servers of one tier, and where the tier's keys are among them.

use std::sync::{Arc, atomic::Ordering};

use arc_swap::ArcSwap;
use compact_str::{CompactString, ToCompactString as _};
use parking_lot::Mutex;

use super::{
    map::{Map, View},
    server::{Server, Shared},
};
use crate::plan::{RemoteAddress, RemoteNode};

/// Servers remembered that a cluster referred to and that hold no slot by the map.
const WANTED_MAX: usize = 64;

/// The servers of one tier.
#[derive(Debug)]
pub(super) struct Servers {
    name: CompactString,
    /// Keys have slots.
    pub(super) is_cluster: bool,
    /// Where the cluster is asked for when nobody known answers.
    pub(super) seeds: Vec<RemoteNode>,
    shared: Arc<Shared>,
    map: ArcSwap<Map>,
    /// Servers that hold copies: one of them may be the next primary.
    replicas: Mutex<Vec<RemoteNode>>,
    wanted: Mutex<Vec<RemoteNode>>,
}

impl Servers {
    pub(super) fn new(address: &RemoteAddress, shared: Arc<Shared>) -> Self {
        let map = match address.nodes.first() {
            Some(node) if !address.is_cluster => {
                Map::of_one(Server::start(node.clone(), Arc::clone(&shared)))
            }
            _ => Map::unknown(),
        };
        Self {
            name: address.to_compact_string(),
            is_cluster: address.is_cluster,
            seeds: address.nodes.clone(),
            shared,
            map: ArcSwap::from_pointee(map),
            replicas: Mutex::default(),
            wanted: Mutex::default(),
        }
    }

    /// The tier's address, without credentials.
    pub(super) const fn name(&self) -> &CompactString {
        &self.name
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn map(&self) -> Arc<Map> {
        self.map.load_full()
    }

    /// The server that holds `slot`, as far as is known.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Server>> {
        self.map.load().owner(slot).cloned()
    }

    /// The server at an address that a cluster has referred to, if it can be asked; otherwise it will be connected.
    pub(super) fn find_or_want(&self, node: &RemoteNode) -> Option<Arc<Server>> {
        if let Some(server) = self.map.load().at(node) {
            return Some(Arc::clone(server)).filter(|server| server.is_usable());
        }
        let mut wanted = self.wanted.lock();
        if !wanted.contains(node) && wanted.len() < WANTED_MAX {
            wanted.push(node.clone());
        }
        drop(wanted);
        self.shared.distrust_map();
        None
    }

    /// Goes by `view` from now on; servers already known are kept with their connections.
    pub(super) fn adopt(&self, view: &View) {
        let old = self.map.load_full();
        // Those referred to since the last look: one that holds no slot yet is asked while a slot is on its way to it.
        let wanted = std::mem::take(&mut *self.wanted.lock());
        let server = |node: &RemoteNode| match old.at(node) {
            Some(server) => Arc::clone(server),
            None => Server::start(node.clone(), Arc::clone(&self.shared)),
        };
        self.map.store(Arc::new(Map::of_view(view, &wanted, server)));
        self.replicas.lock().clone_from(&view.replicas);
        self.shared.counts.maps.fetch_add(1, Ordering::Relaxed);
    }

    /// Addresses at which the cluster can be asked about itself, apart from `known` ones.
    pub(super) fn other_addresses(&self, known: &[Arc<Server>]) -> Vec<RemoteNode> {
        let mut addresses = self.seeds.clone();
        addresses.extend(self.replicas.lock().iter().cloned());
        addresses.extend(self.map.load().servers.iter().map(|server| server.node.clone()));
        addresses.sort_unstable();
        addresses.dedup();
        addresses.retain(|node| known.iter().all(|server| server.node != *node));
        addresses
    }

    /// Returns once a server is of use for the first time.
    pub(super) async fn until_ready(&self) {
        // Fails only when the sender is gone, which `self` holds.
        let _ = self.shared.ready.subscribe().wait_for(|ready| *ready).await;
    }
}
