//! `cargo xtask test`: everything a change must pass, in the order in which a mistake shows soonest.

mod browser;
mod determinism;
mod evidence;
mod examples;
mod faults;
mod full;
mod incidents;
mod lab_page;
mod page;
mod prose;
mod suite;
mod valkey;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{
    clients, clock, compare, packages, paths,
    server::{Profile, Trueup},
    sh,
};

/// How to test.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leaves out the slow steps: for the loop of editing and trying
    #[arg(long)]
    quick: bool,
    /// Runs the remote tier's tests against Valkey, too, every incident on real servers with five seeds, a short comparison with
    /// other caches, and the fault harness at length: every source with every remote tier, and twenty seeds of a fleet; about two hours
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Runs only the steps of these names
    #[arg(long, value_name = "STEP", value_parser = clap::builder::PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    only: Vec<String>,
}

/// One thing that must pass.
struct Step {
    name: &'static str,
    what: &'static str,
    when: When,
    run: fn() -> Result<()>,
}

/// When a step is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Not in a hurry.
    Slow,
    /// Only where everything was asked for.
    Full,
}

const fn step(name: &'static str, what: &'static str, run: fn() -> Result<()>) -> Step {
    Step { name, what, when: When::Always, run }
}

const fn slow(name: &'static str, what: &'static str, run: fn() -> Result<()>) -> Step {
    Step { name, what, when: When::Slow, run }
}

const fn full(name: &'static str, what: &'static str, run: fn() -> Result<()>) -> Step {
    Step { name, what, when: When::Full, run }
}

const STEPS: &[Step] = &[
    step("format", "the code is formatted", format),
    step("lock", "Cargo.lock names what the manifests ask for", lock),
    step(
        "prose",
        "links in the documents lead somewhere, tests they name are there, and nothing names a machine it was written on",
        prose::run,
    ),
    step("lint", "clippy has nothing to say", lint),
    step("test", "unit, property, model and integration tests", test),
    step("published", "keys agree with published lists, as far as they mean to", published),
    step("doctest", "examples in the documentation", doctest),
    slow("doc", "the documentation builds without a warning", doc),
    slow("determinism", "what is simulated ends the same when run again", determinism::run),
    slow("examples", "every example runs", examples::run),
    slow("clients", "redis-cli, redis-py and ioredis work unchanged", debug_clients),
    slow("crashes", "payments that are killed at every point keep their books", crashes),
    slow("faults", "answers stay true while nodes and databases break", faults::run),
    slow("page", "the dashboard works in a browser", page::run),
    slow("lab-page", "the lab's report opens in a browser, and axe-core finds nothing", lab_page::run),
    slow("fuzz-check", "the fuzz targets compile", fuzz_check),
    full("valkey", "the remote tier's tests against Valkey in Redis' place", valkey::run),
    full(
        "incidents-full",
        "every incident goes as told on PostgreSQL and a Redis Cluster, with five seeds",
        incidents::run,
    ),
    full("compare", "the comparison with other caches runs from end to end", compare::smoke),
    full("faults-full", "the same at length: every source and tier, twenty seeds of a fleet", full::run),
];

/// Runs the steps one after another and stops at the first that fails.
///
/// # Errors
/// Names the step that failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let steps: Vec<_> = STEPS.iter().filter(|step| wanted(step, options)).collect();
    let start_ns = clock::now_ns();
    let mut times = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, steps.len(), step.name);
        eprintln!("\n{place}: {}", step.what);
        let step_start_ns = clock::now_ns();
        let done = (step.run)();
        let time = clock::since(step_start_ns);
        times.push((step.name, time));
        eprintln!("{place}: {} in {}", if done.is_ok() { "passed" } else { "FAILED" }, seconds(time));
        done.with_context(|| {
            format!("the step `{0}` failed; run it alone by `cargo xtask test --only {0}`", step.name)
        })?;
    }
    eprintln!();
    times.iter().for_each(|(name, time)| eprintln!("{name:>12} {:>9}", seconds(*time)));
    eprintln!("{:>12} {:>9}  all passed", "total", seconds(clock::since(start_ns)));
    Ok(())
}

