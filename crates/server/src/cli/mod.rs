//! The `trueup` command.
//!
//! Ends with 0 when all is well, 1 with findings, 2 when it was asked wrongly, 3 when something cannot be reached.

mod analyze;
mod check;
mod client;
mod database;
mod demo;
mod explain;
mod exposition;
mod failure;
mod hit_rates;
mod init;
mod lag;
mod output;
mod remote;
mod running;
mod serve;
mod setup;
mod warm;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

pub use self::failure::Failure;

/// A cache for services that cannot be wrong.
#[derive(Debug, Parser)]
#[command(name = "trueup", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a database over RESP and HTTP
    Serve(serve::Args),
    /// Show everything at work: a small bank, a cache before it, and a program that writes behind its back
    Demo(demo::Args),
    /// Show what serving a database would take; with --apply, put it in place
    Init(init::Args),
    /// Answer the ten decisions about each class, with evidence
    Check(check::Args),
    /// Tell why a key is, or is not, served from memory
    Explain(explain::Args),
    /// Have a running server read keys before anybody asks for them
    Warm(warm::Args),
    /// Learn from access logs, and from what a running server has measured
    #[command(subcommand)]
    Analyze(analyze::Command),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The demo's second program: plain SQL, nothing of the cache
    #[command(hide = true)]
    DemoWriter(demo::WriterArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Warm(args) => warm::run(&args),
        Command::Analyze(command) => analyze::run(&command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "trueup", &mut std::io::stdout());
            Ok(())
        }
        Command::DemoWriter(args) => demo::write(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("trueup: {failure}");
            failure.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
