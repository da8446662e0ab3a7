//! A database in memory whose commits, visibility, feed and loads are steps of the test.

mod answers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;
use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::{BoxFuture, Clock},
    proof::{Ask, Barrier, Message, Position, Tag, Token, Transaction, Xid},
    source::{Catalogue, LoadError, LoadedMany},
};

/// Where the first epoch begins; each commit ends [`STEP`] further on.
const START: u64 = 100;
const STEP: u64 = 10;
const FIRST_XID: u64 = 1000;

/// Which database is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SQLite: one writer, so that commit order is visibility order.
    Sequence,
    /// PostgreSQL: a commit may be delivered by the feed before any reader sees it.
    Xids,
}

/// What the next load does instead of answering.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Fail(LoadError),
    Panic,
    Hang,
    /// Answers with this, whatever the rows say.
    Lie(Option<String>),
    /// Answers for fewer keys than were asked.
    Forget,
}

struct Commit {
    end: Position,
    xid: Xid,
    writes: Vec<(i64, Option<String>)>,
    tags: Vec<Tag>,
}

struct State {
    epoch: u8,
    connection: u64,
    commits: Vec<Commit>,
    hidden: BTreeSet<u64>,
    /// Commits before this index have been delivered.
    delivered: usize,
    delivered_end: Position,
    /// Insert position: the end of the last commit.
    end: Position,
    /// Names that entries of these keys depend on besides their rows.
    labels: BTreeMap<i64, Tag>,
    acts: VecDeque<Act>,
    down: bool,
    /// Commits that a standby has replayed, where there is a standby.
    replayed: Option<usize>,
    standby_acts: VecDeque<Act>,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    arrived: usize,
    released: usize,
}

/// The database. All methods take effect at once; nothing happens that no test asked for.
pub(crate) struct Database {
    kind: Kind,
    clock: Clock,
    state: Mutex<State>,
    /// One for each node that follows.
    feeds: Mutex<Vec<Feed>>,
    gate: watch::Sender<Gate>,
    latency: OnceLock<Latency>,
    loads: AtomicUsize,
    batches: AtomicUsize,
    statements_at_once: OnceLock<NonZeroUsize>,
    standby_loads: AtomicUsize,
    pub(crate) catalogue: Arc<Catalogue>,
    /// Pages of keys that were read.
    pages: AtomicUsize,
    itself: Weak<Self>,
}

/// What a query waits for before it reads, and again before it answers.
type Latency = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

pub(crate) fn row_tag(key: i64) -> Tag {
    Tag::row("item", [key.to_string().as_str()])
}

pub(crate) fn wide_tag() -> Tag {
    Tag::wide("item")
}

/// What a change of rows raises.
fn tags_of(writes: &[(i64, Option<&str>)]) -> Vec<Tag> {
    writes.iter().map(|(key, _)| row_tag(*key)).chain([Tag::any("item")]).collect()
}

fn epoch_id(number: u8) -> EpochId {
    EpochId::from_bytes([number; 16])
}

impl Database {
    pub(crate) fn new(kind: Kind, clock: Clock) -> Arc<Self> {
        let state = State {
            epoch: 1,
            connection: 1,
            commits: Vec::new(),
            hidden: BTreeSet::new(),
            delivered: 0,
            // So that the first message, which tells the connection, comes before every load.
            delivered_end: Position(START - 1),
            end: Position(START),
            labels: BTreeMap::new(),
            acts: VecDeque::new(),
            down: false,
            replayed: None,
            standby_acts: VecDeque::new(),
        };
        Arc::new_cyclic(|itself| Self {
            pages: AtomicUsize::new(0),
            itself: Weak::clone(itself),
            kind,
            clock,
            state: Mutex::new(state),
            feeds: Mutex::default(),
            gate: watch::Sender::default(),
            latency: OnceLock::new(),
            loads: AtomicUsize::new(0),
            batches: AtomicUsize::new(0),
            statements_at_once: OnceLock::new(),
            standby_loads: AtomicUsize::new(0),
            catalogue: Arc::default(),
        })
    }

    /// Commits and acknowledges; the feed has not delivered it yet. Returns the writer's token.
    pub(crate) fn commit(&self, writes: &[(i64, Option<&str>)]) -> Token {
        self.append(writes, false, tags_of(writes))
    }

    /// Commits in a way that the feed tells for the table as a whole.
    pub(crate) fn commit_in_bulk(&self, writes: &[(i64, Option<&str>)]) -> Token {
        self.append(writes, false, vec![wide_tag(), Tag::any("item")])
    }

