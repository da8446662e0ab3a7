//! The ledger as a whole against a database that we know everything of: whatever it proves is true.
//!
//! Long random schedules of commit, delivery, visibility, crash, start-up, load and read; more of everything than
//! `tests/model` can walk through, in no chosen order.

#[allow(dead_code, unreachable_pub)]
#[path = "model/db.rs"]
mod db;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use db::{Commits, Db, Stage, tag};
use proptest::prelude::*;
use trueup_core::{
    entry::EpochId,
    env::{Clock, Nanos},
    proof::{
        Ask, Barrier, Carrier, Ledger, Load, Message, Need, Position, Proof, Refused, Seen, Snapshot,
        Standing, Tags, Transaction, Xid,
    },
};

/// A set of commits has 64 bits.
const COMMITS_MAX: usize = 60;
const ROWS: u8 = 5;
const TICK: Duration = Duration::from_millis(1);
const STALENESS: Duration = Duration::from_millis(6);
static CLASS_EPOCH: AtomicU64 = AtomicU64::new(1);

struct Entry {
    proof: Proof,
    rows: [u8; 2],
    saw: Commits,
}

impl Carrier for Entry {
    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn settled(self: Arc<Self>) {}
}

struct Loading {
    load: Load,
    rows: [u8; 2],
    answer: Option<(Commits, Snapshot, u64)>,
}

struct World {
    db: Db,
    ledger: Arc<Ledger>,
    clock: Clock,
    epochs: u8,
    loads: Vec<Loading>,
    asks: Vec<(Ask, Snapshot)>,
    entries: Vec<Arc<Entry>>,
    last_message: Option<Message>,
    proven: usize,
}

fn epoch(number: u8) -> EpochId {
    EpochId::from_bytes([number; 16])
}

