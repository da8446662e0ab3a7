//! Lines and regions that the tests reach.

use anyhow::{Context as _, Result};

use crate::{paths, sh};

/// How to report.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Writes pages with every line, besides the table
    #[arg(long)]
    html: bool,
}

/// Runs all tests instrumented and prints a table by file.
///
/// # Errors
/// When a test fails or the tools can't be installed.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !sh::exists("cargo-llvm-cov") {
        sh::run(&mut sh::cargo(&["install", "--locked", "cargo-llvm-cov"]))?;
    }
    // The profiles are of this compiler's LLVM: tools of the system's LLVM may not read them.
    sh::run(sh::command("rustup").args(["component", "add", "llvm-tools"]))
        .context("coverage needs the toolchain's own llvm-tools")?;
    // Developer tasks are not the product.
    let common = ["--locked", "--workspace", "--exclude", "xtask"];
    sh::run(sh::cargo(&["llvm-cov", "--no-report"]).args(common))?;
    sh::run(&mut sh::cargo(&["llvm-cov", "report"]))?;
    if options.html {
        let folder = paths::cache("coverage")?;
        sh::run(sh::cargo(&["llvm-cov", "report", "--html", "--output-dir"]).arg(&folder))?;
        eprintln!("pages: {}", folder.join("html").join("index.html").display());
    }
    Ok(())
}
