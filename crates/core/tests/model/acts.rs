//! What each action does.

use trueup_core::{
    env::Nanos,
    proof::{Ask, Barrier, Position, Rejected, Snapshot, Xid},
};

use crate::{
    db::{Commits, Stage},
    judge::{Witness, Wrong},
    node::{Asked, Broken, Entry, Loaded, Node, Standing},
    read::{Answer, Progress, Reader},
    world::{Action, Joined, State, World},
};

impl World {
    pub(crate) fn act_on_db(&self, s: &mut State, action: Action) {
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

    pub(crate) fn deliver(&self, s: &mut State, n: usize, from_old: bool) -> Option<()> {
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

    pub(crate) fn finish(&self, node: &mut Node) {
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

    pub(crate) fn query(&self, s: &mut State, n: usize, from_old: bool) -> Option<()> {
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

    pub(crate) fn bound(&self, s: &mut State, n: usize) -> Option<()> {
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

    pub(crate) fn ask(&self, s: &mut State, n: usize, from_old: bool) -> Option<()> {
        let db = if from_old { s.old.as_ref()? } else { &s.db };
        let discards = s.nodes[n].book.discards();
        let ask = Ask { at: Nanos(s.now), position: Position(db.insert), discards };
        let asked = Asked { ask, snapshot: db.snapshot(), epoch: db.epoch, catalogue: db.catalogue.0 };
        s.left.asks -= 1;
        s.nodes[n].asks.push(asked);
        Some(())
    }

    pub(crate) fn answer(&self, s: &mut State, n: usize, i: usize) {
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
    pub(crate) fn begin_epoch(&self, s: &mut State, n: usize) -> Option<()> {
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

    pub(crate) fn admit(&self, s: &mut State, n: usize) {
        let loaded = s.nodes[n].load.as_ref().and_then(|l| l.answer.clone());
        self.admit_load(s, n);
        if let (Some(joined), Some(loaded)) = (s.joined.take(), loaded) {
            s.wrong = self.answer_joined(s, n, &joined, &loaded);
        }
    }

    pub(crate) fn join(&self, s: &mut State, n: usize) -> Option<()> {
        s.left.joins -= 1;
        let before_query = s.nodes[n].load.as_ref()?.answer.is_none();
        let must = s.db.acknowledged_before(u64::MAX);
        s.joined = Some(Joined { before_query, arrived: s.now, token: s.db.insert, must });
        Some(())
    }

    /// Rule 6: the answer counts unchecked only for a reader who came before the query was sent.
    pub(crate) fn answer_joined(
        &self,
        s: &mut State,
        n: usize,
        joined: &Joined,
        loaded: &Loaded,
    ) -> Option<Wrong> {
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

    pub(crate) fn admit_load(&self, s: &mut State, n: usize) {
        match s.nodes[n].admit(self.broken) {
            Ok(()) => {}
            Err(why) => self.witness(match why {
                Rejected::MissedChange => Witness::MissedChange,
                Rejected::ChangedSince => Witness::ChangedSince,
                Rejected::NoFloor => Witness::NoFloor,
                Rejected::OtherEpoch => Witness::OtherEpoch,
                _ => Witness::Interrupted,
            }),
        }
    }

    pub(crate) fn share(&self, s: &mut State, n: usize) -> Option<()> {
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
    pub(crate) fn adopt(&self, s: &mut State, n: usize) -> Option<()> {
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

    pub(crate) fn session(&self, s: &mut State, n: usize) -> Option<()> {
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

    pub(crate) fn read(&self, s: &mut State, n: usize, token: Option<u64>, must: Commits) -> Option<Answer> {
        Reader::new(token, must, self.max_staleness).read(&mut s.nodes[n], s.now, self.broken)
    }

    pub(crate) fn read_step(&self, s: &mut State) -> Option<()> {
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
}
