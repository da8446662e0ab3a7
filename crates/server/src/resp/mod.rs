//! RESP: the protocol that every Redis client speaks.
//!
//! Bytes become commands in [`parse`] (framing) and [`command`] (meaning).

pub mod args;
pub mod command;
pub mod limits;
pub mod parse;
pub mod reply;
