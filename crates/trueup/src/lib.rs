//! (crate page to be written)

pub mod plan;
#[cfg(feature = "sqlite")]
pub mod sqlite;
