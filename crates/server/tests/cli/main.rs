//! The `trueup` binary, as people and programs run it.

mod bad_input;
mod configured;
mod demo;
mod init;
mod serve;
mod support;