fn wanted(step: &Step, options: &Options) -> bool {
    if options.only.is_empty() {
        match step.when {
            When::Always => true,
            When::Slow => !options.quick,
            When::Full => options.full,
        }
    } else {
        options.only.iter().any(|n| n == step.name)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Workspaces of their own inside the repository.
const FUZZ_MANIFEST: &str = "fuzz/Cargo.toml";

fn format() -> Result<()> {
    sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))?;
    if paths::root().join(FUZZ_MANIFEST).is_file() {
        sh::run(&mut sh::cargo(&["fmt", "--manifest-path", FUZZ_MANIFEST, "--check"]))?;
    }
    sh::run(&mut sh::cargo(&["fmt", "--manifest-path", compare::MANIFEST, "--check"]))
}

fn lock() -> Result<()> {
    for manifest in ["Cargo.toml", FUZZ_MANIFEST] {
        let arguments = ["metadata", "--locked", "--format-version", "1", "--manifest-path", manifest];
        sh::capture(&mut sh::cargo(&arguments))?;
    }
    Ok(())
}

fn lint() -> Result<()> {
    let what = ["--locked", "--workspace", "--all-targets", "--features", "xtask/figures"];
    sh::run(sh::cargo(&["clippy"]).args(what).args(["--", "-D", "warnings"]))
}

fn test() -> Result<()> {
    packages::ensure(&[packages::REDIS_SERVER, packages::REDIS_TOOLS])?;
    packages::ensure_postgres()?;
    suite::run()
}

/// Data published by others is no part of the project: a clone without it leaves the comparisons out, and says so.
fn published() -> Result<()> {
    if paths::shared_data().is_none() {
        ensure!(
            std::env::var_os("CI").is_none(),
            "no data beside the repository: set {} to the folder that holds `keys/`",
            paths::DATA_VARIABLE
        );
        eprintln!("no data beside the repository: comparisons with published data are left out");
        return Ok(());
    }
    sh::run(sh::cargo(&["test"]).args(sh::WHOLE).args(["--test", "keys", "--", "--ignored"]))
}

fn crashes() -> Result<()> {
    packages::ensure_postgres()?;
    // They wait for leases and restarts most of the time: more at once than there are processors.
    let what = ["--test", suite::APART, "--", "--test-threads", "6"];
    sh::run(sh::cargo(&["test"]).args(sh::WHOLE).args(what))
}

fn doctest() -> Result<()> {
    sh::run(sh::cargo(&["test"]).args(sh::WHOLE).arg("--doc"))
}

fn doc() -> Result<()> {
    let mut cargo = sh::cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    sh::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn debug_clients() -> Result<()> {
    clients::against(&Trueup::build(Profile::Debug)?)
}

/// A target that the manifest forgets is never built nor run, and nobody notices.
fn fuzz_check() -> Result<()> {
    let folder = paths::root().join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).context("the fuzz targets are gone")?;
    for file in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let file = file?.file_name();
        let path = format!("\"fuzz_targets/{}\"", file.display());
        ensure!(manifest.contains(&path), "{FUZZ_MANIFEST} has no [[bin]] with path = {path}");
    }
    packages::ensure(&[packages::CPLUSPLUS])?;
    // In the folder of everything else, where most of what they depend on has been checked.
    let mut cargo = sh::cargo(&["check", "--locked", "--manifest-path", FUZZ_MANIFEST]);
    sh::run(cargo.arg("--target-dir").arg(paths::target()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_names_are_unique_and_chosen_as_asked() {
        let names: std::collections::HashSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
        let chosen = |quick, only: &[&str]| {
            let options =
                Options { quick, full: false, only: only.iter().map(|name| (*name).into()).collect() };
            STEPS.iter().filter(|step| wanted(step, &options)).map(|step| step.name).collect::<Vec<_>>()
        };
        let usual = STEPS.iter().filter(|step| step.when != When::Full).count();
        assert_eq!(chosen(false, &[]).len(), usual);
        let all = Options { quick: false, full: true, only: Vec::new() };
        assert_eq!(STEPS.iter().filter(|step| wanted(step, &all)).count(), STEPS.len());
        assert!(chosen(true, &[]).contains(&"lint") && !chosen(true, &[]).contains(&"clients"));
        assert_eq!(chosen(true, &["clients"]), ["clients"]);
    }
}
