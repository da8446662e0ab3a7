//! What the engine asks of a database of record.
//!
//! An adapter implements [`Source`] once, and a [`Loader`] for each way of loading a class.

use std::{
    borrow::Cow,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use crate::shed::ShedReason;
use crate::{
    apply::Feed,
    change::RowChange,
    entry::EpochId,
    env::BoxFuture,
    key::{Key, OwnedSqlValue},
    proof::{Position, Seen, TableTags, Tag, Tags, Token},
};

/// What a load returned, and what it saw.
#[derive(Clone, Debug)]
pub struct Loaded<V> {
    /// The value; none where the source has no such row.
    pub value: Option<V>,
    /// What the value, or its absence, depends on; the narrowest first.
    pub tags: Tags,
    /// Which changes the load certainly saw.
    pub seen: Seen,
}

/// What a load of several keys returned, all under one snapshot.
#[derive(Clone, Debug)]
pub struct LoadedMany<V> {
    /// A value (or none) and its dependencies for each key, in the order asked.
    pub values: Vec<(Option<V>, Tags)>,
    /// Which changes the load certainly saw.
    pub seen: Seen,
}

/// Loads the values of one class from the database of record.
pub trait Loader<K, V>: Send + Sync + 'static {
    /// Loads one key on the primary, in one snapshot.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is known about the value then.
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Loaded<V>, LoadError>>;

    /// Loads one key on a standby of the source; none where there is none to be asked now.
    ///
    /// What it saw is [`Snapshot::Replayed`](crate::proof::Snapshot::Replayed): how far the standby certainly was before the
    /// load. `upper` and epoch are asked of the primary, afterwards. The answer is passed on only once it is proven here and
    /// the primary shows all that it may show; else the key is loaded on the primary.
    fn load_on_standby<'a>(&'a self, _key: &'a K) -> Option<BoxFuture<'a, Result<Loaded<V>, LoadError>>> {
        None
    }

    /// Loads several keys on the primary, all in one snapshot: the answer shows one state of the database.
    ///
    /// # Errors
    /// [`LoadError`] for all of them.
    fn load_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Result<LoadedMany<V>, LoadError>>;

    /// How many loads it can have under way at once, where [`Loader::load_many`] asks for many keys at nearly the price of one:
    /// loads of different keys that would have to wait then go out together. None, as by default: each goes on its own. Asked
    /// once, when the class is opened.
    fn statements_at_once(&self) -> Option<NonZeroUsize> {
        None
    }

    /// The shape of what the loads read, kept up to date by the adapter. Asked once, when the class is opened.
    ///
    /// The default never moves: for sources that begin a new epoch instead.
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::default()
    }

    /// All keys that there are, for classes whose values are rows of one plain table, each named by its row's tag. What
    /// comes back is of the table's shape as it is now: it is asked for again when the shape has moved.
    ///
    /// # Errors
    /// Why the keys cannot be told; the class has no filter of the keys there are, then.
    fn key_set(&self) -> Result<Arc<dyn KeySet<K>>, Cow<'static, str>> {
        Err("its loader cannot tell which keys there are".into())
    }

    /// The way to write what is loaded, for classes whose values are rows of one plain table.
    ///
    /// # Errors
    /// Why nothing can be written.
    fn writer(&self) -> Result<&dyn RowWriter<V>, Cow<'static, str>> {
        Err("only rows of a table, read by its primary key, can be written".into())
    }
}

/// Where a page of keys ended, as its [`KeySet`] reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct PageEnd(pub Vec<OwnedSqlValue>);

/// Some of the keys there are.
#[derive(Clone, Debug)]
pub struct KeyPage {
    /// The tags of their rows.
    pub tags: Vec<Tag>,
    /// Where the next page begins; none after the last.
    pub end: Option<PageEnd>,
    /// A position read after the page: nothing that ends later can have been seen.
    pub upper: Position,
    /// The epoch of the source that answered.
    pub epoch: EpochId,
}

/// The keys of one table, in one shape of it.
pub trait KeySet<K>: Send + Sync {
    /// The tag of the row that `key` names; none where the key names none by itself. The very tag that the feed raises for
    /// that row, and that [`KeySet::page`] tells of it.
    fn tag(&self, key: &K) -> Option<Tag>;

