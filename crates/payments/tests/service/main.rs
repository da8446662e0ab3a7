//! The service over a real socket, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod berka;
mod books;
mod canary;
mod contract;
mod events;
mod figures;
mod money;
mod refusals;
mod shown;
mod standing;
mod support;
mod tls;
mod wire;
