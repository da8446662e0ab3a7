//! The hot keys of a node on disk: `hot-keys` in its state folder, see `docs/format.md`.

use std::{io, path::Path};

use trueup_core::{
    class::ColdStart,
    env::unix_ms,
    policy::{RecordedClass, RecordedKeys},
};

use crate::{catalog::Catalog, state_file};

/// The file in the state folder.
pub const FILE: &str = "hot-keys";

/// The hot keys of all classes of `catalog` that are to start warm, as they are now.
#[must_use]
pub fn record(catalog: &Catalog) -> RecordedKeys {
    let class = |class: &std::sync::Arc<crate::catalog::CatalogClass>| {
        let cached = class.cached()?;
        let ColdStart::Warm { keys_max } = cached.plan().cold_start else { return None };
        let keys = cached.record_hot_keys(keys_max.get() as usize);
        Some(RecordedClass { name: class.name().as_str().into(), keys })
    };
    RecordedKeys { written_unix_ms: unix_ms(), classes: catalog.classes().filter_map(class).collect() }
}

/// Writes them to `folder`, whole or not at all, for the owner's eyes alone. Blocks.
///
/// # Errors
/// The folder or the disk.
pub fn write(folder: &Path, keys: &RecordedKeys) -> io::Result<()> {
    state_file::write(folder, FILE, &keys.encode())
}

/// What was written last; none if nothing was. Blocks.
///
/// # Errors
/// The file cannot be read, is damaged, or is of another version: it is to be named and ignored.
pub fn read(folder: &Path) -> io::Result<Option<RecordedKeys>> {
    let Some(bytes) = state_file::read(folder, FILE)? else { return Ok(None) };
    RecordedKeys::decode(&bytes).map(Some).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))
}