    /// What tells of the table's changes.
    fn table(&self) -> TableTags;

    /// The next keys after `after`, at most `rows_max`, in any order that is the same for all pages: a row that stays where
    /// it is while all pages are read is in one of them. Read on the primary, in one snapshot taken after the call. A change
    /// of a row's place in the order must be a change of its key.
    ///
    /// # Errors
    /// [`LoadError`], also where a row has no tag of its own, or the table has another shape by now.
    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>>;
}

/// The shape of the relations that a class reads: their columns, keys, policies, and whether their changes are told.
///
/// An adapter calls [`Catalogue::altered`] as soon as it notices a change of shape, and before it answers another
/// [`Ask`](crate::proof::Ask); every entry loaded before is unproven from then on.
#[derive(Debug)]
pub struct Catalogue {
    number: AtomicU64,
    digest: Mutex<[u8; 16]>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self { number: AtomicU64::new(1), digest: Mutex::default() }
    }
}

impl Catalogue {
    /// A catalogue with `digest`, which is equal on all nodes that see the same shape.
    #[must_use]
    pub fn new(digest: [u8; 16]) -> Arc<Self> {
        Arc::new(Self { digest: Mutex::new(digest), ..Self::default() })
    }

    /// The shape has moved, or may have: entries loaded before are unproven, on this node and, by `digest`, in the remote
    /// tier.
    pub fn altered(&self, digest: [u8; 16]) {
        let mut held = self.digest.lock();
        *held = digest;
        self.number.fetch_add(1, Ordering::AcqRel);
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        *self.digest.lock()
    }

    /// How often it has moved, as each hit reads it.
    pub(crate) const fn number(&self) -> &AtomicU64 {
        &self.number
    }

    /// The number and the digest that belongs to it.
    pub(crate) fn both(&self) -> (u64, [u8; 16]) {
        let digest = self.digest.lock();
        (self.number.load(Ordering::Acquire), *digest)
    }
}

/// A database of record: its feed, and what can be asked of it apart from loads.
pub trait Source: Send + Sync + 'static {
    /// What this is, for people; no secrets.
    fn describe(&self) -> String;

    /// Follows the change log and tells `feed`, until [`Feed::stopped`] says so. Recovers from every failure by itself:
    /// retries with a growing pause, begins a new epoch where continuity is lost.
    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()>;

    /// How the change log is followed, for people: name and value, such as the slot. No secrets.
    fn following(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What is kept beside something that has heard all of the log of `epoch` through `position`, so that the source can find out in a
    /// later process whether its log still continues from there: see [`Feed::saved_places`]. None where it will not be able to; some
    /// with no bytes where it keeps what it needs by itself.
    fn place<'a>(&'a self, _epoch: EpochId, _position: Position) -> BoxFuture<'a, Option<Box<[u8]>>> {
        Box::pin(std::future::ready(None))
    }

    /// What must end before anything can be kept, for people: a transaction, and who runs it.
    fn waiting_for(&self) -> Option<String> {
        None
    }

    /// A token for now: at or after every commit acknowledged before the call.
    ///
    /// # Errors
    /// [`LoadError`] when the source does not answer.
    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>>;

    /// Invalidates `tags` on every node, by way of the feed.
    ///
    /// # Errors
    /// [`LoadError`] when the source does not take it; nothing was invalidated then.
    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>>;
}

/// Writes rows of one class to the source. Implemented by adapters, for classes whose values are rows of one plain table.
pub trait RowWriter<V>: Send + Sync {
    /// Whether `change` can be made under `key`, as far as that can be told without asking the source: the change with the
    /// columns of the key, and whether it tells every column of the value, so that no row need be known beneath.
    ///
    /// # Errors
    /// What is wrong with it, and what to do; shows no value.
    fn check(&self, key: &Key, change: RowChange) -> Result<(RowChange, bool), String>;

