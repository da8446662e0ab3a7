//! The service over a real socket, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod berka;
mod canary;
mod contract;
mod figures;
mod money;
mod refusals;
mod shown;
mod support;
