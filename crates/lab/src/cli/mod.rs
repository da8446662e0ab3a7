//! The command line: `trueup-lab list`, `trueup-lab run`, `trueup-lab faults`, `trueup-lab scenario`.
//!
//! Ends with 0 when nothing was found, 1 with findings, 2 when it was asked wrongly, 3 when something cannot be reached.

mod faults;
mod list;
mod run;
mod scenario;

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

pub(crate) use self::run::Shown;
use crate::world::{L2Kind, LabError, Settings, SourceKind, schema};

/// Breaks what Trueup stands on, and checks that its answers stay true.
#[derive(Debug, Parser)]
#[command(name = "trueup-lab", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every incident, and every fault and what it needs
    List(list::Args),
    /// Let incidents happen, the naive way beside Trueup
    Run(run::Args),
    /// Break things under load, and judge every answer
    Faults(faults::Args),
    /// Break one thing by a script, and show the run second by second
    Scenario(scenario::Args),
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
        Command::Run(args) => run::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Scenario(args) => scenario::run(&args),
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

/// How many objects of each kind there are: few enough that all are read and written again and again.
const PAIRS: u32 = 150;
const ITEMS: u32 = 300;
const SHELVES: u32 = 40;

/// What of a world a command chooses.
struct Choice {
    seed: u64,
    nodes: usize,
    source: SourceKind,
    l2: L2Kind,
    max_staleness: Duration,
    bulk_rows: u32,
}

fn settings(asked: &Choice, binary: PathBuf) -> Settings {
    let &Choice { seed, nodes, source, l2, max_staleness, bulk_rows } = asked;
    let shelves = if source == SourceKind::Postgres { SHELVES } else { 0 };
    let layout = schema::Layout { pairs: PAIRS, items: ITEMS, shelves };
    Settings { seed, nodes, source, l2, max_staleness, binary, bulk_rows, layout }
}

/// Two threads more than needed: some block in a database.
fn runtime() -> Result<tokio::runtime::Runtime, LabError> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?)
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
