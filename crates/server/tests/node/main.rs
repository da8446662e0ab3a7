//! A whole node over real sockets, in front of a database that the test scripts.

#[cfg(test)]
mod auth;
mod bad_input;
#[cfg(test)]
mod filled;
mod http;
#[cfg(test)]
mod limits;
mod metrics;
mod redis;
#[cfg(test)]
mod source;
mod stop;
#[cfg(test)]
mod support;
#[cfg(test)]
mod warm;
