//! One node: the production code of the proof, called in the order in which `Ledger` and `Ledger::check` call it, with
//! each step that other threads can see between made a step of its own. [`Broken`] leaves out one rule at a time.

use trueup_core::{
    env::Nanos,
    proof::{Ask, Barrier, Book, Change, Hold, Known, Position, Rejected, Snapshot, Tag, Xid},
};

use crate::db::{Commits, Db, WIDE, tag};

/// A rule left out, to see that its absence is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Visibility,
    FloorAtLoadStart,
    SettleWaitsForUpper,
    SettleUpperTest,
    MomentFirst,
    AppliedBeforeTags,
    ClockLast,
    MomentIsTheQuestions,
    RaiseNotBeyondApplied,
    TagsBeforeApplied,
    AppliedBeforeMoment,
    Gap,
    StartBarrier,
    /// `xmin >= S0.xmax` instead of an id assigned after the start was known.
    StartBarrierOfItsOwn,
    OverflowBarrier,
    OverflowDiscards,
    Connection,
    KeptSnapshots,
    EpochInMessages,
    EpochInAnswers,
    EpochOfLoad,
    EpochOfEntry,
    EpochCheckedLast,
    Digest,
    WideTag,
    Token,
    SessionToken,
    AdoptAfterStart,
    AdoptEpoch,
    ShareEpoch,
    JoinOnlyBeforeQuery,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) epoch: u8,
    pub(crate) connection: u64,
    pub(crate) previous: u64,
    pub(crate) end: u64,
    pub(crate) change: Option<(u64, u8)>,
}

/// What readers see without a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hot {
    pub(crate) epoch: u8,
    pub(crate) moment: u64,
    pub(crate) confirmed: u64,
    pub(crate) applied: u64,
    pub(crate) last: [u64; 3],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    Unsettled { hold: Hold, snapshot: Snapshot },
    Settled(u64),
    Discarded,
}

