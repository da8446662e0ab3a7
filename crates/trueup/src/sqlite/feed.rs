//! Following the log: a thread that looks every millisecond or two whether anything was committed.
//!
//! `PRAGMA data_version` tells for a few microseconds whether any other connection, of this or another process, has
//! committed; only then the log is read, in one read transaction. SQLite has one writer at a time and readers see
//! committed states alone, so commit order is visibility order: whatever the log shows, every later read sees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _};
use trueup_core::{
    apply::Feed,
    entry::EpochId,
    proof::{Ask, Message, SavedPlace, Snapshot, Transaction, Xid},
};

use super::{
    connection::{self, data_version},
    error::SqliteError,
    file_id::{Files, Paths},
    handle::{READ_LOCK_WAIT, Shared},
    keeper::Keeper,
    log,
    membership::{self, ReaderId},
    names::LOG,
    place,
    registry::{FeedName, Registry},
    state::{State, position},
};

/// The pause after a failure begins here and doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two attempts to follow.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// After so long without a change the pause between two looks grows.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// No `PRAGMA data_version`: what was committed has to be read.
const UNREAD: i64 = i64::MIN;

/// Why following ended.
#[derive(Debug)]
enum Ended {
    Stopped,
    /// The log is not the continuation of what was applied: its positions mean something else now.
    Broken(&'static str),
    /// It may well be the continuation, but others must say so, or everything begins anew.
    Unsure(&'static str),
}

/// Follows until told to stop; see [`trueup_core::source::Source::follow`].
pub(super) fn follow(
    shared: &Arc<Shared>,
    feed: &Feed,
    abandoned: &AtomicBool,
    runtime: &tokio::runtime::Handle,
) {
    let stopped = || feed.stopped() || abandoned.load(Ordering::Acquire);
    let me = match ReaderId::draw() {
        Ok(me) => me,
        Err(error) => return feed.failed(error.to_string()),
    };
    let keeper = Keeper::start(runtime, shared.path.clone(), me);
    let mut broken: Option<FeedName> = None;
    // Of an earlier process: what comes first in this one may go on from there.
    let mut places = feed.saved_places();
    let mut pause = RETRY_PAUSE_MIN;
    while !stopped() {
        let outcome = Follower::enter(shared, feed, broken, me, &keeper, places).and_then(|mut follower| {
            (broken, places) = (None, &[]);
            pause = RETRY_PAUSE_MIN;
            let ended = follower.run(&stopped);
            if let Ok(Ended::Broken(_)) = ended {
                broken = Some(follower.name);
            }
            ended
        });
        match outcome {
            Ok(Ended::Stopped) => return,
            Ok(Ended::Broken(why) | Ended::Unsure(why)) => {
                tracing::warn!(path = %shared.path.display(), why, "the log does not continue; entering a new epoch");
                shared.renew();
                keeper.reopen();
            }
            Err(error) => {
                feed.failed(error.to_string());
                shared.renew();
                keeper.reopen();
                sleep(pause, &stopped);
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
    }
}

/// Sleeps in steps, so that a stop is not kept waiting.
fn sleep(span: Duration, stopped: &impl Fn() -> bool) {
    let mut left = span;
    while !left.is_zero() && !stopped() {
        let step = left.min(RETRY_PAUSE_MIN);
        std::thread::sleep(step);
        left -= step;
    }
}

/// What one look found.
enum Look {
    Unchanged,
    Changed,
    Ended(Ended),
}

struct Follower<'a> {
    shared: &'a Shared,
    feed: &'a Feed,
    conn: Connection,
    keeper: &'a Keeper,
    paths: Paths,
    files: Files,
    name: FeedName,
    schema_version: i64,
    registry: Arc<Registry>,
    epoch: EpochId,
    /// The last log row that was applied, and its nonce.
    applied: i64,
    nonce: i64,
    data_version: i64,
}

/// What a poll finds at the place where it left the log.
struct Place {
    state: State,
    /// The nonce of the row applied last; none when it is gone.
    nonce: Option<i64>,
    /// The first row there is.
    first: i64,
}

/// Everything that an epoch starts with, read in one transaction.
struct Start {
    state: State,
    registry: Arc<Registry>,
    nonce: i64,
}

impl Start {
    fn read(shared: &Shared, conn: &Connection) -> rusqlite::Result<Self> {
        let state = State::read(conn)?;
        let registry = shared.registry(conn, state.schema_version)?;
        Ok(Self { state, registry, nonce: nonce_at(conn, state.seq)?.unwrap_or_default() })
    }
}

impl<'a> Follower<'a> {
    /// Joins or begins an epoch, and tells the feed where it starts.
    fn enter(
        shared: &'a Shared,
        feed: &'a Feed,
        broken: Option<FeedName>,
        me: ReaderId,
        keeper: &'a Keeper,
        places: &[SavedPlace],
    ) -> Result<Self, SqliteError> {
        let missing = |_| SqliteError::Missing { path: shared.path.clone() };
        let at = shared.at("reading the log");
        let paths = Paths::new(&shared.path).map_err(missing)?;
        let conn = connection::open_reader(&shared.path, READ_LOCK_WAIT)?;
        connection::check_ready(&conn, &shared.path)?;
        // Opened and read: the write-ahead log exists from here on.
        let files = paths.files().map_err(missing)?;
        loop {
            let name = membership::enter(&shared.path, feed.clock(), me, broken)?;
            let data_version = data_version(&conn).map_err(|e| at.error(e))?;
            let read = |tx: &Connection| {
                let start = Start::read(shared, tx)?;
                let left = place::find(tx, &start.state, places)?;
                Ok::<_, rusqlite::Error>((start, left))
            };
            let (start, left) = read_once(&conn, read).map_err(|e| at.error(e))?;
            if start.state.name != name {
                continue;
            }
            let mut follower = Self {
                shared,
                feed,
                data_version,
                conn,
                keeper,
                paths,
                files,
                name,
                schema_version: 0,
                registry: Arc::default(),
                epoch: name.epoch(0),
                applied: 0,
                nonce: 0,
            };
            match left {
                Some(left) => follower.resume(start, &left),
                None => follower.begin_epoch(start),
            }
            return Ok(follower);
        }
    }

    /// Begins an epoch at the end of the log. In SQLite every committed change is visible to whoever reads next, so
    /// nothing that ends at or below the start can be missing from a later load.
    fn begin_epoch(&mut self, start: Start) {
        let position = start.state.position();
        self.adopt(start);
        self.feed.begin_epoch(self.epoch, position, None);
    }

    /// Begins where an earlier process has left the log, so that everything since is told. That row is where it was, in the
    /// transaction in which everything else was read.
    fn resume(&mut self, start: Start, left: &place::Left) {
        self.adopt(start);
        (self.applied, self.nonce) = (left.seq, left.nonce);
        self.keeper.applied(self.applied);
        // What lies between is read before anything is called fresh.
        self.data_version = UNREAD;
        tracing::info!(from = left.seq, "following the log from where an earlier process has left it");
        self.feed.begin_resumed(self.epoch, position(left.seq), left.of);
    }

    fn adopt(&mut self, start: Start) {
        for followed in &start.registry.tables {
            let (table, Some(reason)) = (&followed.name, &followed.outdated) else { continue };
            tracing::warn!(
                "table `{table}`: {reason}; its rows are not served until `trueup init --apply` is run again"
            );
        }
        self.schema_version = start.state.schema_version;
        self.epoch = self.name.epoch(self.schema_version);
        (self.registry, self.applied, self.nonce) = (start.registry, start.state.seq, start.nonce);
        self.keeper.applied(self.applied);
    }

    fn run(&mut self, stopped: &impl Fn() -> bool) -> Result<Ended, SqliteError> {
        let mut last_change = self.feed.clock().now();
        while !stopped() {
            // Before anything is asked: every commit acknowledged before this moment shows in what follows.
            let (at, discards) = (self.feed.clock().now(), self.feed.discards());
            let missing = |_| SqliteError::Missing { path: self.shared.path.clone() };
            if self.paths.files().map_err(missing)? != self.files {
                return Ok(Ended::Broken("another file stands behind the path"));
            }
            match self.look() {
                Ok(Look::Ended(ended)) => return Ok(ended),
                Ok(look) => {
                    if matches!(look, Look::Changed) {
                        last_change = at;
                    }
                    let ask = Ask { at, position: position(self.applied), discards };
                    self.feed.answered(self.epoch, ask, Some(&Snapshot::Sequence(ask.position)));
                }
                // Somebody holds the whole file. The place in the log is not lost, so the epoch goes on.
                Err(locked @ SqliteError::Locked { .. }) => self.feed.failed(locked.to_string()),
                Err(error) => return Err(error),
            }
            let options = &self.shared.options;
            let is_idle = at.since(last_change) > IDLE_AFTER;
            std::thread::sleep(if is_idle { options.poll_idle } else { options.poll_busy });
        }
        Ok(Ended::Stopped)
    }

    /// Looks once whether anything was committed, and applies it.
    fn look(&mut self) -> Result<Look, SqliteError> {
        let asking = |e| self.shared.at("asking for changes").error(e);
        let version = data_version(&self.conn).map_err(asking)?;
        if version == self.data_version {
            return Ok(Look::Unchanged);
        }
        let ended = self.read_changes();
        if let Some(ended) = ended.map_err(|e| self.shared.at("reading the log").error(e))? {
            return Ok(Look::Ended(ended));
        }
        // Only now: what failed to be read must be read at the next look.
        self.data_version = version;
        Ok(Look::Changed)
    }

    /// Reads and applies what was committed since the last look, all of one state.
    fn read_changes(&mut self) -> rusqlite::Result<Option<Ended>> {
        let told = self.shared.told(self.name);
        let tx = self.conn.unchecked_transaction()?;
        let place = place_of(&tx, self.applied)?;
        if let Some(ended) = self.judge(&place, told) {
            return Ok(Some(ended));
        }
        if place.state.schema_version != self.schema_version {
            // The row applied last is where it was: the log continues, but answers may have another shape.
            let start = Start::read(self.shared, &tx)?;
            tx.commit()?;
            self.begin_epoch(start);
            return Ok(None);
        }
        let end = place.state.seq;
        let bulk = log::bulk_tables(&tx, self.applied, end)?;
        while self.applied < end {
            let mut batch = log::read(&tx, &self.registry, &bulk, self.applied, end)?;
            let last = batch.last;
            if last == end && !bulk.is_empty() {
                let tags = log::whole(&self.registry, &bulk);
                batch.transactions.push(Transaction { xid: Xid::default(), end: position(end), tags });
            }
            let nonce = nonce_at(&tx, last)?.unwrap_or_default();
            batch.joining.iter().for_each(|reader| self.keeper.vouch(*reader, self.name));
            let message = Message {
                epoch: self.epoch,
                connection: 0,
                previous: position(self.applied),
                end: position(last),
                transactions: batch.transactions,
            };
            let written_at_us = batch.written_at_ms.iter().map(|at_ms| at_ms * 1_000);
            if self.feed.apply(&message, written_at_us).is_err() {
                return Ok(Some(Ended::Unsure("the ledger refused a message")));
            }
            (self.applied, self.nonce) = (last, nonce);
        }
        tx.commit()?;
        self.keeper.applied(self.applied);
        Ok(None)
    }

    /// Whether the log continues where this follower left it.
    fn judge(&self, place: &Place, told: i64) -> Option<Ended> {
        if place.state.name != self.name {
            return Some(Ended::Unsure("another process has renewed the feed"));
        }
        match place.nonce {
            Some(nonce) if nonce != self.nonce => {
                Some(Ended::Broken("the last row that was applied has changed"))
            }
            None if place.first > self.applied => {
                Some(Ended::Unsure("the log was trimmed beyond this reader"))
            }
            None => Some(Ended::Broken("the last row that was applied is gone")),
            Some(_) if place.state.seq < told => {
                Some(Ended::Broken("the log ends before a position that it had"))
            }
            Some(_) => None,
        }
    }
}

/// Runs `work` in one read transaction.
fn read_once<T>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let tx = conn.unchecked_transaction()?;
    let result = work(&tx)?;
    tx.commit()?;
    Ok(result)
}

fn place_of(conn: &Connection, applied: i64) -> rusqlite::Result<Place> {
    let state = State::read(conn)?;
    let first = conn
        .prepare_cached(&format!("SELECT min(seq) FROM {LOG}"))?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(Place { state, nonce: nonce_at(conn, applied)?, first: first.unwrap_or(0) })
}

pub(super) fn nonce_at(conn: &Connection, seq: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(&format!("SELECT nonce FROM {LOG} WHERE seq = ?1"))?
        .query_row([seq], |row| row.get(0))
        .optional()
}
