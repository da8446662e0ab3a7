//! One slot for several nodes.

use trueup_core::apply::Feed;

use super::{asker::Ended, error::FeedError, host::Host, options::FeedOptions};

/// How nodes share one slot.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The slot.
    pub slot: String,
}

/// A node of a fleet.
pub(super) struct Node;

impl Node {
    pub(super) fn new(options: &FeedOptions) -> Option<Self> {
        options.fleet.as_ref().map(|_| Self)
    }

    pub(super) async fn follow(&self, _: &dyn Host, _: &Feed) -> Result<Ended, FeedError> {
        Ok(Ended::Moved("fleets are not followed yet"))
    }

    pub(super) async fn shut_down(&self, _: &Feed) {}
}
