//! Every incident on real servers, with five seeds: the naive way fails, the protected one holds, and fails again without its
//! protection.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{packages, paths, sh};

const SEEDS: std::ops::RangeInclusive<u32> = 1..=5;
/// What all incidents may take with one seed, in all three ways.
const SEED_TIMEOUT: Duration = Duration::from_secs(900);

/// Runs them all, also after a seed with which something did not go as told; the reports stay in `target/incidents`.
///
/// # Errors
/// When something did not go as told, or a run could not be made.
pub(super) fn run() -> Result<()> {
    packages::ensure(&[packages::REDIS_SERVER, packages::REDIS_TOOLS])?;
    packages::ensure_postgres()?;
    sh::run(&mut sh::cargo(&["build", "--locked", "--release", "--package", "trueup-lab"]))?;
    let lab = paths::target().join("release").join("trueup-lab");
    let folder = paths::target().join("incidents");
    std::fs::create_dir_all(&folder)?;
    let mut otherwise = Vec::new();
    for seed in SEEDS {
        let file = folder.join(format!("seed-{seed}.txt"));
        let mut command = sh::command(&lab);
        command.args(["run", "all", "--full", "--without-protection", "--seed", &seed.to_string()]);
        let (status, text) = sh::outcome_within(SEED_TIMEOUT, &mut command)?;
        std::fs::write(&file, &text)?;
        eprintln!("seed {seed}: {}", text.lines().last().unwrap_or("no report"));
        if !status.success() {
            otherwise.push(file.strip_prefix(paths::root()).unwrap_or(&file).display().to_string());
        }
    }
    ensure!(otherwise.is_empty(), "something did not go as told; see {}", otherwise.join(", "));
    Ok(())
}
