//! Programs of the operating system that a step needs, installed by package name where they are missing.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::sh;

/// A program and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    program: &'static str,
    name: &'static str,
}

/// `redis-cli` and `redis-benchmark`.
pub(crate) const REDIS_TOOLS: Package = Package { program: "redis-cli", name: "redis-tools" };
/// `redis-server`, to compare with.
pub(crate) const REDIS_SERVER: Package = Package { program: "redis-server", name: "redis-server" };
/// The SQLite shell: a writer that knows nothing of the cache.
pub(crate) const SQLITE: Package = Package { program: "sqlite3", name: "sqlite3" };
/// Python.
pub(crate) const PYTHON: Package = Package { program: "python3", name: "python3" };
/// Node.
pub(crate) const NODE: Package = Package { program: "node", name: "nodejs" };
/// Node's package manager.
pub(crate) const NPM: Package = Package { program: "npm", name: "npm" };
/// A browser without a window.
pub(crate) const CHROMIUM: Package = Package { program: "chromium", name: "chromium" };
/// What libFuzzer is compiled with.
pub(crate) const CPLUSPLUS: Package = Package { program: "c++", name: "g++" };
/// Debian's Python lacks the part that makes virtual environments: no program tells whether it is there.
pub(crate) const PYTHON_VENV: &str = "python3-venv";

/// PostgreSQL's server, whose programs are on nobody's path.
const POSTGRES_SERVER: &str = "postgresql";
/// Where Debian keeps them, a folder for each version.
const POSTGRES_FOLDER: &str = "/usr/lib/postgresql";

/// Installs as root, package lists refreshed only when they turn out to be old. `policy-rc.d` keeps the packages from
/// starting services of the system: tests start their own, on ports of their own.
const INSTALL: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
get() { apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }
get install -y --no-install-recommends "$@" || { get update && get install -y --no-install-recommends "$@"; }
"#;

/// Makes sure that the programs of `packages` are there.
///
/// # Errors
/// Names the packages to install by hand where that can't be done from here.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !sh::exists(package.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing.iter().map(|package| package.name).collect::<Vec<_>>())?;
    for package in missing {
        ensure!(
            sh::exists(package.program),
            "{} is installed, but {} is not there",
            package.name,
            package.program
        );
    }
    Ok(())
}

/// Makes sure that a PostgreSQL server is there.
///
/// # Errors
/// Names the package to install by hand where that can't be done from here.
pub(crate) fn ensure_postgres() -> Result<()> {
    let is_there = || {
        let versions = std::fs::read_dir(POSTGRES_FOLDER).into_iter().flatten().flatten();
        versions.map(|version| version.path().join("bin/postgres")).any(|program| program.exists())
    };
    if is_there() {
        return Ok(());
    }
    install(&[POSTGRES_SERVER])?;
    ensure!(is_there(), "{POSTGRES_SERVER} is installed, but there is no server in {POSTGRES_FOLDER}");
    Ok(())
}

/// Installs packages by name.
pub(crate) fn install(names: &[&str]) -> Result<()> {
    let by_hand = || format!("install by hand, with your system's package manager: {}", names.join(" "));
    ensure!(sh::exists("apt-get"), "no apt-get here; {}", by_hand());
    let mut command = as_root().with_context(by_hand)?;
    sh::run(command.args(["sh", "-c", INSTALL, "install"]).args(names)).with_context(by_hand)
}

/// A command that runs its arguments as root: as we are, or by a `sudo` that asks for no password.
fn as_root() -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        return Ok(sh::command("env"));
    }
    ensure!(sh::exists("sudo"), "neither root nor sudo here");
    let mut sudo = sh::command("sudo");
    sudo.arg("-n");
    Ok(sudo)
}
