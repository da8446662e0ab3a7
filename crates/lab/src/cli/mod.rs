//! The command line: `trueup-lab list`, `trueup-lab faults`.
//!
//! Ends with 0 when nothing was found, 1 with findings, 2 when it was asked wrongly, 3 when something cannot be reached.

mod faults;
mod list;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::world::LabError;

/// Breaks what Trueup stands on, and checks that its answers stay true.
#[derive(Debug, Parser)]
#[command(name = "trueup-lab", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every fault and what it needs
    List(list::Args),
    /// Break things under load, and judge every answer
    Faults(faults::Args),
}

/// How a command shows what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::List(args) => list::run(&args).map(|()| true),
        Command::Faults(args) => faults::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("trueup-lab: {error}");
            ExitCode::from(match error {
                LabError::Usage(_) => 2,
                LabError::Unreachable(_) => 3,
            })
        }
    }
}

/// Writes to standard output. A reader that has gone (`| head`) has seen enough.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn print_json(value: &impl serde::Serialize) -> Result<(), LabError> {
    let text = serde_json::to_string_pretty(value).map_err(|why| LabError::failed("writing JSON", why))?;
    print(&format!("{text}\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
