//! Every example of every package runs to its end. One that serves says so by a line that begins with `serving`; it is
//! then interrupted, as by ctrl-c, and has to end cleanly.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{guard, paths, process::Process, sh};

/// Time in which an example has to end, or to serve.
const LIMIT: Duration = Duration::from_secs(120);
/// How the line begins by which an example says that it serves.
const SERVING: &str = "serving";

/// What of `cargo metadata` is used.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds them all, then runs one after another.
///
/// # Errors
/// At the first that fails or does not end.
pub(crate) fn run() -> Result<()> {
    sh::run(sh::cargo(&["build"]).args(sh::WHOLE).arg("--examples"))?;
    let metadata =
        sh::capture(&mut sh::cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata)?;
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let mut count = 0;
    for example in targets.filter(|target| target.kind.iter().any(|kind| kind == "example")) {
        run_one(&example.name).with_context(|| format!("the example {}", example.name))?;
        count += 1;
    }
    eprintln!("{count} examples ran");
    Ok(())
}

fn run_one(name: &str) -> Result<()> {
    eprintln!("$ {name}");
    let command = guard::command(paths::target().join("debug").join("examples").join(name));
    let mut example = Process::start(name, command)?;
    let serves = example.line(LIMIT, |line| {
        eprintln!("{line}");
        line.starts_with(SERVING)
    })?;
    if serves.is_some() { example.interrupt() } else { example.ended() }
}
