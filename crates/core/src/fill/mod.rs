//! Asking the source, once for all who wait.

mod filter;
mod flight;
mod leases;
mod outbox;
mod remote_counts;

pub(crate) use filter::{Absence, FilterBudget, KeeperParts, Share};
pub use filter::{FILTER_BYTES_MAX_DEFAULT, FilterState, FilterStatus};
pub(crate) use flight::{Ending, Filled, Flight, Flights, Lead, Role};
pub use leases::{BadLease, LEASES_MAX, LeaseId};
pub(crate) use leases::{Claim, Leases};
pub(crate) use outbox::{Fetched, Looked, Outbox, Place, Wanted};
pub use remote_counts::{Delays, REMOTE_BOUNDS_US, RemoteCounts};
