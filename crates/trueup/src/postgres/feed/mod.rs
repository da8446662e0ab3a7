//! The feed: PostgreSQL's logical replication, applied to the ledger.
//!
//! `connection` brings the bytes, `pgoutput` decodes them, `assemble` makes whole transactions of them, `reader` applies
//! these; `asker` asks how far the source is, which makes answers fresh; `single` and `fleet` decide where an epoch begins.

mod asker;
mod assemble;
mod connection;
mod control;
mod error;
pub mod fleet;
mod host;
pub(super) mod mapper;
mod options;
pub mod pgoutput;
mod reader;
mod single;
mod status;
#[cfg(test)]
pub(in crate::postgres) mod tests;

use std::time::Duration;

use trueup_core::apply::Feed;

pub use self::{
    options::{ASK_BUSY_DEFAULT, ASK_IDLE_DEFAULT, FeedOptions},
    status::{FeedState, FeedStatus, Role},
};

use self::{asker::Ended, host::Host};
use super::handle::{Postgres, Shared};

/// The pause after a failure begins here and doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two attempts to follow.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The same in a fleet.
const FLEET_PAUSE_MAX: Duration = Duration::from_millis(500);
/// A session that lasted so long ends the growth of pauses.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Follows the log until told to stop: see [`trueup_core::source::Source::follow`].
pub(super) async fn follow(shared: &Shared, feed: &Feed) {
    follow_host(shared, feed).await;
}

impl Postgres {
    /// What this node shares with others, to be told over HTTP; none outside of fleets.
    #[must_use]
    pub fn fleet(&self) -> Option<fleet::Fleet> {
        let options = self.shared.options.feed.fleet.as_ref()?;
        Some(self.shared.feed_status.fleet(options).clone())
    }

    /// What the feed is doing: its role, its slot, and what it waits for.
    #[must_use]
    pub fn feed_state(&self) -> FeedState {
        self.shared.feed_status.now()
    }
}

async fn follow_host(host: &dyn Host, feed: &Feed) {
    let mut pause = RETRY_PAUSE_MIN;
    let node = host.options().fleet.as_ref().map(|options| host.status().fleet(options));
    while !feed.stopped() {
        let began_at = host.clock().now();
        let session = async {
            match node {
                Some(node) => Box::pin(node.follow(host, feed)).await,
                None => Box::pin(single::follow(host, feed)).await,
            }
        };
        let outcome = tokio::select! {
            outcome = session => outcome,
            () = feed.until_stopped() => break,
        };
        host.status().leave();
        if host.clock().now().since(began_at) > SETTLED_AFTER {
            pause = RETRY_PAUSE_MIN;
        }
        match outcome {
            Ok(Ended::Broken(why)) => {
                tracing::warn!(why, "the log does not continue; entering a new epoch");
                // Positions mean something else now: nothing may be proven by those of before.
                host.set_identity(None);
                feed.end_epoch();
            }
            Ok(Ended::Moved(why)) => tracing::info!(why, "following anew"),
            Err(error) => feed.failed(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = feed.until_stopped() => break,
        }
        // Whoever takes over from a node that is gone must not sleep for long.
        let longest = if node.is_some() { FLEET_PAUSE_MAX } else { RETRY_PAUSE_MAX };
        pause = (pause * 2).min(longest);
    }
    if let Some(node) = node {
        node.shut_down(feed).await;
    }
}
