//! `trueup-lab`: breaks what Trueup stands on, under load, and checks every answer against everything ever written.

mod cli;
mod fault;
mod history;
mod incident;
mod load;
mod proxy;
mod report;
mod scenario;
mod world;

fn main() -> std::process::ExitCode {
    cli::main()
}
