//! The database, its nodes and what is on the way between them, as a state machine that stateright walks through.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use stateright::{Model, Property};
use trueup_core::{
    env::Nanos,
    proof::{Ask, Barrier, Position, Snapshot, Xid},
};

use crate::{
    db::{Commits, Db, Stage, WIDE},
    node::{Asked, Broken, Entry, Loaded, Message, Node, Standing},
    read::{Answer, Progress, Reader},
};

/// How much of each thing may happen. Small numbers: what goes wrong goes wrong with few.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) commits: u8,
    pub(crate) loads: u8,
    pub(crate) asks: u8,
    pub(crate) crashes: u8,
    pub(crate) fail_overs: u8,
    pub(crate) ticks: u8,
    pub(crate) losses: u8,
    pub(crate) alterations: u8,
    pub(crate) reads: u8,
    pub(crate) shares: u8,
    pub(crate) session: u8,
    pub(crate) joins: u8,
}

/// One small model: which part of the whole it explores.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) budget: Budget,
    pub(crate) nodes: usize,
    /// Which rows writers change; the entry reads row 0.
    pub(crate) rows: &'static [u8],
    /// SQLite: one writer, visibility in log order.
    pub(crate) sequence: bool,
    /// Commits are acknowledged before they are flushed.
    pub(crate) asynchronous: bool,
    /// The i-th writer changes the i-th of `rows`, and no other.
    pub(crate) in_turn: bool,
    /// A crash does not free the log positions that it lost.
    pub(crate) keep_positions: bool,
    /// The feed's connection number does not move with the source's incarnation, as it should.
    pub(crate) connection_kept: bool,
    /// The standby that is promoted lacks the last commit.
    pub(crate) standby_is_behind: bool,
    /// Not a promise here: that nothing taken back by a crash is served.
    pub(crate) forgives_lost: bool,
    /// The last node starts late, with a slot of its own time.
    pub(crate) last_node_late: bool,
    /// The node begins with a new slot, while writers are at work.
    pub(crate) starts_up: bool,
    /// Steps of applying and of reading are taken one by one.
    pub(crate) fine: bool,
    pub(crate) recent_max: usize,
    pub(crate) max_staleness: u64,
    pub(crate) broken: Option<Broken>,
    pub(crate) witnessed: Arc<AtomicU64>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            nodes: 1,
            rows: &[0],
            sequence: false,
            asynchronous: false,
            in_turn: false,
            keep_positions: false,
            connection_kept: false,
            standby_is_behind: true,
            forgives_lost: false,
            last_node_late: false,
            starts_up: false,
            fine: false,
            recent_max: 100,
            max_staleness: u64::MAX,
            broken: None,
            witnessed: Arc::default(),
        }
    }
}

