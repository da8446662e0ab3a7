//! Writes through the cache, on real servers: what is committed enters the tiers, what is accepted is never lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail their test, and figures are printed"
)]

mod behind;
mod crash;
mod support;
mod through;
mod through_sqlite;