/// A cached entry. Its value is the set of commits it reflects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) saw: Commits,
    pub(crate) schema: u8,
    pub(crate) upper: u64,
    pub(crate) epoch: u8,
    pub(crate) class_epoch: u8,
    pub(crate) standing: Standing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Load {
    pub(crate) hold: Result<Hold, Rejected>,
    pub(crate) epoch: u8,
    pub(crate) class_epoch: u8,
    pub(crate) answer: Option<Loaded>,
    pub(crate) upper: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Loaded {
    pub(crate) saw: Commits,
    pub(crate) schema: u8,
    pub(crate) snapshot: Snapshot,
    pub(crate) epoch: u8,
    pub(crate) incarnation: u64,
    /// Whether a primary answered that had been replaced.
    pub(crate) old: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) snapshot: Snapshot,
    pub(crate) epoch: u8,
    pub(crate) catalogue: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Busy {
    /// A message of which the tags are raised; then the applied position; then the moment.
    Applying(Message, u8),
    /// A new epoch, step by step.
    Beginning { start: u64, barrier: Option<Barrier>, step: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) book: Book,
    pub(crate) hot: Hot,
    /// The source's epoch as this node knows it; zero before start-up.
    pub(crate) source_epoch: u8,
    pub(crate) start: u64,
    connection: Option<u64>,
    pub(crate) catalogue: u8,
    pub(crate) class_epoch: u8,
    /// Holds the lock while it is there.
    pub(crate) busy: Option<Busy>,
    /// The start of the feed, while the node waits for a transaction id assigned after it.
    pub(crate) starting: Option<u64>,
    pub(crate) load: Option<Load>,
    pub(crate) entry: Option<Entry>,
    pub(crate) asks: Vec<Asked>,
    /// Where the next message that reaches the node begins.
    pub(crate) cursor: u64,
    recent_max: usize,
}

impl Node {
    /// A node that follows `db` from its first position, in its first epoch.
    pub(crate) fn running(db: &Db, recent_max: usize) -> Self {
        let mut node = Self::stopped(recent_max);
        node.begin_epoch(db.epoch, db.flushed, None);
        node.connection = Some(db.incarnation);
        node
    }

    /// A node in no epoch.
    pub(crate) fn stopped(recent_max: usize) -> Self {
        Self {
            book: Book::new(Position::ZERO, None, recent_max),
            hot: Hot::default(),
            source_epoch: 0,
            start: 0,
            connection: None,
            catalogue: 1,
            class_epoch: 1,
            busy: None,
            starting: None,
            load: None,
            entry: None,
            asks: Vec::new(),
            cursor: 0,
            recent_max,
        }
    }

    fn begin_epoch(&mut self, epoch: u8, start: u64, barrier: Option<Barrier>) {
        self.busy = Some(Busy::Beginning { start, barrier, step: 0 });
        self.source_epoch = epoch;
        while self.busy.is_some() {
            self.step(None);
        }
    }

    pub(crate) fn begin_epoch_in_steps(&mut self, epoch: u8, start: u64, barrier: Option<Barrier>) {
        self.busy = Some(Busy::Beginning { start, barrier, step: 0 });
        self.source_epoch = epoch;
    }

    /// Takes a message; its effects come with [`Node::step`].
    pub(crate) fn deliver(&mut self, message: Message, broken: Option<Broken>) -> bool {
        if message.epoch != self.source_epoch && broken != Some(Broken::EpochInMessages) {
            return false;
        }
        let previous =
            if broken == Some(Broken::Gap) { self.book.applied() } else { Position(message.previous) };
        if self.book.accepts(previous, Position(message.end)).is_err() {
            return false;
        }
        if self.connection != Some(message.connection) && broken != Some(Broken::Connection) {
            self.connection = Some(message.connection);
            self.book.discard();
            self.drop_unsettled();
        }
        self.busy = Some(Busy::Applying(message, 0));
        true
    }

    /// One step of what the node is busy with, as other threads see it.
    pub(crate) fn step(&mut self, broken: Option<Broken>) {
        self.busy = match self.busy.take() {
            Some(Busy::Applying(message, step)) => {
                let order = match broken {
                    Some(Broken::TagsBeforeApplied) => [1, 0, 2],
                    Some(Broken::AppliedBeforeMoment) => [2, 0, 1],
                    _ => [0, 1, 2],
                };
                match order[usize::from(step)] {
                    0 => self.raise_tags(&message),
                    1 => self.release(&message, broken),
                    _ => self.publish_at(Position(message.end)),
                }
                if step == 2 {
                    self.settle(broken);
                }
                (step < 2).then_some(Busy::Applying(message, step + 1))
            }
            Some(Busy::Beginning { start, barrier, step }) => {
                match step {
                    0 => self.hot.epoch += 1,
                    1 => (self.hot.moment, self.hot.confirmed) = (0, 0),
                    2 => self.hot.applied = start,
                    3 => self.hot.last = [0; 3],
                    _ => self.new_book(start, barrier),
                }
                (step < 4).then_some(Busy::Beginning { start, barrier, step: step + 1 })
            }
            None => None,
        };
    }

    fn new_book(&mut self, start: u64, barrier: Option<Barrier>) {
        let discards = self.book.discards() + 1;
        self.drop_unsettled();
        self.book = Book::new(Position(start), barrier, self.recent_max).with_discards(discards);
        self.connection = None;
        self.start = start;
        self.cursor = start;
    }

    fn raise_tags(&mut self, message: &Message) {
        if let Some((_, row)) = message.change {
            let last = &mut self.hot.last[usize::from(row)];
            *last = (*last).max(message.end);
        }
    }

    fn release(&mut self, message: &Message, broken: Option<Broken>) {
        let discards = self.book.discards();
        if let Some((xid, row)) = message.change {
            let forget = broken == Some(Broken::OverflowBarrier) && self.book.recent_len() >= self.recent_max;
            if !forget {
                self.book.record(Change { tag: tag(row), xid: Xid(xid), end: Position(message.end) });
            }
        }
        if self.book.discards() != discards && broken != Some(Broken::OverflowDiscards) {
            self.drop_unsettled();
        }
        let known = self.book.release(Position(message.end));
        self.hot.applied = message.end;
        self.cursor = self.cursor.max(message.end);
        let _ = known;
    }

    /// The moment that `applied` proves: early, if that is the rule broken.
    fn publish_at(&mut self, applied: Position) {
        let mut ahead = self.book.clone();
        let known = ahead.release(applied);
        self.publish(known);
    }

    fn publish(&mut self, known: Known) {
        self.hot.confirmed = known.confirmed.0;
        self.hot.moment = known.moment.0;
    }

    fn settle(&mut self, broken: Option<Broken>) {
        let applied = self.book.applied();
        let Some(entry) = &mut self.entry else { return };
        if entry.upper > applied.0 {
            return;
        }
        if let Standing::Unsettled { hold, snapshot } = entry.standing.clone() {
            let upper = upper_tested(entry.upper, applied, broken);
            let judged = self.book.check_settle(&tags(broken), hold, upper, &snapshot);
            self.book.let_go(hold);
            entry.standing = if judged.is_ok() { Standing::Settled(applied.0) } else { Standing::Discarded };
        }
    }

    pub(crate) fn drop_unsettled(&mut self) {
        if let Some(entry) = &mut self.entry
            && let Standing::Unsettled { hold, .. } = entry.standing
        {
            entry.standing = Standing::Discarded;
            self.book.let_go(hold);
        }
    }

    pub(crate) fn answered(&mut self, asked: &Asked, now: u64, broken: Option<Broken>) {
        if asked.epoch != self.source_epoch && broken != Some(Broken::EpochInAnswers) {
            return;
        }
        if asked.catalogue != self.catalogue && broken != Some(Broken::Digest) {
            // Before the moment moves: who sees the new moment also sees the new class epoch.
            self.catalogue = asked.catalogue;
            self.class_epoch += 1;
            self.book.discard();
            self.drop_unsettled();
        }
        let mut ask = asked.ask;
        if broken == Some(Broken::MomentIsTheQuestions) {
            ask.at = Nanos(now);
        }
        if broken == Some(Broken::KeptSnapshots) {
            ask.discards = self.book.discards();
        }
        let known = self.book.answered(ask, Some(&asked.snapshot));
        self.publish(known);
    }

    pub(crate) fn begin_load(&mut self, broken: Option<Broken>) {
        let hold = match broken {
            // Noted at its end instead.
            Some(Broken::FloorAtLoadStart) => Ok(Hold { floor: Position::ZERO, discards: u64::MAX }),
            _ if self.source_epoch == 0 => Err(Rejected::NoFloor),
            _ => self.book.hold(),
        };
        let (epoch, class_epoch) = (self.hot.epoch, self.class_epoch);
        self.load = Some(Load { hold, epoch, class_epoch, answer: None, upper: None });
    }

    /// The load failed, or nobody waits for it any more.
    pub(crate) fn drop_load(&mut self) {
        if let Some(Load { hold: Ok(hold), .. }) = self.load.take() {
            self.book.let_go(hold);
        }
    }

    /// Ends the load; what may be kept becomes the entry.
    pub(crate) fn admit(&mut self, broken: Option<Broken>) -> Result<(), Rejected> {
        let Some(Load { hold, epoch, class_epoch, answer: Some(loaded), upper: Some(upper) }) =
            self.load.take()
        else {
            return Err(Rejected::Interrupted);
        };
        let mut hold = hold?;
        match broken {
            Some(Broken::FloorAtLoadStart) => hold = self.book.hold()?,
            Some(Broken::OverflowDiscards) => hold.discards = self.book.discards(),
            _ => {}
        }
        let standing = self.judge(hold, epoch, &loaded, upper, broken);
        if !matches!(standing, Ok(Standing::Unsettled { .. })) {
            self.book.let_go(hold);
        }
        let standing = standing?;
        self.drop_unsettled();
        let (saw, schema) = (loaded.saw, loaded.schema);
        self.entry = Some(Entry { saw, schema, upper, epoch, class_epoch, standing });
        Ok(())
    }

    fn judge(
        &mut self,
        hold: Hold,
        epoch: u8,
        loaded: &Loaded,
        upper: u64,
        broken: Option<Broken>,
    ) -> Result<Standing, Rejected> {
        if loaded.epoch != self.source_epoch && broken != Some(Broken::EpochOfLoad) {
            return Err(Rejected::OtherEpoch);
        }
        if epoch != self.hot.epoch {
            return Err(Rejected::Interrupted);
        }
        self.book.heard(Position(upper));
        let snapshot = match broken {
            Some(Broken::Visibility) => Snapshot::Sequence(Position::MAX),
            _ => loaded.snapshot.clone(),
        };
        let (tags, applied) = (tags(broken), self.book.applied());
        if upper <= applied.0 || broken == Some(Broken::SettleWaitsForUpper) {
            self.book.check_settle(&tags, hold, upper_tested(upper, applied, broken), &snapshot)?;
            return Ok(Standing::Settled(applied.0));
        }
        self.book.check_unsettled(&tags, hold, &snapshot)?;
        // From here on the waiting entry holds the floor.
        Ok(Standing::Unsettled { hold, snapshot })
    }
}

/// Against which position settling compares, if it compares at all.
fn upper_tested(upper: u64, applied: Position, broken: Option<Broken>) -> Position {
    match broken {
        Some(Broken::SettleUpperTest | Broken::SettleWaitsForUpper) => applied,
        _ => Position(upper),
    }
}

/// What an entry depends on: row 0, and its table.
pub(crate) fn tags(broken: Option<Broken>) -> Vec<Tag> {
    if broken == Some(Broken::WideTag) { vec![tag(0)] } else { vec![tag(0), tag(WIDE)] }
}
