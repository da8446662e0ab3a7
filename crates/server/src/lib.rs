//! Trueup over RESP and HTTP, and its command line.
//!
//! [`resp`] is the protocol of Redis clients, [`redis`] answers its commands from a catalogue of classes, [`http`] answers
//! the same over HTTP; [`node`] is what both share, [`serve`] runs them, [`warm`] is what a node reads
//! before anybody asks, [`cli`] is the command.
//! Nothing here decides whether an answer is true:
//! that is the engine's.

pub mod cli;
pub mod http;
pub mod metrics;
pub mod node;
pub mod redis;
pub mod resp;
pub mod serve;
pub mod warm;
