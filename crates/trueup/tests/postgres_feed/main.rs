//! What the feed of a PostgreSQL source promises, on real servers.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod changes;
mod delay;
mod fleet;
mod install;
mod interruptions;
mod restored;
mod start;
mod support;
