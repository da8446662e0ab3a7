//! Keys from outside: laws of the normal form, spellings of one thing, and comparison with published data.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

mod calendar;
mod columns;
mod declared;
mod laws;
mod scope;
mod shared_data;
mod spellings;
