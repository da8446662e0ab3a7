//! What a node knows of the feed, without locks or clocks: the pure half of the [`Ledger`](super::Ledger).

use std::collections::BTreeMap;

use super::{Ask, Asks, Barrier, Change, Floor, Known, Position, Recent, Snapshot, Tag, Xid};

/// One transaction of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The writer's top-level transaction id; zero where the source has none.
    pub xid: Xid,
    /// Where its commit ends in the feed.
    pub end: Position,
    /// Everything it changed.
    pub tags: Vec<Tag>,
}

/// Why a message of the feed was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Messages between the applied position and this one are missing.
    #[error("feed gap: applied through {applied}, the message continues from {previous}")]
    Gap {
        /// What this node has applied.
        applied: Position,
        /// What the message says came before it.
        previous: Position,
    },
    /// Everything in the message has been applied before; harmless.
    #[error("already applied")]
    Old,
    /// The message is of another epoch than this node's.
    #[error("the message belongs to another epoch")]
    OtherEpoch,
    /// The message's transactions are out of order or reach beyond its end.
    #[error("the message contradicts itself: transactions out of order")]
    Malformed,
}

/// Why a loaded value must not be kept, or a kept one not be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// Something it depends on changed and the load did not see that change.
    #[error("a change on what the value depends on is missing from what the load saw")]
    MissedChange,
    /// Something it depends on changed after the load, before it could be settled.
    #[error("what the value depends on changed after the load")]
    ChangedSince,
    /// The feed's connection, epoch or catalogue moved, or changes were lost, while the load was under way.
    #[error("the feed was interrupted while the load was under way")]
    Interrupted,
    /// The floor is undefined: it is not known which changes a load can have missed.
    #[error("no floor yet: waiting for every transaction older than the start of the feed")]
    NoFloor,
    /// Too many entries wait to be settled, because the feed lags.
    #[error("too many entries wait for the feed")]
    TooMany,
    /// The load came from another epoch of the source.
    #[error("the load came from another epoch of the source")]
    OtherEpoch,
}

/// The floor from which a load holds the changes that it may have missed.
///
/// Void once the book's discard number has moved: what it held may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Every change at or below this is visible to the load.
    pub floor: Position,
    /// The book's discard number when the load began.
    pub discards: u64,
}

/// Applied position, recent changes, floor, asks and loads in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Book {
    applied: Position,
    recent: Recent,
    floor: Floor,
    asks: Asks,
    /// How many loads in flight and unsettled entries started at each floor.
    held: BTreeMap<Position, usize>,
    /// Moves when loads in flight and unsettled entries are to be discarded.
    discards: u64,
}

impl Book {
    /// A book that starts at `start`, with `barrier` for changes before it that may still be invisible.
    #[must_use]
    pub fn new(start: Position, barrier: Option<Barrier>, recent_max: usize) -> Self {
        Self {
            applied: start,
            recent: Recent::new(recent_max),
            floor: Floor::new(start, barrier),
            asks: Asks::default(),
            held: BTreeMap::new(),
            discards: 0,
        }
    }

    /// The same book with another discard number, so that loads begun under the book before it are discarded.
    #[must_use]
    pub fn with_discards(mut self, discards: u64) -> Self {
        self.discards = discards;
        self
    }

    /// Whether a message that continues from `previous` and ends at `end` is the next one.
    ///
    /// # Errors
    /// [`Refused::Gap`] or [`Refused::Old`].
    pub const fn accepts(&self, previous: Position, end: Position) -> Result<(), Refused> {
        if end.0 <= self.applied.0 {
            return Err(Refused::Old);
        }
        if previous.0 > self.applied.0 {
            return Err(Refused::Gap { applied: self.applied, previous });
        }
        Ok(())
    }

    /// Notes one change. Call [`Book::release`] after the last change of a message.
    pub fn record(&mut self, change: Change) {
        if self.recent.push(change).is_ok() {
            return;
        }
        // Memory is fixed: from here on nobody can tell which loads saw the lost changes, until all are visible.
        let lost = self.recent.clear();
        let (xid, end) = lost.unwrap_or((change.xid, change.end));
        self.freeze(Barrier { xid: xid.max(change.xid), end: end.max(change.end) });
    }

    /// Moves the applied position to `end`; every change at or below has been recorded and raised in the buckets.
    pub fn release(&mut self, end: Position) -> Known {
        self.applied = self.applied.max(end);
        self.trim();
        self.asks.reached(self.applied)
    }

    /// Takes the source's answer to "how far are you"; a snapshot taken in the same statement raises the floor, unless
    /// loads in flight were discarded since the question was sent: after a crash the ids of lost transactions are used
    /// again, and a snapshot from before it would show the new ones as visible.
    pub fn answered(&mut self, ask: Ask, snapshot: Option<&Snapshot>) -> Known {
        self.asks.answered(ask);
        if let Some(snapshot) = snapshot.filter(|_| ask.discards == self.discards) {
            self.observe(snapshot);
        }
        self.asks.reached(self.applied)
    }

