//! A cache for services that cannot be wrong: the proof travels with the entry.

pub mod catalog;
pub mod plan;
#[cfg(feature = "sqlite")]
pub mod sqlite;
