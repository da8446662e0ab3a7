//! How nodes share one slot.

use std::{path::PathBuf, sync::Arc, time::Duration};

/// The slot of a fleet.
pub const SLOT_DEFAULT: &str = "trueup";
/// How often a node saves what it knows, and the slot is confirmed.
pub const SAVE_EVERY_DEFAULT: Duration = Duration::from_secs(10);
/// How much of what was told a node keeps for those that follow it, in bytes.
pub const RING_BYTES_DEFAULT: usize = 64 << 20;

/// What followers show to the node that they follow.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetToken(Arc<str>);

impl FleetToken {
    /// The token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for FleetToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetToken(..)")
    }
}

/// How nodes share one slot.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The slot; the same for all nodes of a fleet.
    pub slot: String,
    /// Where other nodes reach this one, such as `http://10.0.0.7:7380`. Without it the node follows others but is followed
    /// by none.
    pub advertise: Option<String>,
    /// Where the node keeps what it knows over a restart.
    pub state_dir: Option<PathBuf>,
    /// How often it is saved, and the slot confirmed.
    pub save_every: Duration,
    /// How much of what was told is kept for those that follow, in bytes.
    pub ring_bytes: usize,
    /// What this node shows to the one that it follows.
    pub token: Option<FleetToken>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            slot: SLOT_DEFAULT.to_owned(),
            advertise: None,
            state_dir: None,
            save_every: SAVE_EVERY_DEFAULT,
            ring_bytes: RING_BYTES_DEFAULT,
            token: None,
        }
    }
}
