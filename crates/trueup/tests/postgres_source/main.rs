//! PostgreSQL as a source, on a real server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

mod bound;
mod catalogue;
mod classes;
mod loads;
mod node;
mod preflight;
mod queries;
mod standby;
mod support;
mod tls;
mod trap;
mod types;
mod writes;
