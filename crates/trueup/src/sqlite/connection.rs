//! Opening a database, and the few pragmas that are asked everywhere.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::{
    error::{At, SqliteError},
    names::FEED_VERSION,
    registry::installed,
};

/// Statements that one connection keeps compiled.
const STATEMENTS_CACHED: usize = 64;

/// Opens an existing database for writing, waiting up to `patience` for locks. Nothing is created.
pub(super) fn open_writer(path: &Path, patience: Duration) -> Result<Connection, SqliteError> {
    let at = At { path, doing: "opening it", patience };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if path.is_dir() {
        return Err(SqliteError::NotADatabase { path: path.to_owned() });
    }
    let conn = Connection::open_with_flags(path, flags).map_err(|e| at.error(e))?;
    let prepare = || -> rusqlite::Result<bool> {
        conn.busy_timeout(patience)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        // Opening reads nothing: only a first question shows whether this is a database at all.
        schema_version(&conn)?;
        conn.is_readonly("main")
    };
    if prepare().map_err(|e| at.error(e))? {
        return Err(SqliteError::ReadOnly { path: path.to_owned() });
    }
    Ok(conn)
}

/// Opens an existing database on which this connection will not write.
pub(super) fn open_reader(path: &Path, patience: Duration) -> Result<Connection, SqliteError> {
    // Write access to the file is needed all the same: readers in WAL mode take their locks in the `-shm` file, and a
    // connection that cannot write cannot recover the log after a crash.
    let conn = open_writer(path, patience)?;
    let at = At { path, doing: "opening it", patience };
    conn.pragma_update(None, "query_only", true).map_err(|e| at.error(e))?;
    Ok(conn)
}

/// Checks what every source needs: WAL mode and an installed feed that this release understands.
pub(super) fn check_ready(conn: &Connection, path: &Path) -> Result<(), SqliteError> {
    let at = At { path, doing: "looking for the feed", patience: Duration::ZERO };
    let path = path.to_owned();
    match installed(conn).map_err(|e| at.error(e))? {
        None => return Err(SqliteError::FeedMissing { path }),
        Some((found, _)) if found > FEED_VERSION => {
            return Err(SqliteError::FeedNewer { path, found, known: FEED_VERSION });
        }
        Some(_) => {}
    }
    let mode = journal_mode(conn).map_err(|e| at.error(e))?;
    if mode == "wal" { Ok(()) } else { Err(SqliteError::NotWal { path, mode }) }
}

/// A number that moves with every change of the schema.
pub(super) fn schema_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

/// A number that moves when another connection has committed anything.
pub(super) fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

pub(super) fn journal_mode(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).map(|mode| mode.to_lowercase())
}

pub(super) fn set_journal_mode(conn: &Connection, mode: &str) -> rusqlite::Result<String> {
    conn.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get::<_, String>(0))
        .map(|mode| mode.to_lowercase())
}
