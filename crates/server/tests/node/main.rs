//! A whole node over real sockets, in front of a database that the test scripts.

mod auth;
mod bad_input;
mod http;
mod metrics;
mod redis;
mod source;
mod stop;
mod support;
