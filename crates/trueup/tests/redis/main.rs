//! The remote tier on real servers: Redis (or what `TRUEUP_TEST_REDIS` names, such as a `valkey-server`), and a cluster of six.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

mod access;
mod check;
mod cluster;
mod locks;
mod nodes;
mod peer;
mod standalone;
mod support;
