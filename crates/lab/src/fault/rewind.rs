//! The database goes back in time.

use std::{path::Path, time::Duration};

use rand::rngs::StdRng;
use rusqlite::{Connection, backup::Backup};
use rustix::process::Signal;

use super::{Done, Fault};
use crate::world::{LabError, SqliteSession, World, blocking};

/// How long writes go on after the copy was made: they are what is lost.
const LOST: Duration = Duration::from_millis(700);
/// Pages that are put back at a time, and the pause when somebody holds a lock.
const PAGES: i32 = 1_000;
const LOCKED_PAUSE: Duration = Duration::from_millis(5);
/// How often the file is tried to be brought to rest before it is replaced.
const REST_TRIES: u32 = 200;
const REST_PAUSE: Duration = Duration::from_millis(20);

/// How an older copy of a SQLite file comes back.
pub(super) enum Restored {
    /// Through SQLite itself: one transaction that rewrites every page.
    InPlace,
    /// Another file under the same name.
    Renamed,
}

impl Fault for Restored {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let path = world.source.sqlite()?;
            let copy = world.folder.path().join("copy.db");
            // Left behind by a fault that failed.
            let _ = std::fs::remove_file(&copy);
            let mut session = SqliteSession::open(path)?;
            let vacuum = format!("VACUUM INTO '{}'", copy.display());
            blocking(|| {
                session.conn().execute_batch(&vacuum)?;
                // The copy is in the mode of any new file; what it replaces was not.
                Ok(Connection::open(&copy)?.pragma_update(None, "journal_mode", "wal")?)
            })?;
            drop(session);
            tokio::time::sleep(LOST).await;
            let nobody = world.gate.freeze().await;
            let start = world.book.clock.now();
            match self {
                Self::InPlace => in_place(path, &copy)?,
                Self::Renamed => renamed(world, path, &copy).await?,
            }
            world.rewound(start, &nobody).await
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

fn in_place(path: &Path, copy: &Path) -> Result<(), LabError> {
    let mut target = SqliteSession::open(path)?;
    blocking(|| {
        let source = Connection::open(copy)?;
        let backup = Backup::new(&source, target.conn())?;
        Ok(backup.run_to_completion(PAGES, LOCKED_PAUSE, None)?)
    })
}

/// Replaces the file while every node stands still and nothing of it is left in a write-ahead log: else pages of one file
/// would be read with a log of the other, which SQLite forbids and no cache could mend.
async fn renamed(world: &World, path: &Path, copy: &Path) -> Result<(), LabError> {
    for _ in 0..REST_TRIES {
        let signal = |signal| world.nodes.iter().try_for_each(|node| node.signal(signal));
        signal(Signal::STOP)?;
        let swapped = swap(path, copy);
        signal(Signal::CONT)?;
        if swapped? {
            return Ok(());
        }
        tokio::time::sleep(REST_PAUSE).await;
    }
    Err(LabError::failed("replacing the file", "a node was always in the middle of something"))
}

/// False if the log could not be emptied.
fn swap(path: &Path, copy: &Path) -> Result<bool, LabError> {
    blocking(|| {
        let conn = Connection::open(path)?;
        conn.busy_timeout(LOCKED_PAUSE)?;
        let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        // A node that stands still in the middle of something holds a lock.
        if !matches!(busy, Ok(0)) {
            return Ok(false);
        }
        std::fs::rename(copy, path)?;
        for beside in ["-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(beside);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(true)
    })
}
