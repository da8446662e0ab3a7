//! Many readers of one key, on real servers, with the naive way beside. Slow, and a table for people:
//! `cargo test -p trueup --test stampede -- --ignored --nocapture --test-threads 1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail their test, and figures are printed"
)]

mod naive;
mod one_key;
mod support;
