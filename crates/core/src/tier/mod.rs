//! Where entries are held: memory (L1) and the remote tier (L2).
//!
//! A tier stores and forgets; it decides nothing about truth. Whether an entry may be served is the proof's business, so
//! every tier may lose anything at any time and the worst that follows is a miss.

mod double;
mod entry;
pub mod life;
mod locks;
pub mod memory;
pub mod remote;
mod replay;

pub use entry::{Entry, Stay};
pub use life::jittered;
pub use locks::{Claim, FillLocks, LockKey, LockOwner};
pub use memory::{
    Departures, Held, Insertion, MemoryConfig, MemoryTier, Policy, Print, Reason, Uses, Weighed,
};
pub use remote::{
    RemoteError, RemoteKey, RemoteMemory, RemoteOperation, RemotePlace, RemotePut, RemoteResult,
    RemoteServer, RemoteTier,
};
pub use replay::Replay;

/// A double of the remote tier that loses, ages, corrupts and delays on request.
///
/// For tests and demonstrations, of this crate and of its users: what an engine does when its remote tier misbehaves can
/// be shown without a server. Not for production: it keeps old versions and is guarded by one lock.
pub mod testing {
    pub use super::double::{Fault, FaultRates, RemoteDouble};
}
