//! What the feed of a PostgreSQL source promises, on real servers.
#![cfg(feature = "postgres")]

mod changes;
mod fleet;
mod install;
mod interruptions;
mod start;
mod support;
