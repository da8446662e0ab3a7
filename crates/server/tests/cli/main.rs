//! The `trueup` binary, as people and programs run it.

#[cfg(test)]
mod analyze;
mod bad_input;
#[cfg(test)]
mod cold_figure;
mod configured;
#[cfg(test)]
mod demo;
mod init;
mod remote;
mod serve;
#[cfg(test)]
mod support;
#[cfg(test)]
mod warm;
#[cfg(test)]
mod writes;
