//! Servers under test: on free ports of 127.0.0.1, gone when their handle is dropped or this process ends.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{guard, paths, process::Process, sh};

/// Time that a server has to say that it listens; the first start of a debug build on a busy machine is slow.
pub(crate) const START: Duration = Duration::from_secs(60);

/// A profile to build with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Debug,
    /// What users run.
    Release,
}

/// A running `trueup serve`.
#[derive(Debug)]
pub(crate) struct Trueup {
    /// Where it speaks RESP.
    pub(crate) resp: SocketAddr,
    /// Where it speaks HTTP.
    pub(crate) http: SocketAddr,
    process: Process,
}

impl Trueup {
    /// Builds the binary and returns its path.
    pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
        match profile {
            Profile::Debug => {
                sh::run(sh::cargo(&["build"]).args(sh::WHOLE).args(["--bins", "--examples"]))?;
            }
            Profile::Release => {
                let what = ["--release", "--package", "trueup-server", "--bin", "trueup"];
                sh::run(sh::cargo(&["build", "--locked"]).args(what))?;
            }
        }
        let folder = if profile == Profile::Release { "release" } else { "debug" };
        Ok(paths::target().join(folder).join("trueup"))
    }

    /// Serves the SQLite file `database`, with the feed installed; ready when this returns.
    pub(crate) fn start(binary: &Path, database: &Path) -> Result<Self> {
        Self::start_with(binary, database, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(binary: &Path, database: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = guard::command(binary);
        command.args(["serve", "--source"]).arg(format!("sqlite:{}", database.display())).args(arguments);
        command.args(["--install-feed", "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let mut process = Process::start("trueup", command)?;
        let (mut resp, mut http) = (None, None);
        process.ready(START, |line| {
            resp = resp.or_else(|| address(line, "resp"));
            http = http.or_else(|| address(line, "http"));
            resp.is_some() && http.is_some()
        })?;
        let (Some(resp), Some(http)) = (resp, http) else { bail!("trueup named no addresses") };
        Ok(Self { resp, http, process })
    }

    /// Asks it to end, as an operator would, and fails if it does not end cleanly.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

/// The address that `line` gives for `name`: `resp=127.0.0.1:7379` or `resp  127.0.0.1:7379`, with or without a URL's
/// scheme.
fn address(line: &str, name: &str) -> Option<SocketAddr> {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    words.by_ref().find(|word| word.trim_end_matches(':') == name)?;
    let word = words.next()?;
    let bare = word.split_once("://").map_or(word, |(_, rest)| rest);
    bare.trim_end_matches(['/', ',']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_both_forms() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 7379)));
        assert_eq!(address("listening resp=127.0.0.1:7379 http=127.0.0.1:1", "resp"), expected);
        assert_eq!(address("listening http=127.0.0.1:1 resp=127.0.0.1:7379", "resp"), expected);
        assert_eq!(address("resp  127.0.0.1:7379", "resp"), expected);
        assert_eq!(address("http  http://127.0.0.1:7379/", "http"), expected);
        assert_eq!(address("response 127.0.0.1:7379", "resp"), None);
    }
}
