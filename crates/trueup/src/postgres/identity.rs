//! What names an epoch of the source.

use trueup_core::entry::{EpochId, EpochParts};

/// With a timeline, the name of an epoch. The feed sets it when it has entered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// `system_identifier` of the cluster.
    pub(super) system_id: u64,
    /// Drawn when the feed was installed, and anew whenever it was lost.
    pub(super) feed_nonce: u128,
    /// Drawn anew whenever continuity was lost.
    pub(super) generation: u64,
}

impl Identity {
    /// The epoch on `timeline`.
    pub(super) fn epoch(&self, timeline: u32) -> EpochId {
        EpochId::new(&EpochParts {
            system_id: self.system_id,
            timeline,
            feed_nonce: self.feed_nonce,
            generation: self.generation,
        })
    }
}

/// One start of the server. Files that are put back from a copy, and copies that take another's place, are another one; so a
/// log that is told within one start has lost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instance(pub(super) i64);

/// The [`Instance`] as a column: when the server started, in microseconds since 1970 by its clock.
pub(super) const INSTANCE: &str = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

/// The epoch of what is loaded before the feed has entered one: never a node's, so it is answered and not kept.
pub(super) const NO_EPOCH: EpochId = EpochId::UNKNOWN;
