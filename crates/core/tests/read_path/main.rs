//! The read path as a whole, against a database whose every step a test controls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod absent;
mod admission;
mod age_bounded;
mod aside;
mod behaviours;
mod by_text;
mod check;
mod fill_locks;
mod flights;
mod guards;
mod histories;
mod incidents;
mod lives;
mod many;
mod promises;
mod publish;
mod receipts;
mod refresh;
mod remote;
mod source;
mod spellings;
mod stale;
mod standby;
mod together;
mod unsupported;
mod waiters;
mod warm;
mod world;
mod written;
