//! The `trueup` binary, as people and programs run it.

mod bad_input;
mod configured;
#[cfg(test)]
mod demo;
mod init;
mod remote;
mod serve;
#[cfg(test)]
mod support;
mod writes;
