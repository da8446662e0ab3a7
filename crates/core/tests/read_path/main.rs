//! The read path as a whole, against a database whose every step a test controls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod flights;
mod incidents;
mod promises;
mod source;
mod world;
