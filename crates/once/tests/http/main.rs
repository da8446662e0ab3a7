//! The contract over HTTP, row by row, over a real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "the server runs in a task")]

mod gates;
mod service;
mod table;
mod wire;
