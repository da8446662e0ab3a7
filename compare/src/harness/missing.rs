//! What a rival's driver needs, and what to do where it is missing.

use std::{
    path::{Path, PathBuf},
    process::{Command as Program, Stdio},
};

use anyhow::{Result, bail};

use super::own;
use crate::names::Name;

/// Where the packages of other languages are.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    drivers: PathBuf,
    python: PathBuf,
}

impl Missing {
    /// `python`: the interpreter that has cashews.
    pub(crate) fn new(python: Option<PathBuf>) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = python.unwrap_or_else(|| here.join("target/python/bin/python"));
        Self { drivers: here.join("drivers"), python }
    }

    /// The first thing that is missing for this rival, with the command that brings it.
    pub(crate) fn of(&self, name: Name) -> Option<String> {
        let drivers = self.drivers.display();
        match name {
            Name::Bentocache if !runs("node", &["--version"]) => {
                Some("node is missing: install the packages nodejs and npm".to_owned())
            }
            Name::Bentocache if !self.drivers.join("bentocache/node_modules/bentocache").is_dir() => {
                Some(format!(
                    "its packages are missing: npm ci --no-audit --no-fund --prefix {drivers}/bentocache"
                ))
            }
            Name::Cashews
                if !runs(&self.python.to_string_lossy(), &["-c", "import cashews, asyncpg, redis"]) =>
            {
                let python = self.python.display();
                let environment = self.python.parent().and_then(Path::parent).unwrap_or(&self.python);
                Some(format!(
                    "its packages are missing: python3 -m venv {} && {python} -m pip install --require-hashes -r {drivers}/cashews/requirements.txt",
                    environment.display()
                ))
            }
            _ => None,
        }
    }

    /// How its driver is started.
    pub(super) fn program(&self, name: Name) -> Result<Program> {
        if let Some(missing) = self.of(name) {
            bail!("{}: {missing}", name.title());
        }
        Ok(match name {
            Name::Bentocache => {
                let mut node = Program::new("node");
                node.arg(self.drivers.join("bentocache/driver.mjs"));
                node
            }
            Name::Cashews => {
                let mut python = Program::new(&self.python);
                python.arg(self.drivers.join("cashews/driver.py"));
                python
            }
            _ => own(name)?,
        })
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut program = Program::new(program);
    program.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    program.status().is_ok_and(|status| status.success())
}

/// The programs of servers that are missing, with what brings them.
pub(crate) fn servers() -> Option<String> {
    let mut missing = Vec::new();
    if !runs("redis-server", &["--version"]) || !runs("redis-cli", &["--version"]) {
        missing.push("redis-server");
        missing.push("redis-tools");
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    if !versions.map(|version| version.path().join("bin/postgres")).any(|program| program.exists()) {
        missing.push("postgresql");
    }
    (!missing.is_empty())
        .then(|| format!("missing: {0}; install by name, such as `apt-get install {0}`", missing.join(" ")))
}
