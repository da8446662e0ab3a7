//! Asking the source, once for all who wait.

mod flight;
mod hot;
mod load_time;
mod locks;
mod outbox;
mod remote_counts;
pub(crate) mod xfetch;

pub(crate) use flight::{Crowd, Ending, Filled, Flight, Flights, Lead, Role, Waiting};
pub(crate) use hot::{HotSet, Rest};
pub(crate) use load_time::LoadTime;
pub(crate) use locks::{Claimed, FleetLocks, Hold, LIFE_MAX, lock_life};
pub(crate) use outbox::{Fetched, Looked, Outbox, Place, Wanted};
pub use remote_counts::{Delays, REMOTE_BOUNDS_US, RemoteCounts};
