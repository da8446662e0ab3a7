//! RESP: the protocol that every Redis client speaks.
//!
//! Bytes become commands in [`parse`] (framing) and [`command`] (meaning); commands become bytes again in [`reply`]. A
//! `Connection` reads bursts, asks the [`Service`] and keeps replies in order; [`serve`] accepts connections. What stands behind the service is not known here.
//!
//! Replies come in the order of their commands. Reads of one pipeline may overlap while they wait for the source; a
//! command that changes something waits for those before it and holds back those after it.

pub mod args;
mod buffer;
pub mod command;
pub mod config;
mod connection;
mod counters;
mod execute;
mod info;
pub mod limits;
pub mod parse;
pub mod reply;
mod server;
mod service;
mod session;
mod timer;
mod turn;

pub use self::{
    config::{Config, Password},
    counters::Counters,
    info::{Info, Section},
    server::serve,
    service::{Outcome, PendingReply, Service},
    session::Session,
};
