//! Asking the source, once for all who wait.

mod flight;
mod outbox;

pub(crate) use flight::{Ending, Filled, Flight, Flights, Lead, Role};
pub use outbox::RemoteCounts;
pub(crate) use outbox::{Fetched, Outbox, Place};
