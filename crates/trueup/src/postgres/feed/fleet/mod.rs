//! One slot for several nodes.
//!
//! The slot's exclusivity elects the node that holds it; the others follow that node over HTTP. What is told is a pure
//! function of the database's log, so a node takes a message from whichever holder, as long as it is of its own epoch and
//! continues where the node is.

mod client;
mod follower;
mod history;
mod holder;
mod message;
mod node;
mod options;
mod ring;
mod saved;
mod serve;
mod telling;
#[cfg(test)]
mod tests;

pub(in crate::postgres::feed) use self::history::Verdict;
pub use self::{
    message::{BadMessage, Told},
    node::Fleet,
    options::{FleetOptions, FleetToken, RING_BYTES_DEFAULT, SAVE_EVERY_DEFAULT, SLOT_DEFAULT},
    serve::{FeedBody, LEDGER_PATH, STREAM_PATH, respond},
};

use super::{asker, assemble, connection, control, error, host, reader, single, status};
