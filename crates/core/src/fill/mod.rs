//! Asking the source, once for all who wait.

mod flight;
mod outbox;
mod remote_counts;

pub(crate) use flight::{Ending, Filled, Flight, Flights, Lead, Role};
pub(crate) use outbox::{Fetched, Looked, Outbox, Place, Wanted};
pub use remote_counts::{Delays, REMOTE_BOUNDS_US, RemoteCounts};
