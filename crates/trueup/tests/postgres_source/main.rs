//! PostgreSQL as a source, on a real server.

mod catalogue;
mod loads;
mod queries;
mod support;
mod trap;
mod types;
mod writes;
