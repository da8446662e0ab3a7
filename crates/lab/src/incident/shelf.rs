//! What a team keeps beside its database: one map for all its processes, with a life for each entry, over a network.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use trueup_core::env::{Clock, Nanos};

use super::shop::Network;

/// The shared cache of the naive side: `GET`, `SET` with a life, `DEL`.
pub(super) struct Shelf<V> {
    kept: Mutex<HashMap<String, (V, Nanos)>>,
    clock: Clock,
    network: Network,
}

impl<V: Clone> Shelf<V> {
    pub(super) fn new(seed: u64) -> Self {
        let network = Network::new(seed ^ 0x5E1F);
        Self { kept: Mutex::default(), clock: Clock::system(), network }
    }

    pub(super) async fn get(&self, key: &str) -> Option<V> {
        self.network.hop().await;
        let now = self.clock.now();
        let found =
            self.kept.lock().get(key).filter(|(_, until)| *until > now).map(|(value, _)| value.clone());
        self.network.hop().await;
        found
    }

    pub(super) async fn set(&self, key: &str, value: V, life: Duration) {
        self.network.hop().await;
        let until = self.clock.now().after(life);
        self.kept.lock().insert(key.to_owned(), (value, until));
    }

    pub(super) async fn delete(&self, key: &str) {
        self.network.hop().await;
        self.kept.lock().remove(key);
    }
}