/// Something that must have happened somewhere, lest a model hold because it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Witness {
    ServedSettled,
    ServedUnsettled,
    ServedAbsent,
    ServedWithToken,
    RefusedToken,
    RefusedTooOld,
    SettledLater,
    MissedChange,
    ChangedSince,
    Interrupted,
    NoFloor,
    OtherEpoch,
    Gap,
    OldMessage,
    OtherEpochMessage,
    Overflow,
    Adopted,
    ServedAdopted,
    ServedInLaterEpoch,
    BarrierPassed,
    ClassEpochMoved,
    SessionRead,
    JoinedBeforeQuery,
    JoinedAndChecked,
    JoinedInVain,
    HungWriter,
    XidAboveXmax,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) db: Db,
    /// The primary before the failover: nobody stopped it.
    pub(crate) old: Option<Db>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) reader: Option<(usize, Reader)>,
    /// An entry that a node shared.
    pub(crate) shared: Option<(Entry, u8)>,
    /// A reader who waits for the load in flight on a node.
    pub(crate) joined: Option<Joined>,
    /// What a session has seen, and its token.
    pub(crate) session: (Commits, u64),
    pub(crate) now: u64,
    pub(crate) left: Budget,
    pub(crate) wrong: Option<Wrong>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Joined {
    /// Whether the load's query was sent after the reader came.
    before_query: bool,
    arrived: u64,
    token: u64,
    must: Commits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// P1, P4.
    MissesAcknowledged,
    /// P2.
    MissesOwnWrite,
    /// P3.
    GoesBack,
    /// P5, P6.
    ShowsLost,
    /// P5.
    OtherSchema,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Begin(u8),
    Commit(usize),
    Flush,
    Complete(usize),
    CompleteOwn,
    Crash,
    FailOver,
    Alter,
    Tick,
    Deliver(usize),
    DeliverFromOld(usize),
    Lose(usize),
    Replay(usize),
    Step(usize),
    Ask(usize),
    AskOld(usize),
    Answer(usize, usize),
    BeginLoad(usize),
    Query(usize),
    QueryOld(usize),
    Bound(usize),
    Admit(usize),
    DropLoad(usize),
    Raise(usize),
    FindStart(usize),
    BeginEpoch(usize),
    Share(usize),
    Adopt(usize),
    Session(usize),
    Join(usize),
    Read(usize, bool),
    ReadStep,
}

