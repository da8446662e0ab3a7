//! A driver's process, and the pipe to it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command as Program, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::protocol::{Answer, Command};

/// How much of a driver's log an error shows, in bytes.
const LOG_SHOWN: usize = 2_000;

/// A driver that runs. It ends when this is dropped, or its pipe is closed.
pub(super) struct Driver {
    title: String,
    child: Child,
    commands: ChildStdin,
    answers: Receiver<std::io::Result<String>>,
    log: std::path::PathBuf,
}

impl Driver {
    pub(super) fn start(title: &str, mut program: Program, log: &Path) -> Result<Self> {
        let errors = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = program.spawn().with_context(|| format!("cannot start {program:?}"))?;
        let (Some(commands), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{title} has no pipes");
        };
        let (lines, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { title: title.to_owned(), child, commands, answers, log: log.to_owned() })
    }

    pub(super) fn send(&mut self, command: &Command) -> Result<()> {
        writeln!(self.commands, "{}", serde_json::to_string(command)?)
            .and_then(|()| self.commands.flush())
            .with_context(|| self.trouble("takes no commands"))
    }

    pub(super) fn answer(&mut self, limit: Duration) -> Result<Answer> {
        let line = self.answers.recv_timeout(limit).ok().and_then(Result::ok);
        let line = line.with_context(|| self.trouble(&format!("gave no answer in {limit:?}")))?;
        let answer: Answer = serde_json::from_str(&line)
            .with_context(|| self.trouble(&format!("answered with what is none: {line:?}")))?;
        match answer.error {
            Some(error) => bail!("{}", self.trouble(&error)),
            None => Ok(answer),
        }
    }

    pub(super) fn ask(&mut self, command: &Command, limit: Duration) -> Result<Answer> {
        self.send(command)?;
        self.answer(limit)
    }

    fn trouble(&self, what: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_SHOWN);
        let end = log.get(log.ceil_char_boundary(from)..).unwrap_or_default().trim();
        format!("the driver of {} {what}\n{end}", self.title)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
