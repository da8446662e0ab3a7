//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

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