    /// Makes the change in a transaction of its own and commits it; `after` is told of the row as it is right after the
    /// commit. Whatever becomes of that, the write has succeeded.
    ///
    /// # Errors
    /// [`LoadError`]; an outage leaves open whether the change was made, a refusal has changed nothing.
    fn write<'a>(
        &'a self,
        key: &'a Key,
        change: &'a RowChange,
        after: &'a dyn AfterCommit<V>,
    ) -> BoxFuture<'a, Result<Token, LoadError>>;
}

/// What is done with the row that a transaction has written, as it is right after the commit.
pub trait AfterCommit<V>: Send + Sync {
    /// Is called before the commit is sent. `load` loads the row by a statement that runs after the commit; nothing is done
    /// with what it brings unless `outcome` says that the transaction has committed.
    fn publish<'a>(
        &'a self,
        load: BoxFuture<'a, Result<Loaded<V>, LoadError>>,
        outcome: Outcome,
    ) -> BoxFuture<'a, ()>;
}

/// How a transaction ends, as soon as that is known.
#[derive(Clone, Debug)]
pub struct Outcome(watch::Receiver<Option<bool>>);

/// Tells how a transaction has ended. Dropped untold, it has not committed.
#[derive(Debug)]
pub struct Ended(watch::Sender<Option<bool>>);

impl Outcome {
    /// An outcome that is not known yet, and the way to tell it.
    #[must_use]
    pub fn open() -> (Ended, Self) {
        let (ended, outcome) = watch::channel(None);
        (Ended(ended), Self(outcome))
    }

    /// Whether the transaction has committed.
    pub async fn committed(mut self) -> bool {
        self.0.wait_for(Option::is_some).await.is_ok_and(|known| *known == Some(true))
    }
}

impl Ended {
    /// The transaction has committed, or has not.
    pub fn tell(&self, committed: bool) {
        self.0.send_replace(Some(committed));
    }
}

/// Why the source did not answer. Cheap to clone: all who wait for one load share it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It cannot be reached, or it refused: retrying may help.
    #[error("the source does not answer: {0}")]
    Unavailable(Arc<str>),
    /// It did not answer in time.
    #[error("the source did not answer within {limit_ms} ms")]
    TimedOut {
        /// The limit that passed, in milliseconds.
        limit_ms: u64,
    },
    /// The query itself is wrong for this source: retrying does not help.
    #[error("the source refused the query: {0}")]
    Refused(Arc<str>),
    /// The value is larger than the loader brings. What is merely too large to be kept is answered.
    #[error(
        "the value has more than {limit} bytes ({bytes} were read), which is the most that a load brings; select less"
    )]
    TooLarge {
        /// Bytes read before the load was given up.
        bytes: usize,
        /// The loader's limit, in bytes.
        limit: usize,
    },
    /// The load limiter shed the load; the source was not asked.
    #[error("{why}; retry after {retry_after_ms} ms")]
    Shed {
        /// Why.
        why: ShedReason,
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The source has failed several times in a row, and is left alone until it answers a probe; it was not asked.
    #[error(
        "the source has failed several times in a row and is left alone; retry after {retry_after_ms} ms"
    )]
    LeftAlone {
        /// When it is worth trying again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Clients load the values of the class, and none has filled this one.
    #[error("nobody has filled it: take its lease, load it and fill it")]
    Unfilled,
    /// The task that loaded for others died before it had an answer.
    #[error("the load that this read waited for was lost")]
    Lost,
}

impl LoadError {
    /// A short stable name, for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused(_) => "refused",
            Self::TooLarge { .. } => "too_large",
            Self::Shed { .. } => "shed",
            Self::Unfilled => "unfilled",
            Self::LeftAlone { .. } => "left_alone",
            Self::Lost => "lost",
        }
    }

    /// When it is worth trying again, in milliseconds, where the source was not asked at all.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Shed { retry_after_ms, .. } | Self::LeftAlone { retry_after_ms } => Some(*retry_after_ms),
            _ => None,
        }
    }

    /// Whether the source itself is in trouble, so that a stale answer may stand in where the class allows one.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::TimedOut { .. }
                | Self::Shed { .. }
                | Self::LeftAlone { .. }
                | Self::Lost
        )
    }
}
