//! The same work through Trueup and through what a user would pick instead; see `README.md` beside this crate's manifest.

#![allow(
    clippy::disallowed_methods,
    reason = "rivals are used as their documentation shows, with the runtime's own clock and tasks; nothing here is ours to step"
)]

mod clock;
mod driver;
mod harness;
mod judge;
mod machine;
mod names;
mod page;
mod protocol;
mod rivals;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use self::{
    harness::{Harness, Missing, Size, missing_servers},
    names::Name,
    table::Rows,
};

/// Compares Trueup with what a user would pick instead, on real servers that it starts and stops by itself.
#[derive(Parser)]
#[command(name = "compare")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures and judges, prints one table, and writes the page that explains it
    Run(Run),
    /// Says what is missing, and the command that brings it
    Check(Where),
    /// The process of one node, which the first command starts
    #[command(hide = true)]
    Drive { name: Name },
}

#[derive(clap::Args)]
struct Where {
    /// The interpreter that has cashews; unless named, that of the environment under this folder's target
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Run {
    /// A round of a few seconds: shows that everything runs
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Long phases and five rounds, for the record
    #[arg(long)]
    full: bool,
    /// Rounds, instead of those of the size
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Draws the keys
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these; the option may stand several times
    #[arg(long, value_name = "NAME")]
    rival: Vec<Name>,
    /// Writes the page here
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    #[command(flatten)]
    wherever: Where,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Run(run) => compare(&run),
        Task::Check(wherever) => check(wherever.python),
        Task::Drive { name } => driver::run(name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(python: Option<PathBuf>) -> Result<()> {
    let missing = Missing::new(python);
    let names = <Name as clap::ValueEnum>::value_variants();
    let mut lines: Vec<String> = missing_servers().into_iter().collect();
    lines.extend(names.iter().filter_map(|name| Some(format!("{}: {}", name.title(), missing.of(*name)?))));
    if !lines.is_empty() {
        bail!("{}", lines.join("\n"));
    }
    println!("nothing is missing");
    Ok(())
}

fn compare(run: &Run) -> Result<()> {
    if let Some(missing) = missing_servers() {
        bail!(missing);
    }
    let mut size = match (run.quick, run.full) {
        (true, _) => Size::QUICK,
        (_, true) => Size::FULL,
        _ => Size::USUAL,
    };
    size.rounds = run.rounds.unwrap_or(size.rounds);
    let missing = Missing::new(run.wherever.python.clone());
    let all = <Name as clap::ValueEnum>::value_variants();
    let asked = if run.rival.is_empty() { all } else { run.rival.as_slice() };
    let mut rows = Rows::new(asked);
    for name in asked {
        if let Some(why) = missing.of(*name) {
            eprintln!("{} is left out: {why}", name.title());
            rows.leave_out(*name, &why);
        }
    }
    let mut harness = Harness::start(size, run.seed, missing).context("starting the servers")?;
    // A B A B: whatever else the machine does meets every rival.
    for round in 1..=size.rounds {
        for name in rows.taking_part() {
            eprintln!("round {round} of {}: {}", size.rounds, name.title());
            match harness.round(name, round) {
                Ok(found) => {
                    eprintln!("  {}", table::line(&found));
                    rows.add(name, found);
                }
                Err(why) => {
                    eprintln!("  failed: {why:#}");
                    rows.leave_out(name, &format!("{why:#}"));
                }
            }
        }
    }
    println!("{}", rows.table());
    if let Some(path) = &run.page {
        let text = page::render(&rows, size, run.seed, &page::command(run.quick, run.full));
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Whoever asked for a rival by name wants its row.
    if run.rival.iter().any(|name| rows.is_left_out(*name)) {
        bail!("a rival that was asked for could not be measured");
    }
    Ok(())
}
