//! Joining an epoch, or beginning one: who may say that the log continues.
//!
//! The name of an epoch stands in envelopes and tokens that outlive a process, and its positions must never mean two
//! things. A file cannot tell by itself that it is an older copy put back in place: it looks exactly as it did then,
//! while the name has gone on elsewhere. Only a process that has followed the log without a break knows. So whoever
//! cannot vouch for the log itself does one of two things:
//!
//! - If other processes follow the file (their row in the readers' table is fresh), it writes a log row that asks to
//!   join. Each of them sees that row in the log it follows, after checking that its own last row still stands there, and
//!   vouches by writing the feed's nonce into the asker's row. The asker then shares their epoch: same name, same
//!   positions, and what they put into a shared tier stays good.
//! - If nobody answers, it draws a new feed nonce, in one write transaction that the others see as the end of their epoch.
//!   They then ask to join in turn.
//!
//! A process that finds its own last row changed or gone (a copy restored in place, a log lost with the power), another
//! file behind the path, or a position lower than one it was told, never asks: it renews the nonce at once, unless another
//! process has done so already.
//!
//! The price: when no process is left to vouch (every restart of a single one), a shared tier starts cold.
//! The schema's version is part of the epoch's name besides: DDL begins a new epoch without a new nonce, because the
//! follower that notices it has just checked its last row in the same transaction.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use trueup_core::env::{Clock, random};

use super::{
    connection,
    error::{At, SqliteError},
    names::{LOG, META, NOW_MS, READERS, kind},
    registry::FeedName,
    state::State,
};

/// How long the asker waits for somebody to vouch. A follower answers within a few milliseconds.
pub(super) const VOUCH_WAIT: Duration = Duration::from_millis(250);
/// How often the asker looks.
const VOUCH_POLL: Duration = Duration::from_millis(2);
/// A reader that has not been heard of for so long does not hold the log, and is not asked to vouch.
pub(super) const READER_LIVE_MS: i64 = 60_000;
/// How long joining waits for a write lock.
pub(super) const JOIN_LOCK_WAIT: Duration = Duration::from_secs(2);

/// A process's place among the readers of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReaderId(pub(super) i64);

impl ReaderId {
    pub(super) fn draw() -> Result<Self, SqliteError> {
        let mut bytes = [0; 8];
        random::fill(&mut bytes)?;
        Ok(Self(i64::from_le_bytes(bytes) & i64::MAX))
    }
}

/// Joins the epoch that others follow, or begins a new one. `broken` is a name whose positions this process knows to be
/// spoiled. Returns the name that may be followed from any position at or after this call.
pub(super) fn enter(
    path: &Path,
    clock: &Clock,
    me: ReaderId,
    broken: Option<FeedName>,
) -> Result<FeedName, SqliteError> {
    let mut conn = connection::open_writer(path, JOIN_LOCK_WAIT)?;
    let at = At { path, doing: "joining the readers of the log", patience: JOIN_LOCK_WAIT };
    loop {
        let asked = ask(&mut conn, me, broken).map_err(|e| at.error(e))?;
        let found = match asked {
            Asked::Renewed(name) => return Ok(name),
            Asked::Waiting(name) => name,
        };
        if vouched(&conn, clock, me, found).map_err(|e| at.error(e))? {
            return Ok(found);
        }
        if let Some(name) = renew(&mut conn, found).map_err(|e| at.error(e))? {
            return Ok(name);
        }
        // Another process renewed it in the meantime, and so is there to vouch.
    }
}

enum Asked {
    Renewed(FeedName),
    Waiting(FeedName),
}

/// Registers `me`; asks to join if somebody is there to answer, else renews the nonce.
fn ask(conn: &mut Connection, me: ReaderId, broken: Option<FeedName>) -> rusqlite::Result<Asked> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = State::read(&tx)?.name;
    let others = tx
        .query_row(
            &format!("SELECT 1 FROM {READERS} WHERE id <> ?1 AND heartbeat_ms > {NOW_MS} - ?2 LIMIT 1"),
            [me.0, READER_LIVE_MS],
            |_| Ok(()),
        )
        .optional()?;
    let asked = if broken == Some(found) || others.is_none() {
        Asked::Renewed(draw_nonce(&tx)?)
    } else {
        tx.execute(
            &format!(
                "INSERT INTO {LOG}(nonce, at_ms, tbl, kind, v0) VALUES (random(), {NOW_MS}, 0, {}, ?1)",
                kind::JOIN
            ),
            [me.0],
        )?;
        Asked::Waiting(found)
    };
    register(&tx, me)?;
    tx.commit()?;
    Ok(asked)
}

fn register(conn: &Connection, me: ReaderId) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO {READERS}(id, position, heartbeat_ms) \
         SELECT ?1, max(seq), {NOW_MS} FROM {LOG}"
    );
    conn.execute(&sql, [me.0]).map(drop)
}

/// Waits until somebody has vouched that the log continues under `name`.
fn vouched(conn: &Connection, clock: &Clock, me: ReaderId, name: FeedName) -> rusqlite::Result<bool> {
    let started = clock.now();
    let sql = format!("SELECT vouched_high IS ?2 AND vouched_low IS ?3 FROM {READERS} WHERE id = ?1");
    while clock.now().since(started) < VOUCH_WAIT {
        let (high, low) = name.nonce;
        let yes: Option<bool> =
            conn.prepare_cached(&sql)?.query_row([me.0, high, low], |row| row.get(0)).optional()?;
        if yes == Some(true) {
            return Ok(true);
        }
        std::thread::sleep(VOUCH_POLL);
    }
    Ok(false)
}

/// Ends the epochs under `found`; none if somebody else has done so.
fn renew(conn: &mut Connection, found: FeedName) -> rusqlite::Result<Option<FeedName>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if State::read(&tx)?.name != found {
        return Ok(None);
    }
    let name = draw_nonce(&tx)?;
    tx.commit()?;
    Ok(Some(name))
}

fn draw_nonce(conn: &Connection) -> rusqlite::Result<FeedName> {
    conn.execute(&format!("UPDATE {META} SET nonce_high = random(), nonce_low = random()"), [])?;
    Ok(State::read(conn)?.name)
}

/// Tells `joining` that the log continues under `name`. Said by a follower that has read their request in that log.
pub(super) fn vouch(conn: &Connection, joining: i64, name: FeedName) -> rusqlite::Result<()> {
    let (high, low) = name.nonce;
    let sql = format!(
        "UPDATE {READERS} SET vouched_high = ?2, vouched_low = ?3 WHERE id = ?1 \
         AND EXISTS (SELECT 1 FROM {META} WHERE nonce_high = ?2 AND nonce_low = ?3)"
    );
    conn.execute(&sql, [joining, high, low]).map(drop)
}

/// Says that `me` is there and has read through `position`.
pub(super) fn heartbeat(conn: &Connection, me: ReaderId, position: i64) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO {READERS}(id, position, heartbeat_ms) VALUES (?1, ?2, {NOW_MS}) \
         ON CONFLICT(id) DO UPDATE SET position = excluded.position, heartbeat_ms = excluded.heartbeat_ms"
    );
    conn.execute(&sql, [me.0, position]).map(drop)
}

/// Takes `me` off the list.
pub(super) fn leave(conn: &Connection, me: ReaderId) -> rusqlite::Result<()> {
    conn.execute(&format!("DELETE FROM {READERS} WHERE id = ?1"), [me.0]).map(drop)
}