impl World {
    fn new(buckets: usize, recent_max: usize) -> Self {
        let ledger = Ledger::new(buckets, recent_max);
        let db = Db::new(false);
        ledger.begin_epoch(epoch(1), Position(db.flushed), None);
        Self {
            db,
            ledger,
            clock: Clock::stepped(),
            epochs: 1,
            loads: Vec::new(),
            asks: Vec::new(),
            entries: Vec::new(),
            last_message: None,
            proven: 0,
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().0
    }

    fn step(&mut self, action: u8, choice: usize) {
        match action {
            0..=9 => self.begin(choice as u8 % ROWS),
            10..=19 => self.with(Stage::Running, choice, |db, id, _| db.commit(id, false)),
            20..=23 => self.db.flushed = self.db.insert,
            24..=32 => self.with(Stage::Committed, choice, Db::complete),
            33 if choice.is_multiple_of(3) => self.crash(),
            34 if choice.is_multiple_of(5) => self.begin_epoch(),
            33..=35 => self.db.complete_own(),
            36..=49 => self.deliver(1 + choice % 3),
            50 => self.repeat(),
            51..=60 => self.ask(),
            61..=72 => self.answer(choice),
            73..=80 => self.begin_load(choice),
            81..=87 => self.query(choice),
            88..=95 => self.admit(choice),
            96 => drop((!self.loads.is_empty()).then(|| self.loads.swap_remove(choice % self.loads.len()))),
            _ => self.adopt(choice),
        }
        self.clock.advance(TICK);
    }

    fn begin(&mut self, row: u8) {
        if self.db.commits.len() < COMMITS_MAX && !self.db.is_locked(row) {
            self.db.begin(row);
        }
    }

    fn with(&mut self, stage: Stage, choice: usize, act: impl Fn(&mut Db, usize, u64)) {
        let ids: Vec<_> =
            (0..self.db.commits.len()).filter(|id| self.db.commits[*id].stage == stage).collect();
        if !ids.is_empty() {
            let now = self.now();
            act(&mut self.db, ids[choice % ids.len()], now);
        }
    }

    /// What is under way to the source is lost; what is on its way back arrives.
    fn crash(&mut self) {
        self.db.crash(self.now(), false);
        self.loads.retain(|loading| loading.answer.is_some());
    }

    /// A new slot: its start, and only then a transaction id.
    fn begin_epoch(&mut self) {
        let start = Position(self.db.flushed);
        self.db.complete_own();
        let barrier = Barrier { xid: Xid(self.db.begin_own()), end: start };
        self.epochs += 1;
        self.ledger.begin_epoch(epoch(self.epochs), start, Some(barrier));
        self.asks.clear();
        self.last_message = None;
    }

    fn deliver(&mut self, commits: usize) {
        let previous = self.ledger.applied();
        let (mut end, mut transactions) = (previous.0, Vec::new());
        while let Some(commit) = self.db.next_in_feed(end).filter(|_| transactions.len() < commits) {
            end = commit.end;
            let tags = vec![tag(commit.row)];
            transactions.push(Transaction { xid: Xid(commit.xid), end: Position(end), tags });
        }
        if transactions.len() < commits {
            end = end.max(self.db.flushed);
        }
        let (epoch, connection) = (epoch(self.epochs), self.db.incarnation);
        let message = Message { epoch, connection, previous, end: Position(end), transactions };
        match self.ledger.apply(&message) {
            Ok(()) => self.last_message = Some(message),
            Err(refused) => assert_eq!(refused, Refused::Old),
        }
        // One that came over another way, too early.
        let early = Message {
            epoch: self.last_message.as_ref().map_or(epoch, |m| m.epoch),
            connection,
            previous: Position(end + 1),
            end: Position(end + 2),
            transactions: Vec::new(),
        };
        assert!(matches!(self.ledger.apply(&early), Err(Refused::Gap { .. })));
    }

    fn repeat(&mut self) {
        if let Some(message) = &self.last_message {
            assert_eq!(self.ledger.apply(message), Err(Refused::Old));
        }
    }

    fn ask(&mut self) {
        let discards = self.ledger.discards();
        let ask = Ask { at: self.clock.now(), position: Position(self.db.insert), discards };
        self.asks.push((ask, self.db.snapshot()));
    }

    fn answer(&mut self, choice: usize) {
        if !self.asks.is_empty() {
            let (ask, snapshot) = self.asks.remove(choice % self.asks.len());
            self.ledger.answered(epoch(self.epochs), ask, Some(&snapshot));
        }
    }

    fn begin_load(&mut self, choice: usize) {
        let rows = [choice as u8 % ROWS, (choice / 7) as u8 % ROWS];
        let load = self.ledger.begin_load(self.clock.now(), 1);
        self.loads.push(Loading { load, rows, answer: None });
    }

    fn query(&mut self, choice: usize) {
        let count = self.loads.len().max(1);
        if let Some(loading) = self.loads.get_mut(choice % count).filter(|l| l.answer.is_none()) {
            loading.answer = Some((self.db.visible(), self.db.snapshot(), self.db.insert));
        }
    }

    fn admit(&mut self, choice: usize) {
        let ready = self.loads.iter().enumerate().filter(|(_, l)| l.answer.is_some());
        let Some(index) = ready.map(|(i, _)| i).nth(choice % self.loads.len().max(1)) else { return };
        let Loading { load, rows, answer: Some((saw, snapshot, upper)) } = self.loads.swap_remove(index)
        else {
            return;
        };
        let seen = Seen { snapshot, upper: Position(upper), epoch: epoch(self.epochs) };
        let tags = rows.iter().map(|row| tag(*row)).collect::<Tags>();
        let (entry, _) = load.admit(tags, seen, |proof| Arc::new(Entry { proof, rows, saw }));
        self.entries.push(entry);
    }

    /// Another node settled it; this one may serve it.
    fn adopt(&mut self, choice: usize) {
        let Some(other) = self.entries.get(choice % self.entries.len().max(1)) else { return };
        let (Standing::Settled(proven_at), Some(name)) =
            (other.proof.standing(), self.ledger.epoch_of(&other.proof))
        else {
            return;
        };
        let (tags, upper) = (other.proof.tags().clone(), other.proof.upper());
        if let Ok(proof) = self.ledger.adopt(tags, upper, proven_at, name, 1) {
            let (rows, saw) = (other.rows, other.saw);
            self.entries.push(Arc::new(Entry { proof, rows, saw }));
        }
    }

    /// Each entry, asked for in each way: what is proven must be true.
    fn check_all(&mut self) -> Result<(), TestCaseError> {
        let own = Some(Position(self.db.insert));
        let needs = [
            Need { max_staleness: Duration::from_secs(3600), token: None },
            Need { max_staleness: Duration::from_secs(3600), token: own },
            Need { max_staleness: STALENESS, token: None },
        ];
        for entry in &self.entries {
            for need in &needs {
                let Ok(proven) = self.ledger.check(&entry.proof, &CLASS_EPOCH, need, &self.clock) else {
                    continue;
                };
                self.proven += 1;
                let by_now = self.now().saturating_sub(need.max_staleness.as_nanos() as u64);
                let mut owed =
                    self.db.acknowledged_before(proven.moment.0) | self.db.acknowledged_before(by_now);
                if need.token.is_some() {
                    owed |= self.db.acknowledged_before(u64::MAX);
                }
                let relevant = self.relevant(entry.rows);
                prop_assert_eq!(owed & relevant & !entry.saw, 0, "misses commits: {:?} {:?}", proven, need);
                let lost = self.db.lost_before(proven.moment.0);
                prop_assert_eq!(
                    lost & relevant & entry.saw,
                    0,
                    "shows lost commits: {:?} {:?}",
                    proven,
                    need
                );
            }
        }
        Ok(())
    }

    fn relevant(&self, rows: [u8; 2]) -> Commits {
        let ids = self.db.commits.iter().enumerate().filter(|(_, c)| rows.contains(&c.row));
        ids.fold(0, |set, (id, _)| set | 1 << id)
    }

    /// Everything calms down: nothing may be left behind.
    fn come_to_rest(&mut self) {
        self.loads.clear();
        self.asks.clear();
        for _ in 0..=2 {
            for stage in [Stage::Running, Stage::Committed] {
                while self.db.commits.iter().any(|c| c.stage == stage) {
                    match stage {
                        Stage::Running => self.with(stage, 0, |db, id, _| db.commit(id, true)),
                        _ => self.with(stage, 0, Db::complete),
                    }
                }
            }
            // The id of a barrier may be ahead of a source that crashed before it was logged.
            for _ in 0..COMMITS_MAX {
                self.db.begin_own();
                self.db.complete_own();
            }
            self.db.flushed = self.db.insert;
            self.deliver(COMMITS_MAX);
            self.ask();
            self.answer(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_proven_is_true(
        steps in prop::collection::vec((0_u8..100, any::<u16>()), 50..500),
        buckets in prop::sample::select(vec![2_usize, 1024]),
        recent_max in prop::sample::select(vec![1_usize, 3, 1000]),
    ) {
        let mut world = World::new(buckets, recent_max);
        for (action, choice) in steps {
            world.step(action, usize::from(choice));
            world.check_all()?;
        }
        world.come_to_rest();
        world.check_all()?;
        let status = world.ledger.status();
        prop_assert_eq!((status.recent, status.unsettled), (0, 0), "{:?}", status);
        prop_assert_eq!(status.barrier, None);
        prop_assert_eq!(status.floor, Some(status.applied));
        // Whatever happened before, a load is kept and proven now.
        world.begin_load(0);
        world.query(0);
        world.admit(0);
        let before = world.proven;
        prop_assert!(status.moment > Nanos::ZERO);
        world.check_all()?;
        prop_assert!(world.proven > before);
    }
}
