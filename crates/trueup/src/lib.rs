//! (crate page to be written)

pub mod plan;
