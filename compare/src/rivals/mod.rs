//! The rivals in Rust. Each is set up as its documentation says for a table behind two tiers and several nodes; what is
//! chosen, and why, stands at the head of its file.

mod by_hand;
mod cachet;
mod foyer;
mod hitbox;
mod multi_tier;
mod trueup;

use anyhow::Result;

pub(crate) use self::{
    by_hand::ByHand, cachet::Cachet, foyer::Foyer, hitbox::Hitbox, multi_tier::MultiTier, trueup::Ours,
};
use crate::{driver::Database, protocol::Open};

/// One node of one rival.
pub(crate) trait Rival: Send + Sync + Sized + 'static {
    /// Connects.
    fn open(open: &Open, database: &Database) -> impl Future<Output = Result<Self>> + Send;

    /// The version of the row under `id`, as the cache answers it.
    fn get(&self, id: i64) -> impl Future<Output = Result<i64>> + Send;

    /// What this node does after it has changed the row under `id` and the commit is acknowledged.
    fn changed(&self, id: i64) -> impl Future<Output = Result<()>> + Send;

    /// Closes what lies on disk.
    fn hand_over(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// The name of a row in Redis.
fn name(id: i64) -> String {
    format!("item:{id}")
}
