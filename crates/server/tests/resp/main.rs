//! The RESP server over real sockets, in front of a service that the tests hold back and release.

mod hostile;
mod pipeline;
mod session;
mod stop;
#[cfg(test)]
mod support;
