//! Every criterion bench, then redis-benchmark against trueup and redis-server in turn.

mod redis;
mod redis_benchmark;

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    packages,
    server::{Profile, Trueup},
    sh,
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leaves out the criterion benches
    #[arg(long)]
    only_redis_benchmark: bool,
    /// Leaves out the comparison with redis-server
    #[arg(long, conflicts_with = "only_redis_benchmark")]
    only_criterion: bool,
    /// Rounds in which trueup and redis-server take turns; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests of one measurement
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// A server built before, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// Measures one after the other: what runs at the same time would be measured too.
///
/// # Errors
/// When something does not build or run; slow is not an error here.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.only_redis_benchmark {
        sh::run(&mut sh::cargo(&["bench", "--locked", "--workspace"]))?;
    }
    if !options.only_criterion {
        packages::ensure(&[packages::REDIS_TOOLS, packages::REDIS_SERVER])?;
        let binary = options.binary.clone().map_or_else(|| Trueup::build(Profile::Release), Ok)?;
        redis_benchmark::compare(&binary, options.rounds, options.requests)?;
    }
    Ok(())
}
