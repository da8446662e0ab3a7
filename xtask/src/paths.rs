//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Names the folder with the data that tests read, here and in the crates, instead of searching for it.
pub(crate) const DATA_VARIABLE: &str = "TRUEUP_SHARED_DATA";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    let configured = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    configured.map_or_else(|| root().join("target"), |path| root().join(path))
}

/// A folder of ours below the target folder, made if missing. What is installed or cached lives here.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let path = target().join("xtask").join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path)
}

/// A temporary folder below the target folder; removed when dropped.
pub(crate) fn temporary(prefix: &str) -> Result<tempfile::TempDir> {
    let parent = cache("tmp")?;
    tempfile::Builder::new().prefix(prefix).tempdir_in(&parent).context("cannot make a temporary folder")
}

/// A folder of the data that is not part of this repository.
///
/// # Errors
/// When it is missing: what needs real data must fail then, not pass by doing nothing.
#[cfg(feature = "figures")]
pub(crate) fn data(name: &str) -> Result<PathBuf> {
    let folder = shared_data().with_context(|| {
        format!(
            "no data: expected ../shared/data beside {} or above; put it there, or set {DATA_VARIABLE} to it",
            root().display()
        )
    })?;
    let path = folder.join(name);
    anyhow::ensure!(path.is_dir(), "no data: {} is not a folder", path.display());
    Ok(path)
}

/// `shared/data` beside the repository or beside any folder above it, unless `TRUEUP_SHARED_DATA` names another.
pub(crate) fn shared_data() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(DATA_VARIABLE) {
        return Some(folder.into());
    }
    // A linked worktree may lie elsewhere than the repository it belongs to: both are places to look beside.
    let root = root();
    let repository = main_worktree(&root);
    let above = root.ancestors().chain(repository.iter().flat_map(|path| path.ancestors()));
    above.map(|folder| folder.join("shared").join("data")).find(|path| path.is_dir())
}

/// Where the repository of a linked worktree lives: its `.git` is then a file that says so.
fn main_worktree(root: &Path) -> Option<PathBuf> {
    let link = std::fs::read_to_string(root.join(".git")).ok()?;
    Some(PathBuf::from(link.strip_prefix("gitdir:")?.trim()))
}
