//! The same promises on PostgreSQL and on SQLite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "tests start tasks to kill them")]

mod bed;
mod completer;
mod engine;
mod inbox;
mod jobs;
mod lease;
mod measured;
mod migrate;
mod outbox;
mod properties;
mod scripts;
mod stores;
