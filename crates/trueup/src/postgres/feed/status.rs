//! What the feed is doing, for people.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use super::fleet::{Fleet, FleetOptions};
use crate::postgres::registry::Registry;

/// How a node gets the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Not at all, yet.
    #[default]
    None,
    /// By a slot of its own, which is gone with its connection.
    Single,
    /// By the fleet's slot, which it holds.
    Holder,
    /// From the node that holds the slot.
    Follower {
        /// Its address.
        of: String,
    },
}

/// What the feed is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedState {
    /// How this node gets the log.
    pub role: Role,
    /// The replication slot.
    pub slot: Option<String>,
    /// Number of the connection that tells the log; moves when it is made anew.
    pub connection: Option<u64>,
    /// How often a connection was made.
    pub connections: u64,
    /// What is waited for before anything can be kept: a transaction, with the process that runs it.
    pub waiting_for: Option<String>,
}

/// Where the feed tells what it is doing. Clones share it.
#[derive(Clone, Default)]
pub struct FeedStatus {
    state: Arc<Mutex<FeedState>>,
    fleet: Arc<OnceLock<Fleet>>,
    mapping: Arc<Mutex<Option<Mapped>>>,
}

/// A registry and the digest of how it maps.
type Mapped = (Arc<Registry>, [u8; 16]);

impl std::fmt::Debug for FeedStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.now().fmt(f)
    }
}

impl FeedStatus {
    /// What the feed is doing now.
    #[must_use]
    pub fn now(&self) -> FeedState {
        self.state.lock().clone()
    }

    /// What this node shares with others, made once.
    pub(super) fn fleet(&self, options: &FleetOptions) -> &Fleet {
        self.fleet.get_or_init(|| Fleet::new(options.clone()))
    }

    /// Digest of everything that decides which tags a change raises.
    pub(super) fn mapping_digest(&self, registry: &Arc<Registry>) -> [u8; 16] {
        let mut known = self.mapping.lock();
        if let Some((of, digest)) = &*known
            && Arc::ptr_eq(of, registry)
        {
            return *digest;
        }
        let digest = mapping_digest(registry);
        *known = Some((Arc::clone(registry), digest));
        digest
    }

    pub(super) fn enter(&self, role: Role, slot: Option<&str>, connection: u64) {
        let mut state = self.state.lock();
        *state = FeedState {
            role,
            slot: slot.map(str::to_owned),
            connection: Some(connection),
            connections: state.connections + 1,
            waiting_for: None,
        };
    }

    /// The session is over.
    pub(super) fn leave(&self) {
        self.state.lock().role = Role::None;
    }

    pub(super) fn connection(&self, number: u64) {
        self.state.lock().connection = Some(number);
    }

    /// Says what is waited for; true where it is something else than before.
    pub(super) fn wait_for(&self, what: Option<String>) -> bool {
        let mut state = self.state.lock();
        let moved = state.waiting_for != what;
        state.waiting_for = what;
        moved
    }
}

/// Names and keys of the published tables and of those above them, and the groups: nothing that differs between nodes by
/// what each of them happens to serve.
fn mapping_digest(registry: &Registry) -> [u8; 16] {
    let mut text = String::new();
    for (oid, table) in &registry.tables {
        let is_published = registry.published.contains_key(oid);
        let is_above = table.descendants.iter().any(|below| registry.published.contains_key(below));
        if is_published || is_above {
            let (name, key, groups) = (&table.name, &table.key, registry.groups_of(table));
            text += &format!("{oid} {is_published} {name:?} {key:?} {:?} {groups:?}\n", table.ancestors);
        }
    }
    xxh3_128(text.as_bytes()).to_le_bytes()
}
