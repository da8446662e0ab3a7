//! The SQLite source on real files: what other programs write is seen, whatever they do.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "helpers of tests fail their test"
)]

mod bad_input;
mod continuity;
mod follow;
mod install;
mod node;
mod queries;
