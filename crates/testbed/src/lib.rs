//! Real servers for tests: each in a temporary folder, on free ports of 127.0.0.1, and gone when its handle is dropped or
//! the test is killed. And [`refused`]: programs that must not compile.
//!
//! Everything here blocks: call it from a test's own thread, or through `spawn_blocking`.

mod cluster;
mod error;
mod postgres;
mod process;
mod redis;
mod refused;
mod template;

pub use self::{
    cluster::{Cluster, ClusterOptions},
    error::Failed,
    postgres::{Postgres, PostgresOptions, Stop},
    process::{Server, eventually, free_port, spawn, tied},
    redis::{Redis, RedisOptions},
    refused::refused,
};
