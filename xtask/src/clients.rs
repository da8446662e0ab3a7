//! Real Redis clients against a running server: `tests/clients/`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    packages, paths,
    server::{Profile, Trueup},
    sh,
};

/// Where the scripts are.
const SCRIPTS: &str = "tests/clients";
/// Time that one script may take.
const LIMIT: Duration = Duration::from_secs(180);

/// How to run them.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Builds the server as users run it
    #[arg(long)]
    release: bool,
    /// A server built before, instead of a build of this tree
    #[arg(long, value_name = "PATH", conflicts_with = "release")]
    binary: Option<PathBuf>,
}

/// Builds the server and runs every script.
///
/// # Errors
/// At the first script that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let profile = if options.release { Profile::Release } else { Profile::Debug };
    against(&options.binary.clone().map_or_else(|| Trueup::build(profile), Ok)?)
}

/// Runs every script, each against a server and a bank of its own.
pub(crate) fn against(binary: &Path) -> Result<()> {
    packages::ensure(&[
        packages::REDIS_TOOLS,
        packages::SQLITE,
        packages::PYTHON,
        packages::NODE,
        packages::NPM,
    ])?;
    let scripts = paths::root().join(SCRIPTS);
    let requirements = scripts.join("requirements.txt");
    let (python, modules) = (python("python", &requirements)?, node_modules("node", &scripts.join("node"))?);
    served("redis-cli", binary, sh::command("bash").arg(scripts.join("redis_cli.sh")))?;
    served("redis-py", binary, sh::command(python).arg(scripts.join("redis_py.py")))?;
    let mut node = sh::command("node");
    served("ioredis", binary, node.arg(scripts.join("ioredis.cjs")).env("NODE_PATH", modules))
}

/// Runs `script` while a fresh bank is served.
fn served(name: &str, binary: &Path, script: &mut Command) -> Result<()> {
    let (_folder, database) = bank()?;
    let server = Trueup::start(binary, &database)?;
    script.env("TRUEUP_RESP", server.resp.to_string()).env("TRUEUP_DB", &database);
    sh::run_within(LIMIT, script).with_context(|| format!("{name} found a difference"))?;
    server.stop()
}

/// A fresh SQLite file with the bank of `tests/clients/bank.sql`; removed with its folder.
pub(crate) fn bank() -> Result<(tempfile::TempDir, PathBuf)> {
    packages::ensure(&[packages::SQLITE])?;
    let folder = paths::temporary("bank-")?;
    let path = folder.path().join("bank.db");
    let script = paths::root().join(SCRIPTS).join("bank.sql");
    let mut sqlite = sh::command("sqlite3");
    sqlite.args(["-bail", "-batch"]).arg(&path).arg(format!(".read '{}'", script.display()));
    sh::run(&mut sqlite).context("cannot make the bank")?;
    Ok((folder, path))
}

/// A virtual environment of this name with the Python packages that `wanted` pins; returns its interpreter.
pub(crate) fn python(name: &str, wanted: &Path) -> Result<PathBuf> {
    let environment = paths::cache(name)?;
    let interpreter = environment.join("bin").join("python");
    if is_installed(&environment, wanted)? {
        return Ok(interpreter);
    }
    let make = || sh::run(sh::command("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if make().is_err() {
        packages::install(&[packages::PYTHON_VENV])?;
        make()?;
    }
    let mut pip = sh::command(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    sh::run(pip.arg(wanted))?;
    note_installed(&environment, wanted)?;
    Ok(interpreter)
}

/// The Node packages that the lock file in `source` pins, in a folder of this name; returns theirs.
pub(crate) fn node_modules(name: &str, source: &Path) -> Result<PathBuf> {
    let folder = paths::cache(name)?;
    let wanted = source.join("package-lock.json");
    if !is_installed(&folder, &wanted)? {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(source.join(name), folder.join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        let mut npm = sh::command("npm");
        sh::run(npm.args(["ci", "--no-audit", "--no-fund", "--prefix"]).arg(&folder))?;
        note_installed(&folder, &wanted)?;
    }
    Ok(folder.join("node_modules"))
}

/// Name of the copy of what was asked for, left where it was installed.
const INSTALLED: &str = "installed";

fn is_installed(folder: &Path, wanted: &Path) -> Result<bool> {
    let wanted = std::fs::read(wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    Ok(std::fs::read(folder.join(INSTALLED)).is_ok_and(|installed| installed == wanted))
}

fn note_installed(folder: &Path, wanted: &Path) -> Result<()> {
    std::fs::copy(wanted, folder.join(INSTALLED)).context("cannot note what is installed").map(drop)
}
