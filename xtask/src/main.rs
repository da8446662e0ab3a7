//! What a developer of Trueup runs: `cargo xtask --help`.

#[cfg(feature = "figures")]
mod bench;
#[cfg(feature = "figures")]
mod berka;
mod clients;
mod clock;
mod compare;
mod coverage;
#[cfg(not(feature = "figures"))]
mod elsewhere;
mod fuzz;
mod guard;
#[cfg(feature = "figures")]
mod hit_ratios;
mod mutants;
mod packages;
mod paths;
mod process;
mod server;
mod sh;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(not(feature = "figures"))]
use self::elsewhere::{bench, berka, hit_ratios};

/// Tasks of a developer of Trueup. `cargo xtask test` is everything a change must pass.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formats, lints, tests, examples, determinism and real clients: everything a change must pass
    Test(test::Options),
    /// Real Redis clients (redis-cli, redis-py, ioredis) against a running server
    Clients(clients::Options),
    /// Every criterion bench, then redis-benchmark against trueup and redis-server in turn
    #[cfg_attr(not(feature = "figures"), command(disable_help_flag = true))]
    Bench(bench::Options),
    /// The same work through Trueup and through other caches, on the same servers: speed, loads, wrong answers
    Compare(compare::Options),
    /// Every fuzz target for a while (needs a nightly toolchain)
    Fuzz(fuzz::Options),
    /// Breaks the proof, the read path and the keys line by line: each break must fail a test
    Mutants(mutants::Options),
    /// Lines and regions that the tests reach
    Coverage(coverage::Options),
    /// Hit ratio of each policy on published traces, beside the exact ones
    #[cfg_attr(not(feature = "figures"), command(disable_help_flag = true))]
    HitRatios(hit_ratios::Options),
    /// Replays a real bank's books under the cache and checks every answer against them
    #[cfg_attr(not(feature = "figures"), command(disable_help_flag = true))]
    Berka(berka::Options),
    /// Runs a program that dies with its parent
    #[command(hide = true)]
    Guard(guard::Options),
    /// The replaying process of `berka`
    #[cfg(feature = "figures")]
    #[command(hide = true)]
    BerkaWriter(berka::writer::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Clients(options) => clients::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Compare(options) => compare::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Coverage(options) => coverage::run(&options),
        Task::HitRatios(options) => hit_ratios::run(&options).map_err(anyhow::Error::from),
        Task::Berka(options) => berka::run(&options),
        Task::Guard(options) => guard::run(&options),
        #[cfg(feature = "figures")]
        Task::BerkaWriter(options) => berka::writer::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
