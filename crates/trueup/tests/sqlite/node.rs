//! A database in a temporary folder, programs that write to it, and nodes that follow it.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;
use trueup::sqlite::{FeedPlan, InstallOptions, Sqlite, SqliteOptions};
use trueup_core::{
    apply::{Feed, FeedStats},
    entry::EpochId,
    env::{Clock, Task, spawn},
    proof::{Ledger, Need, Position, Proof, Tag, Tags, Unproven},
    source::Source,
};

/// Long enough for any of these tests on a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A database file.
pub(crate) struct Database {
    /// Deleted with everything in it when the test ends.
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Database {
    /// A database with this schema, not yet followed.
    pub(crate) fn bare(schema: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(schema).unwrap();
        Self { folder, path }
    }

    /// A database with this schema, every table followed.
    pub(crate) fn followed(schema: &str) -> Self {
        let database = Self::bare(schema);
        FeedPlan::new(&database.path, &InstallOptions::default()).unwrap().apply().unwrap();
        database
    }

    /// A connection as another program would open it.
    pub(crate) fn program(&self) -> Connection {
        let conn = Connection::open(&self.path).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn
    }

    pub(crate) fn open(&self) -> Sqlite {
        Sqlite::open(&self.path, SqliteOptions::default()).unwrap()
    }

    pub(crate) async fn node(&self) -> Node {
        Node::start(self.open()).await
    }
}

/// One process's engine, as far as the feed goes.
pub(crate) struct Node {
    pub(crate) sqlite: Sqlite,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Feed,
    stats: Arc<FeedStats>,
    task: Option<Task>,
}

impl Node {
    pub(crate) async fn start(sqlite: Sqlite) -> Self {
        let ledger = Ledger::new(1 << 16, 1 << 16);
        let stats = Arc::new(FeedStats::default());
        let feed = Feed::new(Arc::clone(&ledger), Clock::system(), Arc::clone(&stats));
        let task = spawn("feed", Arc::new(sqlite.clone()).follow(feed.clone()));
        let node = Self { sqlite, ledger, feed, stats, task: Some(task) };
        within(node.feed.until_fresh()).await;
        node
    }

    pub(crate) fn epoch(&self) -> EpochId {
        self.ledger.epoch().expect("a node that was fresh is in an epoch")
    }

    /// What is wrong with the feed at the moment.
    pub(crate) fn problem(&self) -> Option<Arc<str>> {
        self.stats.problem()
    }

    /// Waits until following has failed.
    pub(crate) async fn in_trouble(&self) {
        within(async {
            while self.problem().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Waits until everything committed before this call has been applied.
    pub(crate) async fn catch_up(&self) -> Position {
        let token = self.sqlite.token().await.unwrap();
        within(self.feed.until_applied(token.position)).await;
        token.position
    }

    /// Waits until the node is in another epoch than `before`, and fresh there.
    pub(crate) async fn leaves(&self, before: EpochId) -> EpochId {
        within(async {
            while self.ledger.epoch().is_none_or(|now| now == before) || !self.feed.is_fresh() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        self.epoch()
    }

    /// The proof of an entry that depends on `tag` and was proven just now.
    pub(crate) fn entry(&self, tag: Tag) -> Proof {
        let now = self.ledger.applied();
        self.ledger.adopt(Tags::from_slice(&[tag]), now, now, self.epoch(), 0).unwrap()
    }

    /// Whether such an entry can still be served.
    pub(crate) fn check(&self, proof: &Proof) -> Result<(), Unproven> {
        let need = Need { max_staleness: PATIENCE, token: None };
        self.ledger.check(proof, &AtomicU64::new(0), &need, &Clock::system()).map(drop)
    }

    pub(crate) async fn stop(mut self) {
        self.feed.stop();
        if let Some(task) = self.task.take() {
            within(task.ended()).await;
        }
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have happened long ago")
}

/// The tag of a row by the canonical parts of its key.
pub(crate) fn row(table: &str, parts: &[&str]) -> Tag {
    Tag::row(table, parts.iter().copied())
}