    /// Writes the commit record and not more: the feed may deliver it, no reader sees it, and nobody was told that it
    /// succeeded. Returns what [`Database::show`] takes.
    pub(crate) fn commit_hidden(&self, writes: &[(i64, Option<&str>)]) -> Xid {
        assert_eq!(self.kind, Kind::Xids, "SQLite has no such state");
        self.append(writes, true, tags_of(writes));
        self.state.lock().commits.last().unwrap().xid
    }

    /// The commit becomes visible and is acknowledged.
    pub(crate) fn show(&self, xid: Xid) -> Token {
        let mut state = self.state.lock();
        assert!(state.hidden.remove(&xid.0));
        state.token()
    }

    /// The transaction ends without a commit.
    pub(crate) fn roll_back(&self, xid: Xid) {
        let mut state = self.state.lock();
        assert!(state.hidden.remove(&xid.0));
        let open = state.commits.iter_mut().find(|commit| commit.xid == xid).unwrap();
        open.writes.clear();
        open.tags.clear();
    }

    /// From the next load on, what is loaded under `key` depends on `tag`, too.
    pub(crate) fn label(&self, key: i64, tag: Tag) {
        self.state.lock().labels.insert(key, tag);
    }

    fn append(&self, writes: &[(i64, Option<&str>)], hidden: bool, tags: Vec<Tag>) -> Token {
        let mut state = self.state.lock();
        let end = Position(state.end.0 + STEP);
        let xid = Xid(FIRST_XID + state.commits.len() as u64);
        let writes = writes.iter().map(|(key, value)| (*key, value.map(str::to_owned))).collect();
        state.commits.push(Commit { end, xid, writes, tags });
        state.end = end;
        if hidden {
            state.hidden.insert(xid.0);
        }
        state.token()
    }

    /// The feed delivers everything committed so far.
    pub(crate) fn deliver(&self) {
        self.deliver_up_to(usize::MAX);
    }

    /// The feed delivers the next commit alone, if there is one.
    pub(crate) fn deliver_next(&self) {
        self.deliver_up_to(1);
    }

    fn deliver_up_to(&self, count: usize) {
        let mut state = self.state.lock();
        let through = state.delivered.saturating_add(count).min(state.commits.len());
        let all = through == state.commits.len();
        let end = if all { state.end } else { state.commits[through - 1].end };
        let transactions = state.commits[state.delivered..through]
            .iter()
            .map(|commit| Transaction { xid: commit.xid, end: commit.end, tags: commit.tags.clone() })
            .collect();
        let message = Message {
            epoch: epoch_id(state.epoch),
            connection: state.connection,
            previous: state.delivered_end,
            end,
            transactions,
        };
        state.delivered = through;
        state.delivered_end = end;
        drop(state);
        if message.end > message.previous {
            self.tell(|feed| feed.apply(&message, []).unwrap());
        }
    }

    /// The node asks how far the source is, and is answered at once.
    pub(crate) fn ask(&self) {
        let at = self.clock.now();
        let state = self.state.lock();
        let (epoch, position, snapshot) = (epoch_id(state.epoch), state.end, state.snapshot(self.kind));
        drop(state);
        self.tell(|feed| {
            let ask = Ask { at, position, discards: feed.discards() };
            feed.answered(epoch, ask, Some(&snapshot));
        });
    }

    /// What a healthy feed does all the time: delivers, and answers an ask.
    pub(crate) fn pump(&self) {
        self.deliver();
        self.ask();
    }

    /// The feed's connection is made anew.
    pub(crate) fn reconnect(&self) {
        self.state.lock().connection += 1;
    }

