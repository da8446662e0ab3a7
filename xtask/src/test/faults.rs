//! One short seed of the fault harness, against real processes.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    packages,
    server::{Profile, Trueup},
    sh,
};

/// Each run: three nodes, and beside them the wrong way, in which the judge must find something.
const RUNS: &[&[&str]] = &[
    &[
        "--source",
        "postgres",
        "--naive",
        "--minutes",
        "0.45",
        "--fault",
        "ghost-standby",
        "--fault",
        "async-crash",
        "--fault",
        "slot-dropped",
    ],
    &[
        "--source",
        "postgres",
        "--l2",
        "cluster",
        "--naive",
        "--minutes",
        "0.6",
        "--fault",
        "cluster-primary-killed",
        "--fault",
        "holder-stopped",
        "--fault",
        "alter-table",
    ],
    &["--source", "sqlite", "--naive", "--minutes", "0.35"],
];
/// Longest that one run may take: its time, and what a busy machine needs to start and stop everything.
const RUN_TIMEOUT: Duration = Duration::from_secs(240);
const SEED: &str = "7";

pub(super) fn run() -> Result<()> {
    packages::ensure(&[packages::REDIS_SERVER, packages::REDIS_TOOLS])?;
    packages::ensure_postgres()?;
    let server = Trueup::build(Profile::Debug)?;
    let lab = server.with_file_name("trueup-lab");
    for arguments in RUNS {
        let mut command = sh::command(&lab);
        command.args(["faults", "--seed", SEED, "--server"]).arg(&server).args(*arguments);
        sh::run_within(RUN_TIMEOUT, &mut command)
            .with_context(|| format!("`trueup-lab faults {}` has found something", arguments.join(" ")))?;
    }
    Ok(())
}
