//! Keys that do not exist, in front of real databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod measured;
mod node;
mod postgres;
mod restart;
mod sqlite;
