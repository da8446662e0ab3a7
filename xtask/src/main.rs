//! Developer tasks.

mod hit_ratios;

use clap::Parser;

/// Developer tasks.
#[derive(Parser)]
enum Task {
    HitRatios(hit_ratios::Args),
}

fn main() -> std::process::ExitCode {
    let outcome = match Task::parse() {
        Task::HitRatios(args) => hit_ratios::run(&args),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
