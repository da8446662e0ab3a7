//! Every fuzz target for a while.

use anyhow::{Context as _, Result, ensure};

use crate::{packages, paths, sh};

/// Fuzzing needs flags of the compiler that only nightly accepts.
const TOOLCHAIN: &str = "nightly";
/// Bytes of one input that no target needs to exceed.
const INPUT_BYTES_MAX: u32 = 1 << 16;
/// Seconds that one input may take before it counts as a hang.
const INPUT_SECONDS_MAX: u32 = 10;

/// How to fuzz.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets
    targets: Vec<String>,
}

/// Runs the targets one after another.
///
/// # Errors
/// When a target crashes (libFuzzer prints the input and where it is kept), or the tools are missing.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(paths::root().join("fuzz/Cargo.toml").is_file(), "no fuzz targets: fuzz/Cargo.toml is missing");
    packages::ensure(&[packages::CPLUSPLUS])?;
    sh::capture(&mut sh::cargo_of(TOOLCHAIN, &["--version"]))
        .context("fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal")?;
    if !sh::exists("cargo-fuzz") {
        sh::run(&mut sh::cargo(&["install", "--locked", "cargo-fuzz"]))?;
    }
    let all = sh::capture(&mut sh::cargo_of(TOOLCHAIN, &["fuzz", "list"]))?;
    let all: Vec<_> = all.lines().collect();
    for name in &options.targets {
        ensure!(all.contains(&name.as_str()), "no fuzz target {name}; there are: {}", all.join(", "));
    }
    let wanted =
        |name: &&&str| options.targets.is_empty() || options.targets.iter().any(|target| target == *name);
    for target in all.iter().filter(wanted) {
        let seconds = format!("-max_total_time={}", options.seconds);
        let (bytes, hang) = (format!("-max_len={INPUT_BYTES_MAX}"), format!("-timeout={INPUT_SECONDS_MAX}"));
        let mut fuzz = sh::cargo_of(TOOLCHAIN, &["fuzz", "run", target, "--", &seconds, &bytes, &hang]);
        sh::run(&mut fuzz).with_context(|| format!("the fuzz target {target} found something"))?;
    }
    Ok(())
}
