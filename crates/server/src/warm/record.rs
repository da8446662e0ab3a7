//! Hot keys on disk, while a node runs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use trueup::warm::saved;
use trueup_core::policy::RecordedKeys;

use crate::node::Node;

/// What was recorded before; a file that cannot be read is named, and ignored.
pub(super) async fn read(folder: &Path) -> Option<RecordedKeys> {
    let shown = folder.join(saved::FILE);
    let folder = folder.to_owned();
    match tokio::task::spawn_blocking(move || saved::read(&folder)).await.ok()? {
        Ok(recorded) => recorded,
        Err(error) => {
            tracing::warn!(file = %shown.display(), %error, "the recorded hot keys cannot be read: the node starts cold");
            None
        }
    }
}

/// Saves what is recorded, now and then, and at the end.
pub(super) async fn keep(node: &Node, folder: PathBuf, every: Duration, stop: &CancellationToken) {
    let mut was_told = false;
    loop {
        let goes_on = stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some();
        match save(node, folder.clone()).await {
            Ok(()) => was_told = false,
            Err(error) if !was_told => {
                was_told = true;
                let file = folder.join(saved::FILE);
                tracing::warn!(file = %file.display(), %error, "the hot keys cannot be saved; check the folder and its disk");
            }
            Err(_) => {}
        }
        if !goes_on {
            return;
        }
    }
}

async fn save(node: &Node, folder: PathBuf) -> std::io::Result<()> {
    let recorded = saved::record(node.catalog());
    if recorded.is_empty() {
        // What an earlier process has recorded is worth more.
        return Ok(());
    }
    let written = tokio::task::spawn_blocking(move || saved::write(&folder, &recorded));
    written.await.map_err(std::io::Error::other)?
}
