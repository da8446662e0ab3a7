//! The same work through Trueup and through what a user would pick instead: `compare/`, a workspace of its own.

use anyhow::Result;

use crate::{clients, packages, paths, sh};

/// The workspace's manifest.
pub(crate) const MANIFEST: &str = "compare/Cargo.toml";
/// The page that a run writes.
const PAGE: &str = "docs/compare.md";
/// Drivers of rivals in other languages.
const DRIVERS: &str = "compare/drivers";

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A round of a few seconds each: shows that everything runs, and writes no page
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Long phases and five rounds, for the record
    #[arg(long)]
    full: bool,
    /// Rounds, instead of those of the size
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Draws the keys
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only this rival, and no page; the option may stand several times
    #[arg(long, value_name = "NAME")]
    rival: Vec<String>,
}

/// Installs what is missing, builds, measures, prints the table and writes `docs/compare.md`.
///
/// # Errors
/// When something is missing that cannot be installed from here, does not build, or could not be measured.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut arguments = Vec::new();
    if options.quick {
        arguments.push("--quick".to_owned());
    }
    if options.full {
        arguments.push("--full".to_owned());
    }
    if let Some(rounds) = options.rounds {
        arguments.extend(["--rounds".to_owned(), rounds.to_string()]);
    }
    if let Some(seed) = options.seed {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    for rival in &options.rival {
        arguments.extend(["--rival".to_owned(), rival.clone()]);
    }
    if !options.quick && options.rival.is_empty() {
        arguments.extend(["--page".to_owned(), paths::root().join(PAGE).to_string_lossy().into_owned()]);
    }
    measure(&arguments)
}

/// Its own tests, then one short round of everything.
pub(crate) fn smoke() -> Result<()> {
    sh::run(&mut sh::cargo(&["test", "--locked", "--release", "--manifest-path", MANIFEST]))?;
    measure(&["--quick".to_owned()])
}

fn measure(arguments: &[String]) -> Result<()> {
    packages::ensure(&[
        packages::REDIS_SERVER,
        packages::REDIS_TOOLS,
        packages::PYTHON,
        packages::NODE,
        packages::NPM,
    ])?;
    packages::ensure_postgres()?;
    let drivers = paths::root().join(DRIVERS);
    let python = clients::python("compare-python", &drivers.join("cashews/requirements.txt"))?;
    let mut npm = sh::command("npm");
    sh::run(npm.args(["ci", "--no-audit", "--no-fund", "--prefix"]).arg(drivers.join("bentocache")))?;
    let mut compare = sh::cargo(&["run", "--locked", "--release", "--manifest-path", MANIFEST, "--", "run"]);
    sh::run(compare.args(arguments).arg("--python").arg(python))
}
