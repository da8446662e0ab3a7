//! PostgreSQL as a source, on a real server.

mod catalogue;
mod classes;
mod loads;
mod node;
mod preflight;
mod queries;
mod standby;
mod support;
mod trap;
mod types;
mod writes;
