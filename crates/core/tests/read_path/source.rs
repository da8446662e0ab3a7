//! A database in memory whose commits, visibility, feed and loads are steps of the test.

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
    key::OwnedSqlValue,
    proof::{
        Ask, Barrier, Message, Position, Seen, Snapshot, TableTags, Tag, Tags, Token, Transaction, Xid,
        XidSnapshot,
    },
    source::{Catalogue, KeyPage, KeySet, LoadError, Loaded, LoadedMany, Loader, PageEnd, Source},
    write::LockingRead,
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

impl State {
    fn token(&self) -> Token {
        Token { epoch: epoch_id(self.epoch), position: self.end }
    }

    fn snapshot(&self, kind: Kind) -> Snapshot {
        match kind {
            Kind::Sequence => Snapshot::Sequence(self.end),
            Kind::Xids => {
                let next = Xid(FIRST_XID + self.commits.len() as u64);
                let running: Box<[Xid]> = self.hidden.iter().copied().map(Xid).collect();
                let xmin = running.first().copied().unwrap_or(next);
                Snapshot::Xids(XidSnapshot { xmin, xmax: next, running })
            }
        }
    }

    fn read(&self, kind: Kind, keys: &[i64]) -> LoadedMany<String> {
        let seen = Seen { snapshot: self.snapshot(kind), upper: self.end, epoch: epoch_id(self.epoch) };
        let values = keys.iter().map(|key| (self.value(*key), self.tags(*key))).collect();
        LoadedMany { values, seen }
    }

    /// What a standby shows: whatever it has replayed.
    fn read_replayed(&self, replayed: usize, key: i64) -> Loaded<String> {
        let commits = &self.commits[..replayed];
        let through = commits.last().map_or(Position(START), |commit| commit.end);
        let write = commits.iter().flat_map(|commit| &commit.writes).rfind(|(written, _)| *written == key);
        Loaded {
            value: write.and_then(|(_, value)| value.clone()),
            tags: self.tags(key),
            seen: Seen {
                snapshot: Snapshot::Replayed(through),
                upper: self.end,
                epoch: epoch_id(self.epoch),
            },
        }
    }

    fn tags(&self, key: i64) -> Tags {
        [row_tag(key), wide_tag()].into_iter().chain(self.labels.get(&key).copied()).collect()
    }

    fn value(&self, key: i64) -> Option<String> {
        let visible = self.commits.iter().filter(|commit| !self.hidden.contains(&commit.xid.0));
        let write = visible.flat_map(|commit| &commit.writes).rfind(|(written, _)| *written == key);
        write.and_then(|(_, value)| value.clone())
    }
}

impl Loader<i64, String> for Database {
    fn load<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Loaded<String>, LoadError>> {
        Box::pin(async move {
            let LoadedMany { mut values, seen } = self.query(std::slice::from_ref(key)).await?;
            let (value, tags) = values.remove(0);
            Ok(Loaded { value, tags, seen })
        })
    }

    fn load_on_standby<'a>(
        &'a self,
        key: &'a i64,
    ) -> Option<BoxFuture<'a, Result<Loaded<String>, LoadError>>> {
        let mut state = self.state.lock();
        let answer = state.read_replayed(state.replayed?, *key);
        let act = state.standby_acts.pop_front();
        self.standby_loads.fetch_add(1, Ordering::SeqCst);
        Some(Box::pin(async move {
            match act {
                Some(Act::Fail(error)) => Err(error),
                Some(Act::Hang) => std::future::pending().await,
                _ => Ok(answer),
            }
        }))
    }

    fn statements_at_once(&self) -> Option<NonZeroUsize> {
        self.statements_at_once.get().copied()
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue)
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<i64>>, std::borrow::Cow<'static, str>> {
        let this = self.itself.upgrade().ok_or("the database is gone")?;
        Ok(Arc::new(AllKeys(this)))
    }

    fn load_many<'a>(&'a self, keys: &'a [i64]) -> BoxFuture<'a, Result<LoadedMany<String>, LoadError>> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.query(keys))
    }
}

impl Source for Database {
    fn describe(&self) -> String {
        "a database in memory".into()
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (epoch, start) = (self.epoch(), self.state.lock().delivered_end);
            feed.begin_epoch(epoch, start, None);
            self.feeds.lock().push(feed.clone());
            self.pump();
            feed.until_stopped().await;
        })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async {
            let state = self.state.lock();
            if state.down {
                Err(LoadError::Unavailable("the database is down".into()))
            } else {
                Ok(state.token())
            }
        })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async { Ok(self.append(&[], false, tags.to_vec())) })
    }
}

/// Reads as a locking transaction would: the newest committed state.
impl LockingRead<i64, String> for Database {
    fn read_locked<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Option<String>, LoadError>> {
        Box::pin(async { Ok(self.state.lock().value(*key)) })
    }
}

/// The keys of all rows there are, in their order.
struct AllKeys(Arc<Database>);

impl KeySet<i64> for AllKeys {
    fn tag(&self, key: &i64) -> Option<Tag> {
        Some(row_tag(*key))
    }

    fn table(&self) -> TableTags {
        TableTags { any: Tag::any("item"), wide: wide_tag() }
    }

    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        Box::pin(async move {
            self.0.pages.fetch_add(1, Ordering::SeqCst);
            let first = match after.map(|end| &end.0[0]) {
                Some(OwnedSqlValue::Int(last)) => last + 1,
                _ => i64::MIN,
            };
            let (page, down) = {
                let state = self.0.state.lock();
                let mut rows: BTreeMap<i64, bool> = BTreeMap::new();
                let visible = state.commits.iter().filter(|commit| !state.hidden.contains(&commit.xid.0));
                for (key, value) in visible.flat_map(|commit| &commit.writes) {
                    rows.insert(*key, value.is_some());
                }
                let mut keys: Vec<i64> =
                    rows.range(first..).filter(|(_, is_there)| **is_there).map(|(key, _)| *key).collect();
                keys.truncate(rows_max);
                let end =
                    (keys.len() == rows_max).then(|| PageEnd(vec![OwnedSqlValue::Int(keys[rows_max - 1])]));
                let tags = keys.iter().map(|key| row_tag(*key)).collect();
                (KeyPage { tags, end, upper: state.end, epoch: epoch_id(state.epoch) }, state.down)
            };
            self.0.pass_gate().await;
            if down { Err(LoadError::Unavailable("the database is down".into())) } else { Ok(page) }
        })
    }
}