impl World {
    pub(crate) fn witness(&self, what: Witness) {
        self.witnessed.fetch_or(1 << what as u8, Ordering::Relaxed);
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn db_actions(&self, s: &State, actions: &mut Vec<Action>) {
        if usize::from(self.budget.commits) > s.db.commits.len() {
            let free = |row: &&u8| !s.db.is_locked(**row) && (**row != WIDE || !s.db.is_locked(0));
            let single = self.sequence && s.db.commits.iter().any(|c| c.stage == Stage::Running);
            let rows = if self.in_turn { &self.rows[s.db.commits.len()..][..1] } else { self.rows };
            actions.extend(rows.iter().filter(free).filter(|_| !single).map(|row| Action::Begin(*row)));
        }
        for (id, commit) in s.db.commits.iter().enumerate() {
            match commit.stage {
                Stage::Running => actions.push(Action::Commit(id)),
                Stage::Committed if self.asynchronous || commit.end <= s.db.flushed => {
                    actions.push(Action::Complete(id));
                }
                _ => {}
            }
        }
        let left = &s.left;
        let may = [
            (s.db.flushed < s.db.insert, Action::Flush),
            (s.db.own.is_some(), Action::CompleteOwn),
            (left.crashes > 0, Action::Crash),
            (left.fail_overs > 0, Action::FailOver),
            (left.alterations > 0, Action::Alter),
            (left.ticks > 0, Action::Tick),
        ];
        actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
    }

    fn node_actions(&self, s: &State, n: usize, actions: &mut Vec<Action>) {
        let node = &s.nodes[n];
        if node.busy.is_some() {
            actions.push(Action::Step(n));
            return;
        }
        // A reader holds the entry that it found; what would replace it is another model's matter.
        let (left, reading) = (&s.left, s.reader.is_some());
        let followed = node.source_epoch != 0;
        let load = node.load.as_ref();
        // Before the node has moved on, the old primary is simply its primary.
        let moved = s.old.is_some() && node.source_epoch == s.db.epoch;
        let answered = load.is_some_and(|l| l.answer.is_some());
        let bounded = load.is_some_and(|l| l.upper.is_some());
        let proven = node.entry.as_ref().is_some_and(|e| matches!(e.standing, Standing::Settled(_)));
        let may = [
            (followed, Action::Deliver(n)),
            (moved, Action::DeliverFromOld(n)),
            (followed && left.losses > 0 && self.message(&s.db, node).is_some(), Action::Lose(n)),
            (followed && node.cursor > node.hot.applied, Action::Replay(n)),
            (followed && left.asks > 0, Action::Ask(n)),
            (moved && left.asks > 0, Action::AskOld(n)),
            (load.is_none() && !reading && left.loads > 0, Action::BeginLoad(n)),
            (load.is_some() && !answered, Action::Query(n)),
            (moved && load.is_some() && !answered, Action::QueryOld(n)),
            (answered && !bounded, Action::Bound(n)),
            (bounded, Action::Admit(n)),
            (answered && self.recent_max < 100, Action::DropLoad(n)),
            (proven && !self.fine, Action::Raise(n)),
            (node.source_epoch != s.db.epoch && node.starting.is_none(), Action::FindStart(n)),
            (node.starting.is_some(), Action::BeginEpoch(n)),
            (proven && left.shares > 0, Action::Share(n)),
            (s.shared.is_some() && node.load.is_none() && node.entry.is_none(), Action::Adopt(n)),
            (left.session > 0, Action::Session(n)),
            (left.joins > 0 && load.is_some() && s.joined.is_none(), Action::Join(n)),
            (self.fine && !reading && left.reads > 0 && proven, Action::Read(n, false)),
            (self.fine && !reading && left.reads > 0 && proven, Action::Read(n, true)),
        ];
        actions.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        actions.extend((0..node.asks.len()).map(|i| Action::Answer(n, i)));
    }

    /// The message that continues where the node's stream is.
    fn message(&self, db: &Db, node: &Node) -> Option<Message> {
        let next = db.next_in_feed(node.cursor);
        let end = next.map_or(db.flushed, |c| c.end);
        (end > node.cursor).then(|| Message {
            epoch: db.epoch,
            connection: if self.connection_kept { 1 } else { db.incarnation },
            previous: node.cursor,
            end,
            change: next.map(|c| (c.xid, c.row)),
        })
    }

    fn act_on_db(&self, s: &mut State, action: Action) {
        match action {
            Action::Begin(row) => s.db.begin(row),
            Action::Commit(id) => {
                s.db.commit(id, !self.asynchronous);
                if self.sequence {
                    s.db.complete(id, s.now);
                    s.now += 1;
                }
            }
            Action::Flush => s.db.flushed = s.db.insert,
            Action::Complete(id) => {
                s.db.complete(id, s.now);
                s.now += 1;
            }
            Action::CompleteOwn => s.db.complete_own(),
            Action::Crash => {
                s.left.crashes -= 1;
                s.db.crash(s.now, self.keep_positions);
                s.now += 1;
            }
            Action::FailOver => {
                s.left.fail_overs -= 1;
                let mut old = s.db.clone();
                // It goes on writing, to nobody's knowledge.
                old.insert += 1;
                old.flushed = old.insert;
                s.old = Some(old);
                s.db.fail_over(s.now, self.standby_is_behind);
                s.now += 1;
            }
            Action::Alter => {
                s.left.alterations -= 1;
                s.db.catalogue = (s.db.catalogue.0 + 1, s.now);
                s.now += 1;
            }
            _ => {
                s.left.ticks -= 1;
                s.now += 1;
            }
        }
    }

    fn deliver(&self, s: &mut State, n: usize, from_old: bool) -> Option<()> {
        let db = if from_old { s.old.as_ref()? } else { &s.db };
        let message = self.message(db, &s.nodes[n])?;
        let node = &mut s.nodes[n];
        let (before, gap) = (node.book.discards(), message.previous > node.book.applied().0);
        if !node.deliver(message, self.broken) {
            self.witness(match (from_old, gap) {
                (true, _) => Witness::OtherEpochMessage,
                (_, true) => Witness::Gap,
                _ => Witness::OldMessage,
            });
            return None;
        }
        if node.book.discards() == before && !self.fine {
            let recent = node.book.recent_len();
            self.finish(node);
            if node.book.recent_len() < recent && node.book.floor().barrier().is_some() {
                self.witness(Witness::Overflow);
            }
        } else if !self.fine {
            self.finish(node);
        }
        Some(())
    }

    fn finish(&self, node: &mut Node) {
        let settled =
            |node: &Node| node.entry.as_ref().is_some_and(|e| matches!(e.standing, Standing::Settled(_)));
        let before = settled(node);
        while node.busy.is_some() {
            node.step(self.broken);
        }
        if settled(node) && !before {
            self.witness(Witness::SettledLater);
        }
    }

    fn query(&self, s: &mut State, n: usize, from_old: bool) -> Option<()> {
        let db = if from_old { s.old.as_ref()? } else { &s.db };
        let snapshot = db.snapshot();
        if let Snapshot::Xids(xids) = &snapshot
            && db.commits.iter().any(|c| c.stage == Stage::Committed && Xid(c.xid) >= xids.xmax)
        {
            self.witness(Witness::XidAboveXmax);
        }
        if db.commits.iter().any(|c| c.stage == Stage::Committed) {
            self.witness(Witness::HungWriter);
        }
        let loaded = Loaded {
            saw: db.visible(),
            schema: db.catalogue.0,
            snapshot,
            epoch: db.epoch,
            incarnation: db.incarnation,
            old: from_old,
        };
        s.nodes[n].load.as_mut()?.answer = Some(loaded);
        Some(())
    }

    fn bound(&self, s: &mut State, n: usize) -> Option<()> {
        let loaded = s.nodes[n].load.as_ref()?.answer.as_ref()?;
        let db = if loaded.old { s.old.as_ref()? } else { &s.db };
        if loaded.incarnation == db.incarnation {
            let upper = Some(db.insert);
            s.nodes[n].load.as_mut()?.upper = upper;
        } else {
            // A crash ended the statement and its connection.
            s.nodes[n].drop_load();
        }
        Some(())
    }

    fn ask(&self, s: &mut State, n: usize, from_old: bool) -> Option<()> {
        let db = if from_old { s.old.as_ref()? } else { &s.db };
        let discards = s.nodes[n].book.discards();
        let ask = Ask { at: Nanos(s.now), position: Position(db.insert), discards };
        let asked = Asked { ask, snapshot: db.snapshot(), epoch: db.epoch, catalogue: db.catalogue.0 };
        s.left.asks -= 1;
        s.nodes[n].asks.push(asked);
        Some(())
    }

    fn answer(&self, s: &mut State, n: usize, i: usize) {
        let node = &mut s.nodes[n];
        let asked = node.asks.remove(i);
        let (class_epoch, barrier) = (node.class_epoch, node.book.floor().barrier());
        node.answered(&asked, s.now, self.broken);
        if node.class_epoch != class_epoch {
            self.witness(Witness::ClassEpochMoved);
        }
        if barrier.is_some() && node.book.floor().barrier().is_none() {
            self.witness(Witness::BarrierPassed);
        }
    }

    /// A new slot: first its start, then (unless that rule is broken) a transaction id assigned later.
    fn begin_epoch(&self, s: &mut State, n: usize) -> Option<()> {
        let start = s.nodes[n].starting.take()?;
        let end = Position(start);
        let barrier = match (self.broken, s.db.snapshot()) {
            (_, Snapshot::Sequence(_)) | (Some(Broken::StartBarrier), _) => None,
            (Some(Broken::StartBarrierOfItsOwn), Snapshot::Xids(s0)) => {
                Some(Barrier { xid: Xid(s0.xmax.0 - 1), end })
            }
            _ if s.db.own.is_some() => return None,
            _ => Some(Barrier { xid: Xid(s.db.begin_own()), end }),
        };
        if !self.starts_up {
            s.db.complete_own();
        }
        let node = &mut s.nodes[n];
        node.begin_epoch_in_steps(s.db.epoch, start, barrier);
        if !self.fine {
            self.finish(node);
        }
        Some(())
    }

    fn admit(&self, s: &mut State, n: usize) {
        let loaded = s.nodes[n].load.as_ref().and_then(|l| l.answer.clone());
        self.admit_load(s, n);
        if let (Some(joined), Some(loaded)) = (s.joined.take(), loaded) {
            s.wrong = self.answer_joined(s, n, &joined, &loaded);
        }
    }

    fn join(&self, s: &mut State, n: usize) -> Option<()> {
        s.left.joins -= 1;
        let before_query = s.nodes[n].load.as_ref()?.answer.is_none();
        let must = s.db.acknowledged_before(u64::MAX);
        s.joined = Some(Joined { before_query, arrived: s.now, token: s.db.insert, must });
        Some(())
    }

    /// Rule 6: the answer counts unchecked only for a reader who came before the query was sent.
    fn answer_joined(&self, s: &mut State, n: usize, joined: &Joined, loaded: &Loaded) -> Option<Wrong> {
        if joined.before_query || self.is(Broken::JoinOnlyBeforeQuery) {
            self.witness(Witness::JoinedBeforeQuery);
            let (saw, schema) = (loaded.saw, loaded.schema);
            let answer = Answer { saw, schema, upper: 0, moment: joined.arrived, settled: false };
            return self.judge(s, &answer, joined.must);
        }
        match self.read(s, n, Some(joined.token), joined.must) {
            Some(answer) => {
                self.witness(Witness::JoinedAndChecked);
                self.judge(s, &answer, joined.must)
            }
            None => {
                self.witness(Witness::JoinedInVain);
                None
            }
        }
    }

    fn admit_load(&self, s: &mut State, n: usize) {
        match s.nodes[n].admit(self.broken) {
            Ok(()) => {}
            Err(why) => self.witness(match why {
                trueup_core::proof::Rejected::MissedChange => Witness::MissedChange,
                trueup_core::proof::Rejected::ChangedSince => Witness::ChangedSince,
                trueup_core::proof::Rejected::NoFloor => Witness::NoFloor,
                trueup_core::proof::Rejected::OtherEpoch => Witness::OtherEpoch,
                _ => Witness::Interrupted,
            }),
        }
    }

    fn share(&self, s: &mut State, n: usize) -> Option<()> {
        s.left.shares -= 1;
        let node = &s.nodes[n];
        let entry = node.entry.clone()?;
        // As `Ledger::epoch_of`.
        if entry.epoch != node.hot.epoch && !self.is(Broken::ShareEpoch) {
            return None;
        }
        s.shared = Some((entry, node.source_epoch));
        Some(())
    }

    /// As `Ledger::adopt`.
    fn adopt(&self, s: &mut State, n: usize) -> Option<()> {
        let (entry, epoch) = s.shared.clone()?;
        let node = &mut s.nodes[n];
        let Standing::Settled(proven_at) = entry.standing else { return None };
        let told = node.book.told().max(node.book.applied()).0;
        let known = proven_at >= node.start || self.is(Broken::AdoptAfterStart);
        let same_epoch = epoch == node.source_epoch || self.is(Broken::AdoptEpoch);
        if !same_epoch || !known || proven_at > told || entry.upper > proven_at {
            return None;
        }
        self.witness(Witness::Adopted);
        node.entry = Some(Entry { epoch: node.hot.epoch, class_epoch: node.class_epoch, ..entry });
        Some(())
    }

    fn session(&self, s: &mut State, n: usize) -> Option<()> {
        s.left.session -= 1;
        let direct = s.nodes[n].load.as_ref().and_then(|l| Some((l.answer.as_ref()?.saw, l.upper?)));
        let (saw, upper) = match direct {
            // The value of a load goes to its caller before it is admitted.
            Some(answer) => answer,
            None => {
                let answer = self.read(s, n, Some(s.session.1), 0)?;
                (answer.saw, answer.upper)
            }
        };
        self.witness(Witness::SessionRead);
        let token = if self.is(Broken::SessionToken) { 0 } else { s.session.1.max(upper) };
        s.session = (s.session.0 | saw, token);
        Some(())
    }

    fn read(&self, s: &mut State, n: usize, token: Option<u64>, must: Commits) -> Option<Answer> {
        Reader::new(token, must, self.max_staleness).read(&mut s.nodes[n], s.now, self.broken)
    }

    fn read_step(&self, s: &mut State) -> Option<()> {
        let (n, mut reader) = s.reader.take()?;
        match reader.step(&mut s.nodes[n], s.now, self.broken) {
            Progress::Waiting => return None,
            Progress::Reading => s.reader = Some((n, reader)),
            Progress::Unproven => {}
            Progress::Proven(answer) => {
                s.wrong = s.wrong.or(self.judge(s, &answer, reader.must));
                self.witness_answer(s, &answer, reader.token.is_some());
            }
        }
        Some(())
    }

    /// What is wrong with an answer given now, if anything.
    fn judge(&self, s: &State, answer: &Answer, must: Commits) -> Option<Wrong> {
        let relevant = s.db.commits.iter().enumerate().filter(|(_, c)| c.row == 0 || c.row == WIDE);
        let relevant: Commits = relevant.fold(0, |set, (id, _)| set | 1 << id);
        let surviving = relevant & !s.db.lost_before(u64::MAX);
        let by_now = s.now.saturating_sub(self.max_staleness);
        let owed = s.db.acknowledged_before(answer.moment) | s.db.acknowledged_before(by_now);
        let altered_before = s.db.catalogue.1 < answer.moment && s.db.catalogue.0 > 1;
        if owed & surviving & !answer.saw != 0 {
            Some(Wrong::MissesAcknowledged)
        } else if must & surviving & !answer.saw != 0 {
            Some(Wrong::MissesOwnWrite)
        } else if !self.forgives_lost && answer.saw & relevant & s.db.lost_before(answer.moment) != 0 {
            Some(Wrong::ShowsLost)
        } else if altered_before && answer.schema < s.db.catalogue.0 {
            Some(Wrong::OtherSchema)
        } else {
            None
        }
    }

    /// Every read that could be made in this state, all steps at once.
    fn judge_reads(&self, s: &State) -> Option<Wrong> {
        let mut probe = s.clone();
        for n in 0..s.nodes.len() {
            // What a client may demand that has just written: everything acknowledged.
            let own = s.db.acknowledged_before(u64::MAX);
            let session = self.budget.session > 0 && s.session.0 != 0;
            // A token of another epoch goes to the source.
            let same_epoch = s.nodes[n].source_epoch == s.db.epoch;
            let reads = [
                (None, 0),
                if same_epoch { (Some(s.db.insert), own) } else { (None, 0) },
                if session { (Some(s.session.1), s.session.0) } else { (None, 0) },
            ];
            for (i, (token, must)) in reads.into_iter().enumerate() {
                let Some(answer) = self.read(&mut probe, n, token, must) else {
                    self.witness_refusal(s, n, token);
                    continue;
                };
                self.witness_answer(s, &answer, token.is_some());
                match self.judge(s, &answer, must) {
                    Some(Wrong::MissesOwnWrite) if i == 2 => return Some(Wrong::GoesBack),
                    Some(wrong) => return Some(wrong),
                    None => {}
                }
            }
        }
        None
    }

    fn witness_answer(&self, s: &State, answer: &Answer, token: bool) {
        let settled = if answer.settled { Witness::ServedSettled } else { Witness::ServedUnsettled };
        self.witness(settled);
        let facts = [
            (s.db.is_absent(answer.saw), Witness::ServedAbsent),
            (token, Witness::ServedWithToken),
            (s.shared.is_some(), Witness::ServedAdopted),
            (s.nodes[0].hot.epoch > 1, Witness::ServedInLaterEpoch),
        ];
        facts.into_iter().filter(|(fact, _)| *fact).for_each(|(_, witness)| self.witness(witness));
    }

    fn witness_refusal(&self, s: &State, n: usize, token: Option<u64>) {
        if s.nodes[n].hot.moment != 0 && s.nodes[n].entry.is_some() {
            self.witness(if token.is_some() { Witness::RefusedToken } else { Witness::RefusedTooOld });
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let db = Db::new(self.sequence);
        let node =
            if self.starts_up { Node::stopped(self.recent_max) } else { Node::running(&db, self.recent_max) };
        let mut nodes = vec![node; self.nodes];
        if self.last_node_late {
            nodes[self.nodes - 1] = Node::stopped(self.recent_max);
        }
        vec![State {
            nodes,
            db,
            old: None,
            reader: None,
            joined: None,
            shared: None,
            session: (0, 0),
            now: 1,
            left: self.budget.clone(),
            wrong: None,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.wrong.is_some() {
            return;
        }
        self.db_actions(s, actions);
        for n in 0..s.nodes.len() {
            self.node_actions(s, n, actions);
        }
        if s.reader.is_some() {
            actions.push(Action::ReadStep);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        let s = &mut next;
        match action {
            Action::Deliver(n) => self.deliver(s, n, false)?,
            Action::DeliverFromOld(n) => self.deliver(s, n, true)?,
            Action::Lose(n) => {
                s.left.losses -= 1;
                s.nodes[n].cursor = self.message(&s.db, &s.nodes[n])?.end;
            }
            Action::Replay(n) => s.nodes[n].cursor = s.nodes[n].hot.applied,
            Action::Step(n) => s.nodes[n].step(self.broken),
            Action::Ask(n) => self.ask(s, n, false)?,
            Action::AskOld(n) => self.ask(s, n, true)?,
            Action::Answer(n, i) => self.answer(s, n, i),
            Action::BeginLoad(n) => {
                s.left.loads -= 1;
                s.nodes[n].begin_load(self.broken);
            }
            Action::Query(n) => self.query(s, n, false)?,
            Action::QueryOld(n) => self.query(s, n, true)?,
            Action::Bound(n) => self.bound(s, n)?,
            Action::Admit(n) => self.admit(s, n),
            Action::DropLoad(n) => s.nodes[n].drop_load(),
            Action::Raise(n) => {
                self.read(s, n, None, 0)?;
            }
            Action::FindStart(n) => s.nodes[n].starting = Some(s.db.flushed),
            Action::BeginEpoch(n) => self.begin_epoch(s, n)?,
            Action::Share(n) => self.share(s, n)?,
            Action::Adopt(n) => self.adopt(s, n)?,
            Action::Session(n) => self.session(s, n)?,
            Action::Join(n) => self.join(s, n)?,
            Action::Read(n, with_token) => {
                s.left.reads -= 1;
                let must = if with_token { s.db.acknowledged_before(u64::MAX) } else { 0 };
                let token = with_token.then_some(s.db.insert);
                s.reader = Some((n, Reader::new(token, must, self.max_staleness)));
            }
            Action::ReadStep => self.read_step(s)?,
            on_db => self.act_on_db(s, on_db),
        }
        if !self.fine && next.wrong.is_none() {
            next.wrong = self.judge_reads(&next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("P1 P4: what was acknowledged is reflected", |_, s: &State| {
                s.wrong != Some(Wrong::MissesAcknowledged)
            }),
            Property::always("P2: a token's own write is reflected", |_, s: &State| {
                s.wrong != Some(Wrong::MissesOwnWrite)
            }),
            Property::always("P3: a session never goes back", |_, s: &State| {
                s.wrong != Some(Wrong::GoesBack)
            }),
            Property::always("P5 P6: nothing taken back is served", |_, s: &State| {
                s.wrong != Some(Wrong::ShowsLost)
            }),
            Property::always("P5: nothing of an older schema is served", |_, s: &State| {
                s.wrong != Some(Wrong::OtherSchema)
            }),
        ]
    }
}