    /// The source is restored, or fails over: what the feed told before counts no longer.
    pub(crate) fn new_epoch(&self) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.delivered = state.commits.len();
        state.delivered_end = state.end;
        let (epoch, end) = (epoch_id(state.epoch), state.end);
        drop(state);
        self.tell(|feed| feed.begin_epoch(epoch, end, None));
    }

    /// Another server has taken its place and the feed has not heard of it: positions begin again far behind.
    pub(crate) fn source_moves_on(&self) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.end = Position(START);
    }

    /// As [`Database::new_epoch`], where older commits may still be invisible: nothing may be kept until a snapshot has
    /// passed them.
    pub(crate) fn new_epoch_behind_barrier(&self, xid: Xid) {
        self.new_epoch();
        let state = self.state.lock();
        let (epoch, end) = (epoch_id(state.epoch), state.end);
        drop(state);
        self.tell(|feed| feed.begin_epoch(epoch, end, Some(Barrier { xid, end })));
    }

    /// Changes up to now may have gone untold.
    pub(crate) fn freeze(&self) {
        let state = self.state.lock();
        let barrier = Barrier { xid: Xid(FIRST_XID + state.commits.len() as u64), end: state.end };
        drop(state);
        self.tell(|feed| feed.freeze(barrier));
    }

    /// From now on no load and no question is answered.
    pub(crate) fn go_down(&self) {
        self.state.lock().down = true;
    }

    pub(crate) fn come_back(&self) {
        self.state.lock().down = false;
    }

    /// The next loads do this, one each.
    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().acts.extend(acts);
    }

    /// From now on a load that has read its snapshot waits before it answers.
    pub(crate) fn close_gate(&self) {
        self.gate.send_modify(|gate| gate.closed = true);
    }

    /// Lets all waiting loads answer, and later ones at once.
    pub(crate) fn open_gate(&self) {
        self.gate.send_modify(|gate| {
            gate.closed = false;
            gate.released = gate.arrived;
        });
    }

    /// Lets the longest-waiting load answer; the gate stays closed.
    pub(crate) fn release_one(&self) {
        self.gate.send_modify(|gate| gate.released += 1);
    }

    /// Ends once `count` loads have read and wait.
    pub(crate) async fn until_waiting(&self, count: usize) {
        self.gate.subscribe().wait_for(|gate| gate.arrived - gate.released >= count).await.unwrap();
    }

    /// Loads of one key and of several, as often as the database was asked.
    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// How many of the loads were of several keys.
    pub(crate) fn batches(&self) -> usize {
        self.batches.load(Ordering::SeqCst)
    }

    /// A standby has replayed everything written so far, what the primary still hides too.
    pub(crate) fn replay(&self) {
        let mut state = self.state.lock();
        state.replayed = Some(state.commits.len());
    }

    /// The next loads on the standby do this, one each.
    pub(crate) fn script_standby(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().standby_acts.extend(acts);
    }

    /// Loads on the standby.
    pub(crate) fn standby_loads(&self) -> usize {
        self.standby_loads.load(Ordering::SeqCst)
    }

    /// Pages of keys that were read.
    pub(crate) fn pages(&self) -> usize {
        self.pages.load(Ordering::SeqCst)
    }

    fn tell(&self, tell: impl FnMut(&Feed)) {
        self.feeds.lock().iter().for_each(tell);
    }

    pub(crate) fn epoch(&self) -> EpochId {
        epoch_id(self.state.lock().epoch)
    }

    /// A token of the running epoch.
    pub(crate) fn token_at(&self, position: u64) -> Token {
        Token { epoch: self.epoch(), position: Position(position) }
    }

    async fn query(&self, keys: &[i64]) -> Result<LoadedMany<String>, LoadError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.be_slow().await;
        let (answer, act) = {
            let mut state = self.state.lock();
            if state.down {
                return Err(LoadError::Unavailable("the database is down".into()));
            }
            (state.read(self.kind, keys), state.acts.pop_front())
        };
        self.pass_gate().await;
        self.be_slow().await;
        match act {
            None => Ok(answer),
            Some(Act::Fail(error)) => Err(error),
            Some(Act::Panic) => panic!("a loader that panics"),
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Lie(value)) => {
                let values = answer.values.into_iter().map(|(_, tags)| (value.clone(), tags)).collect();
                Ok(LoadedMany { values, seen: answer.seen })
            }
            Some(Act::Forget) => Ok(LoadedMany { values: Vec::new(), seen: answer.seen }),
        }
    }

    /// Classes opened from now on put loads together that would wait for one of so many.
    pub(crate) fn set_statements_at_once(&self, count: usize) {
        assert!(self.statements_at_once.set(NonZeroUsize::new(count).unwrap()).is_ok(), "set once");
    }

    /// Queries take time.
    pub(crate) fn set_latency(&self, latency: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        assert!(self.latency.set(Box::new(latency)).is_ok(), "set once");
    }

    async fn be_slow(&self) {
        if let Some(latency) = self.latency.get() {
            latency().await;
        }
    }

    async fn pass_gate(&self) {
        let mut ticket = None;
        self.gate.send_if_modified(|gate| {
            if gate.closed {
                ticket = Some(gate.arrived);
                gate.arrived += 1;
            }
            gate.closed
        });
        if let Some(ticket) = ticket {
            self.gate.subscribe().wait_for(|gate| gate.released > ticket).await.unwrap();
        }
    }
}
