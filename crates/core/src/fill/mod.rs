//! Asking the source, once for all who wait.

mod behind;
mod filter;
mod flight;
mod hot;
mod leases;
mod load_time;
mod locks;
mod outbox;
mod remote_counts;
pub(crate) mod xfetch;

pub use behind::{
    Applied, ApplyError, BadSegment, Batch, BehindConfig, BehindCounts, BehindError, Change,
    FLUSH_EVERY_DEFAULT, FRAME_BYTES_MAX, Frame, JOURNAL_BYTES_MAX_DEFAULT, JournalError, JournalId, Record,
    SegmentHeader, Sink, WriteBehind, decode_frame, decode_header, encode_frame, encode_header,
    has_frame_after,
};
pub(crate) use behind::{Overlay, Pending};
pub(crate) use filter::{Absence, FilterBudget, FilterStore, KeeperParts, Share};
pub use filter::{FILTER_BYTES_MAX_DEFAULT, FilterStart, FilterState, FilterStatus};
pub(crate) use flight::{Crowd, Driving, Ending, Filled, Flight, Flights, Lead, Role, Waiting};
pub(crate) use hot::{HotSet, Rest};
pub use leases::{BadLease, LEASES_MAX, LeaseId};
pub(crate) use leases::{Claim, Leases};
pub(crate) use load_time::LoadTime;
pub(crate) use locks::{Claimed, FleetLocks, Hold, LIFE_MAX, lock_life};
pub(crate) use outbox::{Fetched, Looked, Outbox, Place, Wanted};
pub use remote_counts::{Delays, REMOTE_BOUNDS_US, RemoteCounts};
