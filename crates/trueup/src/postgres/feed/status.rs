//! What the feed is doing, for people.

use std::sync::Arc;

use parking_lot::Mutex;

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
#[derive(Clone, Debug, Default)]
pub struct FeedStatus {
    state: Arc<Mutex<FeedState>>,
}

impl FeedStatus {
    /// What the feed is doing now.
    #[must_use]
    pub fn now(&self) -> FeedState {
        self.state.lock().clone()
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
