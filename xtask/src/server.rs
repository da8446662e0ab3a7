//! Servers under test: on free ports of 127.0.0.1, gone when their handle is dropped or this process ends.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{clock::Deadline, guard, paths, sh};

/// Time that a server has to say that it listens; the first start of a debug build on a busy machine is slow.
const START: Duration = Duration::from_secs(60);
/// Time that a server has to end by itself before it is killed.
const STOP: Duration = Duration::from_secs(10);
/// Pause between two looks at a server that is ending.
const POLL: Duration = Duration::from_millis(10);
/// Lines of a server's log shown when it fails.
const LOG_LINES_SHOWN: usize = 30;

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
        let mut cargo = sh::cargo(&["build", "--locked", "--package", "trueup-server", "--bin", "trueup"]);
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        sh::run(&mut cargo)?;
        let folder = if profile == Profile::Release { "release" } else { "debug" };
        Ok(paths::target().join(folder).join("trueup"))
    }

    /// Serves the SQLite file `database`, with the feed installed; ready when this returns.
    pub(crate) fn start(binary: &Path, database: &Path) -> Result<Self> {
        let mut command = guard::command(binary);
        command.args(["serve", "--source"]).arg(format!("sqlite:{}", database.display()));
        command.args(["--install-feed", "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let mut process = Process::start("trueup", command)?;
        let (mut resp, mut http) = (None, None);
        process.wait_for(|line| {
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

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Redis {
    /// An empty one that writes nothing to disk.
    pub(crate) fn start() -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = guard::command("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut process = Process::start("redis-server", command)?;
        process.wait_for(|line| line.contains("Ready to accept connections"))?;
        Ok(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process })
    }
}

/// A server's process; killed when dropped.
#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Process {
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let log = paths::cache("logs")?.join(format!("{name}-{}.log", std::process::id()));
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, lines) = mpsc::channel();
        // Reads to the end, heard or not: a full pipe would stop the server.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                _ = sender.send(line);
            }
        });
        Ok(Self { name, child, lines, log })
    }

    /// Waits for a line that `ready` accepts.
    fn wait_for(&mut self, mut ready: impl FnMut(&str) -> bool) -> Result<()> {
        let deadline = Deadline::after(START);
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) if ready(&line) => return Ok(()),
                Ok(line) => heard.push(line),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!("{} was not ready after {} s{}", self.name, START.as_secs(), self.told(&heard))
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("{} ended while starting ({status}){}", self.name, self.told(&heard))
                }
            }
        }
    }

    fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).with_context(|| format!("{} is gone already", self.name))?;
        let deadline = Deadline::after(STOP);
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} did not end cleanly ({status}){}", self.name, self.told(&[])),
                None if deadline.passed() => {
                    bail!("{} had not ended {} s after SIGTERM{}", self.name, STOP.as_secs(), self.told(&[]))
                }
                None => std::thread::sleep(POLL),
            }
        }
    }

    /// The last that it said, for an error message.
    fn told(&self, heard: &[String]) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let said: Vec<_> = heard.iter().map(String::as_str).chain(log.lines()).collect();
        let shown = &said[said.len().saturating_sub(LOG_LINES_SHOWN)..];
        if shown.is_empty() {
            "; it said nothing".into()
        } else {
            format!("; it said:\n  {}", shown.join("\n  "))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
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

    #[test]
    fn a_server_that_ends_while_starting_is_reported_with_its_words() {
        let mut command = sh::command("sh");
        command.args(["-c", "echo one; echo two >&2; exit 4"]);
        let mut process = Process::start("failing", command).unwrap();
        let error = process.wait_for(|_| false).unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("two") && error.contains('4'), "{error}");
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let mut command = sh::command("sleep");
        command.arg("600");
        let process = Process::start("sleeping", command).unwrap();
        let pid = Pid::from_child(&process.child);
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
