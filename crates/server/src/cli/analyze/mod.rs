//! `trueup analyze`: what access logs tell.

mod hot;
pub(super) mod log;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The keys that an access log asks for most, with what share of its requests they cover
    Hot(hot::Args),
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Hot(args) => hot::run(args),
    }
}
