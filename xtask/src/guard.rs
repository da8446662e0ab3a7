//! Programs that die with this one, however it ends.
//!
//! A server started by a test is stopped when its handle is dropped. That is not enough: this process may be killed,
//! or end by ctrl-c, and nothing is dropped then. So the program is started by a short-lived copy of ourselves which asks the
//! kernel to kill it when its parent dies (the setting survives `exec`), and then becomes the program.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::sh;

/// This program, also after its file was replaced by a new build.
const OURSELVES: &str = "/proc/self/exe";

/// What the guard becomes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Process whose end must end the program
    #[arg(long)]
    parent: i32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// A command for `program` that dies with the thread that starts it, and outside the terminal's process group: ctrl-c
/// reaches this process alone, whose end the kernel passes on.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = sh::command(OURSELVES);
    let parent = rustix::process::getpid().as_raw_nonzero().to_string();
    command.args(["guard", "--parent", &parent, "--"]).arg(program).process_group(0);
    command
}

/// A command for another task of this program, which dies with the thread that starts it.
#[cfg(feature = "figures")]
pub(crate) fn ourselves() -> Command {
    command(OURSELVES)
}

/// Becomes the program.
///
/// # Errors
/// When the kernel refuses, the parent is gone already, or the program can't be started.
pub(crate) fn run(options: &Options) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to die with the parent")?;
    // The parent may have died before the request: it would never be answered.
    ensure!(getppid() == Pid::from_raw(options.parent), "the parent is gone");
    let Some((program, arguments)) = options.program.split_first() else {
        bail!("no program given");
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
