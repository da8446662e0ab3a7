//! A database in which commit, delivery and visibility are three steps, small enough to try every order of them.

use trueup_core::proof::{Position, Snapshot, Tag, Xid, XidSnapshot};

/// A set of commits, by their number in [`Db::commits`].
pub(crate) type Commits = u64;

/// The `wide` tag of the rows' table: what a TRUNCATE or a bulk change raises instead of a row's own tag.
pub(crate) const WIDE: u8 = 2;

const FIRST_XID: u64 = 10;
const FIRST_POSITION: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Has a transaction id, holds its row's lock.
    Running,
    /// Its commit record is in the log; no snapshot shows it yet (it may wait for a silent standby, for ever).
    Committed,
    /// Visible to every later snapshot, and acknowledged to its client.
    Visible,
    /// Rolled back, or taken back by a crash or a restore.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) xid: u64,
    /// Where its commit record ends; zero while it runs.
    pub(crate) end: u64,
    pub(crate) row: u8,
    pub(crate) stage: Stage,
    /// The clock when its client heard of it.
    pub(crate) acknowledged_at: Option<u64>,
    /// The clock when it was taken back.
    pub(crate) lost_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Db {
    pub(crate) commits: Vec<Commit>,
    pub(crate) next_xid: u64,
    latest_completed: u64,
    /// End of the log as written, and as flushed: only what is flushed can be delivered.
    pub(crate) insert: u64,
    pub(crate) flushed: u64,
    /// A transaction of the node's own, that writes nothing.
    pub(crate) own: Option<u64>,
    /// Moves when the server is started anew, and every connection to it with it.
    pub(crate) incarnation: u64,
    /// The timeline: another one after a failover or a restore.
    pub(crate) epoch: u8,
    /// The version of the catalogue, and the clock when it was last altered.
    pub(crate) catalogue: (u8, u64),
    /// Whether visibility follows the log's order, as with SQLite's single writer.
    pub(crate) sequence: bool,
}

impl Db {
    pub(crate) fn new(sequence: bool) -> Self {
        Self {
            commits: Vec::new(),
            next_xid: FIRST_XID,
            latest_completed: FIRST_XID - 1,
            insert: FIRST_POSITION,
            flushed: FIRST_POSITION,
            own: None,
            incarnation: 1,
            epoch: 1,
            catalogue: (1, 0),
            sequence,
        }
    }

    /// A row is locked from its first change until its writer is done.
    pub(crate) fn is_locked(&self, row: u8) -> bool {
        self.commits.iter().any(|c| c.row == row && matches!(c.stage, Stage::Running | Stage::Committed))
    }

    pub(crate) fn begin(&mut self, row: u8) {
        let xid = self.take_xid();
        let stage = Stage::Running;
        self.commits.push(Commit { xid, end: 0, row, stage, acknowledged_at: None, lost_at: None });
    }

    pub(crate) fn commit(&mut self, id: usize, flush: bool) {
        self.insert += 1;
        self.commits[id].end = self.insert;
        self.commits[id].stage = Stage::Committed;
        if flush {
            self.flushed = self.insert;
        }
    }

    pub(crate) fn complete(&mut self, id: usize, now: u64) {
        self.commits[id].stage = Stage::Visible;
        self.commits[id].acknowledged_at = Some(now);
        self.latest_completed = self.latest_completed.max(self.commits[id].xid);
    }

    pub(crate) fn begin_own(&mut self) -> u64 {
        let xid = self.take_xid();
        self.own = Some(xid);
        xid
    }

    pub(crate) fn complete_own(&mut self) {
        if let Some(xid) = self.own.take() {
            self.latest_completed = self.latest_completed.max(xid);
        }
    }

