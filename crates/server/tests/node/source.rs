//! A database in memory whose feed moves when the test says so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use trueup_core::{
    apply::Feed,
    entry::{EpochId, EpochParts, Raw},
    env::BoxFuture,
    key::Key,
    proof::{Ask, Message, Position, Seen, Snapshot, Tag, Tags, Token, Transaction, Xid},
    source::{LoadError, Loaded, LoadedMany, Loader, ShedReason, Source},
};

/// How often the feed asks the database how far it is.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// What the database does to a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    Down,
    Shedding,
    Slow,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<(String, String), String>,
    log: Vec<Vec<Tag>>,
    loads: usize,
    mood: Mood,
    feed_stalls: bool,
}

/// Tables of JSON rows by canonical key, with a log of changes.
#[derive(Debug)]
pub(crate) struct Database {
    state: Mutex<State>,
    written: Notify,
    /// Loads wait here while the mood is [`Mood::Slow`].
    pub(crate) gate: Semaphore,
}

fn epoch() -> EpochId {
    EpochId::new(&EpochParts { system_id: 7, timeline: 0, feed_nonce: 11, generation: 1 })
}

impl Database {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), written: Notify::new(), gate: Semaphore::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Writes a row as another program would: the cache hears of it from the feed alone.
    pub(crate) fn write(&self, table: &str, key: &str, row: &str) -> Token {
        let mut state = self.state();
        state.rows.insert((table.to_owned(), key.to_owned()), row.to_owned());
        state.log.push(vec![Tag::row(table, [key]), Tag::any(table)]);
        self.written.notify_waiters();
        Token { epoch: epoch(), position: position(&state) }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Stops the feed: nothing becomes fresher.
    pub(crate) fn stall_feed(&self, stalls: bool) {
        self.state().feed_stalls = stalls;
    }

    pub(crate) fn loads(&self) -> usize {
        self.state().loads
    }
}

/// The log's end; the first position is 1.
fn position(state: &State) -> Position {
    Position(state.log.len() as u64 + 1)
}

impl Source for Database {
    fn describe(&self) -> String {
        "test:memory".to_owned()
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            feed.begin_epoch(epoch(), Position(1), None);
            while !feed.stopped() {
                let (at, discards) = (feed.clock().now(), feed.discards());
                let (message, ask, stalls) = {
                    let state = self.state();
                    let previous = feed.applied();
                    let end = position(&state);
                    let transactions = state.log[previous.0 as usize - 1..].iter().zip(previous.0 + 1..).map(
                        |(tags, end)| Transaction { xid: Xid(0), end: Position(end), tags: tags.clone() },
                    );
                    let transactions = transactions.collect();
                    let message = Message { epoch: epoch(), connection: 1, previous, end, transactions };
                    (message, Ask { at, position: end, discards }, state.feed_stalls)
                };
                if stalls {
                    feed.failed("the test holds the feed");
                } else {
                    let end = message.end;
                    if end > message.previous {
                        feed.apply(&message, []).unwrap();
                    }
                    feed.answered(epoch(), ask, Some(&Snapshot::Sequence(end)));
                }
                tokio::select! {
                    () = tokio::time::sleep(ASK_EVERY) => {}
                    () = self.written.notified() => {}
                    () = feed.until_stopped() => {}
                }
            }
        })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async {
            let state = self.state();
            check(state.mood)?;
            Ok(Token { epoch: epoch(), position: position(&state) })
        })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async {
            let mut state = self.state();
            check(state.mood)?;
            state.log.push(tags.to_vec());
            self.written.notify_waiters();
            Ok(Token { epoch: epoch(), position: position(&state) })
        })
    }
}

fn check(mood: Mood) -> Result<(), LoadError> {
    match mood {
        Mood::Down => Err(LoadError::Unavailable("the test has stopped the database".into())),
        Mood::Shedding => Err(LoadError::Shed { why: ShedReason::QueueFull, retry_after_ms: 1_500 }),
        Mood::Well | Mood::Slow => Ok(()),
    }
}

/// Loads rows of one table.
pub(crate) struct Rows {
    pub(crate) database: Arc<Database>,
    pub(crate) table: &'static str,
}

impl Rows {
    async fn many(&self, keys: &[Key]) -> Result<LoadedMany<Raw>, LoadError> {
        if self.database.state().mood == Mood::Slow {
            self.database.gate.acquire().await.unwrap().forget();
        }
        let mut state = self.database.state();
        state.loads += 1;
        check(state.mood)?;
        let one = |key: &Key| {
            let row = state.rows.get(&(self.table.to_owned(), key.as_str().to_owned()));
            let tags: Tags =
                [Tag::row(self.table, [key.as_str()]), Tag::wide(self.table)].into_iter().collect();
            (row.map(|row| Raw(Bytes::from(row.clone()))), tags)
        };
        let values = keys.iter().map(one).collect();
        let upper = position(&state);
        Ok(LoadedMany { values, seen: Seen { snapshot: Snapshot::Sequence(upper), upper, epoch: epoch() } })
    }
}

impl Loader<Key, Raw> for Rows {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async move {
            let LoadedMany { mut values, seen } = self.many(std::slice::from_ref(key)).await?;
            let (value, tags) = values.remove(0);
            Ok(Loaded { value, tags, seen })
        })
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(self.many(keys))
    }
}
