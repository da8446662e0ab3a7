//! The world that is broken on purpose: a database, nodes, perhaps a remote tier, and what the lab knows of them.

mod book;
mod error;
mod gate;
mod l2;
mod misses;
mod node;
mod postgres;
pub(crate) mod schema;
mod source;
mod sql;

use std::{collections::HashSet, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tempfile::TempDir;
use tokio::sync::RwLockWriteGuard;
use trueup_core::env::{Clock, Nanos};

pub(crate) use self::{
    book::{Attempt, Book, Effect},
    error::LabError,
    gate::Gate,
    l2::{L2, L2Kind},
    misses::Counted,
    node::{Node, NodeSettings, binary},
    postgres::PostgresSource,
    source::{Source, SourceKind},
    sql::{Address, Cells, Sql, SqliteSession, blocking},
};
use self::{schema::Layout, sql::number};
use crate::history::Object;

/// How long a statement of a fault may take.
const FAULT_PATIENCE: Duration = Duration::from_secs(60);
/// Most problems of the lab itself that are told.
const TROUBLES_MAX: usize = 20;

/// What to build.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) source: SourceKind,
    pub(crate) l2: L2Kind,
    pub(crate) max_staleness: Duration,
    pub(crate) binary: PathBuf,
    /// Rows that one transaction changes, where a fault is about many.
    pub(crate) bulk_rows: u32,
    pub(crate) layout: Layout,
}

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) max_staleness: Duration,
    pub(crate) bulk_rows: u32,
    // Ended before what they stand on.
    pub(crate) nodes: Vec<Node>,
    pub(crate) l2: L2,
    pub(crate) source: Source,
    pub(crate) book: Arc<Book>,
    pub(crate) gate: Gate,
    /// Objects, the most popular first.
    pub(crate) popularity: Vec<Object>,
    pub(crate) trouble: Trouble,
    pub(crate) folder: TempDir,
}

/// Problems of the lab itself. A run that has any has not shown what it should have shown.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Vec<String>>);

impl Trouble {
    pub(crate) fn report(&self, what: String) {
        let mut list = self.0.lock();
        if list.len() < TROUBLES_MAX && !list.contains(&what) {
            list.push(what);
        }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl World {
    /// Makes the database, starts everything, and waits until every node can prove answers.
    pub(crate) async fn build(settings: &Settings, clock: &Clock) -> Result<Arc<Self>, LabError> {
        let folder = tempfile::Builder::new().prefix("trueup-lab-").tempdir()?;
        let source = Source::start(settings, folder.path()).await?;
        let mut session = source.address().connect().await?;
        session.transaction(&settings.layout.statements()).await?;
        drop(session);
        let l2 = L2::start(settings).await?;
        let for_nodes = NodeSettings {
            binary: settings.binary.clone(),
            folder: folder.path().to_owned(),
            max_staleness: settings.max_staleness,
        };
        let mut nodes = Vec::new();
        for index in 0..settings.nodes {
            let node = Node::new(index, &for_nodes, &source.url(index), l2.url(index).as_deref())?;
            // One after the other: the first installs the feed.
            node.start()?;
            node.ready(clock).await?;
            nodes.push(node);
        }
        let mut popularity: Vec<Object> = (0..settings.layout.objects()).collect();
        popularity.shuffle(&mut StdRng::seed_from_u64(settings.seed));
        Ok(Arc::new(Self {
            seed: settings.seed,
            max_staleness: settings.max_staleness,
            bulk_rows: settings.bulk_rows,
            nodes,
            l2,
            source,
            book: Arc::new(Book::new(clock.clone(), settings.layout)),
            gate: Gate::default(),
            popularity,
            trouble: Trouble::default(),
            folder,
        }))
    }

    /// A session of a fault's own.
    pub(crate) async fn session(&self) -> Result<Box<dyn Sql>, LabError> {
        self.source.address().connect().await
    }

    /// Runs statements of a fault, one by one.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), LabError> {
        let mut session = self.session().await?;
        let run = tokio::time::timeout(FAULT_PATIENCE, session.batch(sql)).await;
        run.unwrap_or_else(|_| Err(LabError::failed("a statement of a fault", "it took too long")))
    }

    /// One transaction that writes a range of objects, while nobody else writes: `present` says which have a row
    /// afterwards.
    pub(crate) async fn write_all(
        &self,
        objects: Range<Object>,
        statements: &[String],
        mut present: impl FnMut(Object) -> bool,
    ) -> Result<(), LabError> {
        let book = &self.book;
        let _nobody = self.gate.quiet().await?;
        let mut session = self.session().await?;
        let (first, end) = (objects.start, objects.end);
        let raise =
            format!("UPDATE ledger SET version = version + 1 WHERE object >= {first} AND object < {end}");
        let effects: Vec<Effect> =
            objects.map(|object| Effect { object, present: present(object) }).collect();
        let statements: Vec<String> = [raise].iter().chain(statements).cloned().collect();
        let start = book.clock.now();
        let run = tokio::time::timeout(FAULT_PATIENCE, session.transaction(&statements)).await;
        let failed = match run {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(LabError::failed("a bulk write", "it took too long")),
        };
        let Some(failed) = failed else {
            book.committed(&effects, start);
            return Ok(());
        };
        // A connection can be lost after the commit.
        drop(session);
        let version = self.session().await?.version(first).await?;
        if version > book.version(first) {
            book.committed(&effects, start);
            return Ok(());
        }
        Err(failed)
    }

    /// Reads what the database has gone back to, and lets versions go on far above what it has lost. The guard shows that
    /// nobody writes.
    pub(crate) async fn rewound(
        &self,
        start: Nanos,
        _nobody: &RwLockWriteGuard<'_, ()>,
    ) -> Result<(), LabError> {
        let mut session = self.session().await?;
        let ledger = session.rows("SELECT version FROM ledger ORDER BY object").await?;
        let survivors: Vec<u64> = ledger.into_iter().map(|row| number(&[row])).collect::<Result<_, _>>()?;
        let layout = self.book.layout;
        let mut present = HashSet::new();
        for (table, objects) in [("item", layout.item_objects()), ("shelf", layout.shelf_objects())] {
            if objects.is_empty() {
                continue;
            }
            for row in session.rows(&format!("SELECT id - 1 FROM {table}")).await? {
                present.insert(objects.start + number(&[row])? as Object);
            }
        }
        let go_on = format!("UPDATE ledger SET version = {}", self.book.next_era_version());
        session.transaction(&[go_on]).await?;
        self.book.rewound(start, survivors, &present);
        Ok(())
    }

    /// Waits until every node can prove answers.
    pub(crate) async fn ready(&self) -> Result<(), LabError> {
        for node in &self.nodes {
            node.ready(&self.book.clock).await?;
        }
        Ok(())
    }
}
