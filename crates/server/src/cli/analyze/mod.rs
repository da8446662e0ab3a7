//! `trueup analyze`: what access logs, and what a server has measured, tell.

mod cost;
mod hot;
mod keys;
pub(super) mod log;
mod mrc;
mod ttl;
mod workload;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Values that are cached under several keys, because their keys are spelled in several ways
    Keys(keys::Args),
    /// The keys that an access log asks for most, with what share of its requests they cover
    Hot(hot::Args),
    /// The miss ratio for each size of memory and each policy, by replaying the log through the memory tier
    Mrc(mrc::Args),
    /// The lives of classes that nothing but age ends, derived from the lag that a running server has measured
    Ttl(ttl::Args),
    /// What each size of memory costs a month, in memory, loads and transfer between zones, and which is the cheapest
    Cost(cost::Args),
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Keys(args) => keys::run(args),
        Command::Hot(args) => hot::run(args),
        Command::Mrc(args) => mrc::run(args),
        Command::Ttl(args) => ttl::run(args),
        Command::Cost(args) => cost::run(args),
    }
}
