//! A program under test: heard while it runs, ended with its handle.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{clock::Deadline, paths};

/// Time that a program has to end by itself, once asked, before it is killed.
const STOP: Duration = Duration::from_secs(10);
/// Pause between two looks at a program that is ending.
const POLL: Duration = Duration::from_millis(10);
/// Lines of a program's log shown when it fails.
const LOG_LINES_SHOWN: usize = 30;

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`. What it writes on its standard error is kept in a file and shown if it fails.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        // A number of its own: programs of one name run side by side, and each keeps what it said.
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = paths::cache("logs")?.join(format!("{name}-{}-{number}.log", std::process::id()));
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, lines) = mpsc::channel();
        // Reads to the end, heard or not: a full pipe would stop the program.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                _ = sender.send(line);
            }
        });
        Ok(Self { name: name.to_owned(), child, lines, heard: Vec::new(), log })
    }

    /// Waits for a line that `ready` accepts and returns it; none if the program closes its output before.
    ///
    /// # Errors
    /// When neither happens within `limit`.
    pub(crate) fn line(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&str) -> bool,
    ) -> Result<Option<String>> {
        let deadline = Deadline::after(limit);
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) if ready(&line) => return Ok(Some(line)),
                Ok(line) => self.heard.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!(
                        "{} was neither ready nor at its end after {} s{}",
                        self.name,
                        limit.as_secs(),
                        self.told()
                    )
                }
            }
        }
    }

    /// Waits for a line that `ready` accepts.
    ///
    /// # Errors
    /// When the program ends before, or says no such thing within `limit`.
    pub(crate) fn ready(&mut self, limit: Duration, ready: impl FnMut(&str) -> bool) -> Result<()> {
        if self.line(limit, ready)?.is_none() {
            let status = self.child.wait()?;
            bail!("{} ended while starting ({status}){}", self.name, self.told());
        }
        Ok(())
    }

    /// Asks it to end, as an operator would, and fails if it does not end cleanly.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.ended()
    }

    /// Interrupts it, as ctrl-c does. To end by the signal itself is clean then.
    pub(crate) fn interrupt(mut self) -> Result<()> {
        self.signal(Signal::INT)?;
        let status = self.status()?;
        if status.signal() == Some(Signal::INT.as_raw()) { Ok(()) } else { self.clean(status) }
    }

    /// Waits for its end, and fails if that takes long or is not clean.
    pub(crate) fn ended(mut self) -> Result<()> {
        let status = self.status()?;
        self.clean(status)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("{} is gone already", self.name))
    }

    fn status(&mut self) -> Result<ExitStatus> {
        let deadline = Deadline::after(STOP);
        while !deadline.passed() {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        bail!("{} had not ended {} s after it was to{}", self.name, STOP.as_secs(), self.told())
    }

    fn clean(&self, status: ExitStatus) -> Result<()> {
        ensure!(status.success(), "{} did not end cleanly ({status}){}", self.name, self.told());
        Ok(())
    }

    /// The last that it said, for an error message.
    fn told(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let said: Vec<_> = self.heard.iter().map(String::as_str).chain(log.lines()).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh;

    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Process {
        // Whoever runs this in the background of a shell hands down a SIGINT that is ignored.
        let mut command = sh::command("env");
        command.args(["--default-signal=INT", "sh"]);
        command.args(["-c", script]);
        Process::start("script", command).unwrap()
    }

    #[test]
    fn a_program_that_ends_while_starting_is_reported_with_its_words() {
        let error = shell("echo one; echo two >&2; exit 4").ready(LIMIT, |_| false).unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("two") && error.contains('4'), "{error}");
    }

    #[test]
    fn programs_of_one_name_keep_what_each_of_them_said() {
        let mut first = shell("echo first >&2; echo ready; exec sleep 600");
        first.ready(LIMIT, |line| line == "ready").unwrap();
        let mut second = shell("echo second >&2; echo ready; exec sleep 600");
        second.ready(LIMIT, |line| line == "ready").unwrap();
        assert!(first.told().contains("first"), "{}", first.told());
        assert!(second.told().contains("second"), "{}", second.told());
    }

    #[test]
    fn one_that_says_nothing_is_not_waited_for_for_ever() {
        let error =
            shell("exec sleep 600").ready(Duration::from_millis(20), |_| true).unwrap_err().to_string();
        assert!(error.contains("neither ready"), "{error}");
    }

    #[test]
    fn an_end_by_a_signal_that_is_not_handled_is_not_clean() {
        let start = |script| {
            let mut process = shell(script);
            process.ready(LIMIT, |line| line == "ready").unwrap();
            process
        };
        assert!(start("echo ready; exec sleep 600").stop().is_err());
        assert!(start("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done").stop().is_ok());
        assert!(start("echo ready; exec sleep 600").interrupt().is_ok());
        assert!(start("trap 'exit 3' INT; echo ready; while :; do sleep 0.01; done").interrupt().is_err());
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let process = shell("exec sleep 600");
        let pid = Pid::from_child(&process.child);
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
