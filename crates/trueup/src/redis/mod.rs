//! Redis or Valkey as the remote tier: one server, or a cluster.
//!
//! What is stored there is never trusted (see the engine's [`RemoteTier`](trueup_core::tier::RemoteTier)): a server that
//! loses, delays, rolls back or corrupts entries costs loads, and a server that is down costs nothing but the loads that it
//! would have saved. So everything here is made to fail fast: a call has a deadline of its own, waits for no connection
//! and in no queue, and goes to no server that has just failed several times.
//!
//! The client library speaks to one server; what makes a cluster of them is here (see [`Redis`] for why).

mod batch;
mod check;
mod connect;
mod deadline;
mod fault;
mod handle;
mod keeper;
mod lock;
mod map;
mod memory;
mod options;
mod script;
mod server;
mod servers;
mod tier;

pub use self::{
    check::{ServerFacts, ServerFinding},
    fault::RedisError,
    handle::Redis,
    options::{RedisOptions, Tls},
    tier::{RedisStats, RedisTier},
};
