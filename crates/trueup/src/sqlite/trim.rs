//! Trimming the log: without losing a reader, and without getting into a writer's way.

use rusqlite::Connection;

use super::{
    membership::READER_LIVE_MS,
    names::{LOG, NOW_MS, READERS},
};

/// Rows that stay in any case, so that a reader that stumbles finds its place again.
pub(super) const LOG_ROWS_KEPT: i64 = 10_000;
/// Rows younger than this stay, in milliseconds.
pub(super) const LOG_AGE_KEPT_MS: i64 = 60_000;
/// Most rows that wait for a slow reader; beyond, it is left behind and has to begin a new epoch.
pub(super) const LOG_ROWS_MAX: i64 = 5_000_000;
/// Rows deleted in one transaction: about a millisecond of lock.
const CHUNK_ROWS: i64 = 1_000;

/// What trimming may remove: rows below this one.
///
/// The row at a reader's own position stays, because the reader finds by it that the log still continues; so does the last
/// row of all.
fn limit(conn: &Connection) -> rusqlite::Result<i64> {
    let sql = format!(
        "SELECT min(
            (SELECT max(seq) FROM {LOG}) - ?1,
            coalesce((SELECT min(position) FROM {READERS} WHERE heartbeat_ms > {NOW_MS} - ?2), 9223372036854775807)
         )"
    );
    let for_all: i64 =
        conn.prepare_cached(&sql)?.query_row([LOG_ROWS_KEPT, READER_LIVE_MS], |row| row.get(0))?;
    let capped: i64 = conn
        .prepare_cached(&format!("SELECT max(seq) - ?1 FROM {LOG}"))?
        .query_row([LOG_ROWS_MAX], |row| row.get(0))?;
    Ok(for_all.max(capped))
}

/// Removes one chunk of rows that nobody needs; how many were removed.
pub(super) fn trim_chunk(conn: &Connection) -> rusqlite::Result<usize> {
    let limit = limit(conn)?;
    let sql = format!(
        "DELETE FROM {LOG} WHERE seq IN (SELECT seq FROM {LOG} WHERE seq < ?1 AND at_ms < {NOW_MS} - ?2 ORDER BY seq LIMIT ?3)"
    );
    conn.prepare_cached(&sql)?.execute([limit, LOG_AGE_KEPT_MS, CHUNK_ROWS])
}

/// Forgets readers that have not been heard of for long.
pub(super) fn forget_readers(conn: &Connection) -> rusqlite::Result<usize> {
    conn.prepare_cached(&format!("DELETE FROM {READERS} WHERE heartbeat_ms < {NOW_MS} - ?1"))?
        .execute([2 * READER_LIVE_MS])
}