    /// Raises the floor from a snapshot taken on the primary, asked for since the last discard.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        self.floor.raise(snapshot, &self.recent, self.applied);
        self.trim();
    }

    /// A load starts: holds the changes above today's floor, and returns that floor.
    ///
    /// # Errors
    /// [`Rejected::NoFloor`]: the value may be used, but not kept.
    pub fn hold(&mut self) -> Result<Hold, Rejected> {
        let floor = self.floor.defined().ok_or(Rejected::NoFloor)?;
        *self.held.entry(floor).or_default() += 1;
        Ok(Hold { floor, discards: self.discards })
    }

    /// Ends what [`Book::hold`] began. Nothing is left to end for a hold that is void.
    pub fn let_go(&mut self, hold: Hold) {
        if hold.discards == self.discards
            && let Some(count) = self.held.get_mut(&hold.floor)
        {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&hold.floor);
                self.trim();
            }
        }
    }

    /// Rule 2: whether an entry that is not settled reflects every change that is applied here.
    ///
    /// # Errors
    /// [`Rejected::MissedChange`], [`Rejected::Interrupted`].
    pub fn check_unsettled(&self, tags: &[Tag], hold: Hold, saw: &Snapshot) -> Result<(), Rejected> {
        self.stands(hold)?;
        let applied_changes = tags.iter().flat_map(|tag| self.recent.on(*tag, hold.floor));
        if applied_changes.into_iter().all(|change| saw.sees(change)) {
            Ok(())
        } else {
            Err(Rejected::MissedChange)
        }
    }

    /// Rule 3: whether an entry can be settled at the applied position, which has reached its `upper`.
    ///
    /// # Errors
    /// [`Rejected::MissedChange`], [`Rejected::ChangedSince`], [`Rejected::Interrupted`].
    pub fn check_settle(
        &self,
        tags: &[Tag],
        hold: Hold,
        upper: Position,
        saw: &Snapshot,
    ) -> Result<(), Rejected> {
        debug_assert!(upper <= self.applied, "settling waits for the feed");
        self.stands(hold)?;
        for change in tags.iter().flat_map(|tag| self.recent.on(*tag, hold.floor)) {
            if change.end > upper {
                return Err(Rejected::ChangedSince);
            }
            if !saw.sees(change) {
                return Err(Rejected::MissedChange);
            }
        }
        Ok(())
    }

    /// Freezes the floor until everything up to `barrier` is visible, and discards what is in flight.
    pub fn freeze(&mut self, barrier: Barrier) {
        self.floor.freeze(barrier);
        self.discard();
    }

    /// Discards loads in flight and unsettled entries: the feed's connection or the catalogue moved.
    pub fn discard(&mut self) {
        self.discards += 1;
        // A load that still runs holds nothing any more: it would only fill `recent` for an answer that is refused.
        self.held.clear();
        self.trim();
    }

    /// Notes a position that the source told outside an ask.
    pub fn heard(&mut self, position: Position) {
        self.asks.heard(position);
    }

    /// W: the position through which the feed has been applied.
    #[must_use]
    pub const fn applied(&self) -> Position {
        self.applied
    }

    /// The floor and its barrier.
    #[must_use]
    pub const fn floor(&self) -> &Floor {
        &self.floor
    }

    /// The moment and the confirmed position.
    #[must_use]
    pub const fn known(&self) -> Known {
        self.asks.known()
    }

    /// The highest position the source has told.
    #[must_use]
    pub const fn told(&self) -> Position {
        self.asks.told()
    }

    /// A number that moves when loads in flight and unsettled entries are to be discarded.
    #[must_use]
    pub const fn discards(&self) -> u64 {
        self.discards
    }

    /// How many changes are held for loads in flight.
    #[must_use]
    pub fn recent_len(&self) -> usize {
        self.recent.len()
    }

    const fn stands(&self, hold: Hold) -> Result<(), Rejected> {
        if hold.discards == self.discards { Ok(()) } else { Err(Rejected::Interrupted) }
    }

    /// What must stay in `recent`: everything above the floor, and above the floor of every load in flight.
    fn trim(&mut self) {
        let floor = self.floor.position();
        let lowest_held = self.held.keys().next().copied().unwrap_or(floor);
        self.recent.trim(floor.min(lowest_held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Nanos;

    fn book() -> Book {
        Book::new(Position(10), None, 4)
    }

    fn apply(book: &mut Book, end: u64) {
        book.record(Change { tag: Tag(1), xid: Xid(end), end: Position(end) });
        book.release(Position(end));
    }

    /// All ids below `xid` are visible.
    fn snapshot(xid: u64) -> Snapshot {
        Snapshot::Xids(format!("{xid}:{xid}:").parse().unwrap())
    }

    #[test]
    fn a_discarded_load_that_still_runs_holds_nothing() {
        let mut book = book();
        let slow = book.hold().unwrap();
        book.discard();
        for end in 11..100 {
            apply(&mut book, end);
            book.observe(&snapshot(end + 1));
        }
        assert_eq!(book.recent_len(), 0, "each change was visible and nobody asks for it");
        assert_eq!(book.discards(), 1, "the bound was never reached");
        assert_eq!(book.check_unsettled(&[Tag(1)], slow, &snapshot(1)), Err(Rejected::Interrupted));
        let fast = book.hold().unwrap();
        book.let_go(slow);
        apply(&mut book, 100);
        book.observe(&snapshot(101));
        assert_eq!(book.recent_len(), 1, "the void hold did not end the other one");
        book.let_go(fast);
        assert_eq!(book.recent_len(), 0);
    }

    #[test]
    fn a_snapshot_from_before_a_crash_does_not_raise_the_floor() {
        let mut book = book();
        // Shows 10 as visible: an asynchronous commit, that the crash takes back.
        let before_the_crash = snapshot(11);
        let ask = Ask { at: Nanos(1), position: Position(11), discards: book.discards() };
        book.discard();
        // Another transaction 10: its commit is delivered, but waits to become visible.
        book.record(Change { tag: Tag(1), xid: Xid(10), end: Position(11) });
        book.release(Position(11));
        book.answered(ask, Some(&before_the_crash));
        let hold = book.hold().unwrap();
        assert_eq!(hold.floor, Position(10));
        assert_eq!(book.check_unsettled(&[Tag(1)], hold, &snapshot(10)), Err(Rejected::MissedChange));
    }
}
