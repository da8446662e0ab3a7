//! What can go wrong while a server is handled.

use std::{ffi::OsStr, process::Output};

/// A server could not be started, asked or stopped: what was tried, and what came of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub(crate) String);

impl Failed {
    pub(crate) fn new(doing: impl AsRef<str>, why: impl std::fmt::Display) -> Self {
        Self(format!("{}: {why}", doing.as_ref()))
    }

    /// A program that ended badly, with what it said.
    pub(crate) fn program(program: &OsStr, output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { said };
        Self(format!("{} failed ({}): {}", program.display(), output.status, said.trim()))
    }
}
