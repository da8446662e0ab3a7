//! Where entries are held: memory (L1) and the remote tier (L2).
//!
//! A tier stores and forgets; it decides nothing about truth. Whether an entry may be served is the proof's business, so
//! every tier may lose anything at any time and the worst that follows is a miss.

pub mod memory;

pub use memory::{Departures, Insertion, MemoryConfig, MemoryTier, Policy, Reason, Weighed};
