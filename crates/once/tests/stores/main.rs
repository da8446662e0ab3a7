//! The same promises on PostgreSQL and on SQLite.

#![allow(clippy::disallowed_methods, reason = "tests start tasks to kill them")]

mod bed;
mod completer;
mod engine;
mod inbox;
mod jobs;
mod lease;
mod migrate;
mod outbox;
mod properties;
mod scripts;
mod stores;
