//! Every example of every package runs to its end.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use crate::sh;

/// Time that an example may take, its build included.
const LIMIT: Duration = Duration::from_secs(600);

/// What of `cargo metadata` is used.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    required_features: Vec<String>,
}

/// Runs them one after another.
///
/// # Errors
/// At the first that fails or does not end.
pub(crate) fn run() -> Result<()> {
    let metadata =
        sh::capture(&mut sh::cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata)?;
    let mut count = 0;
    for package in &metadata.packages {
        for example in
            package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "example"))
        {
            let mut cargo = sh::cargo(&["run", "--quiet", "--locked", "--package", &package.name]);
            cargo.args(["--example", &example.name]);
            if !example.required_features.is_empty() {
                cargo.args(["--features", &example.required_features.join(",")]);
            }
            sh::run_within(LIMIT, &mut cargo)?;
            count += 1;
        }
    }
    eprintln!("{count} examples ran");
    Ok(())
}
