//! Where the feed stands, as one read transaction sees it.

use rusqlite::Connection;
use trueup_core::proof::Position;

use super::{
    connection::schema_version,
    names::{LOG, META},
    registry::FeedName,
};

/// What one transaction sees of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) name: FeedName,
    pub(super) schema_version: i64,
    /// The last row of the log.
    pub(super) seq: i64,
}

impl State {
    /// Reads it. As the first statement of a deferred transaction it also fixes the transaction's snapshot.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare_cached(SQL.get_or_init(|| {
            format!("SELECT system_id, nonce_high, nonce_low, (SELECT max(seq) FROM {LOG}) FROM {META}")
        }))?;
        let (name, seq) = statement.query_row([], |row| {
            Ok((FeedName { system_id: row.get(0)?, nonce: (row.get(1)?, row.get(2)?) }, row.get(3)?))
        })?;
        Ok(Self { name, schema_version: schema_version(conn)?, seq })
    }

    /// The last row of the log, as a position.
    pub(super) const fn position(&self) -> Position {
        position(self.seq)
    }
}

static SQL: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// The position of a log row. Sequence numbers begin at 1 and never become negative.
pub(super) const fn position(seq: i64) -> Position {
    Position(seq.cast_unsigned())
}
