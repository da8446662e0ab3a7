//! The source in trouble, on real servers: figures with the naive way beside them, taken in one run. They take minutes, so each is
//! run by name: `cargo test -p trueup --test guards -- --ignored --nocapture NAME`.

#![cfg(all(feature = "postgres", feature = "sqlite", feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

mod avalanche;
mod load;
mod naive;
mod one_life;
mod sale;
mod stopped;
mod world;