    /// The server dies and recovers: what was not flushed is gone, and its ids and log positions are used again (unless
    /// `keep_positions`). What was flushed is visible, waiting or not. Recovery ends with a log record of its own.
    pub(crate) fn crash(&mut self, now: u64, keep_positions: bool) {
        let flushed = self.flushed;
        for commit in &mut self.commits {
            let survives = commit.end != 0 && commit.end <= flushed;
            match commit.stage {
                Stage::Committed if survives => commit.stage = Stage::Visible,
                Stage::Visible if survives => {}
                Stage::Lost => {}
                _ => (commit.stage, commit.lost_at) = (Stage::Lost, Some(now)),
            }
        }
        let survivors = self.commits.iter().filter(|c| c.stage == Stage::Visible).map(|c| c.xid);
        self.latest_completed = survivors.max().unwrap_or(FIRST_XID - 1);
        self.next_xid = self.latest_completed + 1;
        self.insert = if keep_positions { self.insert } else { flushed } + 1;
        self.flushed = self.insert;
        self.own = None;
        self.incarnation += 1;
    }

    /// A standby is promoted, that may not have received the last commit.
    pub(crate) fn fail_over(&mut self, now: u64, is_behind: bool) {
        let last = self.commits.iter().map(|c| c.end).filter(|end| *end <= self.flushed).max().unwrap_or(0);
        if is_behind && last == self.flushed {
            self.flushed -= 1;
        }
        self.crash(now, false);
        self.epoch += 1;
    }

    /// `pg_current_snapshot()` as PostgreSQL takes it (`GetSnapshotData`): xmax is the latest COMPLETED id + 1, so that
    /// a running writer's id can be at or above it; ids that wait for a standby still count as running.
    pub(crate) fn snapshot(&self) -> Snapshot {
        if self.sequence {
            return Snapshot::Sequence(Position(self.insert));
        }
        let xmax = self.latest_completed + 1;
        let running = self.commits.iter().filter(|c| matches!(c.stage, Stage::Running | Stage::Committed));
        let mut running: Vec<_> =
            running.map(|c| c.xid).chain(self.own).filter(|xid| *xid < xmax).map(Xid).collect();
        running.sort_unstable();
        let xmin = running.first().copied().unwrap_or(Xid(xmax));
        Snapshot::Xids(XidSnapshot { xmin, xmax: Xid(xmax), running: running.into() })
    }

    /// What a read of the entry's rows reflects.
    pub(crate) fn visible(&self) -> Commits {
        self.those(|c| c.stage == Stage::Visible)
    }

    /// What the clients have been told is done, before `moment`, and was not taken back.
    pub(crate) fn acknowledged_before(&self, moment: u64) -> Commits {
        self.those(|c| c.stage == Stage::Visible && c.acknowledged_at.is_some_and(|at| at < moment))
    }

    /// What was taken back before `moment`.
    pub(crate) fn lost_before(&self, moment: u64) -> Commits {
        self.those(|c| c.lost_at.is_some_and(|at| at < moment))
    }

    /// The value of the rows after `commits`: every change toggles its row between present and absent.
    pub(crate) fn is_absent(&self, commits: Commits) -> bool {
        commits.count_ones().is_multiple_of(2)
    }

    /// The first flushed commit after `position`.
    pub(crate) fn next_in_feed(&self, position: u64) -> Option<&Commit> {
        let delivered = |c: &&Commit| {
            matches!(c.stage, Stage::Committed | Stage::Visible) && c.end > position && c.end <= self.flushed
        };
        self.commits.iter().filter(delivered).min_by_key(|c| c.end)
    }

    fn those(&self, which: impl Fn(&Commit) -> bool) -> Commits {
        self.commits.iter().enumerate().filter(|(_, c)| which(c)).fold(0, |set, (id, _)| set | 1 << id)
    }

    fn take_xid(&mut self) -> u64 {
        self.next_xid += 1;
        self.next_xid - 1
    }
}

/// The tag that a change of `row` raises.
pub(crate) fn tag(row: u8) -> Tag {
    Tag(u64::from(row))
}
