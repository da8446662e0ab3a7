//! The database, its nodes and what is on the way between them, as a state machine that stateright walks through.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    db::{Commits, Db, Stage, WIDE},
    judge::{Witness, Wrong},
    node::{Broken, Entry, Message, Node, Standing},
    read::Reader,
};
use stateright::{Model, Property};

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
    pub(crate) before_query: bool,
    pub(crate) arrived: u64,
    pub(crate) token: u64,
    pub(crate) must: Commits,
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

    pub(crate) fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    pub(crate) fn db_actions(&self, s: &State, actions: &mut Vec<Action>) {
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

    pub(crate) fn node_actions(&self, s: &State, n: usize, actions: &mut Vec<Action>) {
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
    pub(crate) fn message(&self, db: &Db, node: &Node) -> Option<Message> {
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
