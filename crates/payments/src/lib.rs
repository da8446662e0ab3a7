//! Wallets on a double-entry ledger: transfers, card charges, refunds, statements, a nightly settlement. A service built on
//! `trueup` and `once` as a user would build one.
//!
//! What is shown comes from the cache ([`cache`]), which proves how fresh it is. What is decided is read and locked in the transaction
//! that acts on it: every function that moves or promises money takes a [`domain::Permit`], and a permit is given on an
//! [`Authoritative`](trueup::Authoritative) account alone.

pub mod cache;
pub mod cli;
mod crash;
pub mod demo;
pub mod domain;
mod error;
pub mod gateway;
pub mod http;
pub mod run;
pub mod secret;
pub mod service;
pub mod store;

pub use error::Failed;
