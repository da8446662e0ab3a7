//! How a code reaches its person.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use crate::domain::Id;

/// Takes a code to a person: by text message, by post.
pub trait Deliver: Send + Sync + 'static {
    /// Takes `code` of the challenge `challenge` to `person`. It must not log it.
    ///
    /// # Errors
    /// Whatever went wrong on the way: the person asks for another code.
    fn deliver(&self, person: Id, challenge: Id, code: &str) -> std::io::Result<()>;
}

/// Appends codes to a file that nobody but its owner may read: stands for a text message where there is no provider.
#[derive(Clone, Debug)]
pub struct FileDelivery {
    path: PathBuf,
}

impl FileDelivery {
    /// Delivers into the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Deliver for FileDelivery {
    fn deliver(&self, person: Id, challenge: Id, code: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        writeln!(file, "{person} {challenge} {code}")
    }
}
