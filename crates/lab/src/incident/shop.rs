//! The database of an incident: one SQLite file, reached the way an application reaches a server, over a network.

use std::{path::PathBuf, time::Duration};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rusqlite::{Connection, Params, Row};
use tempfile::TempDir;
use trueup::{Plan, Sqlite, SqliteOptions, Trueup, catalog::sqlite::install_options, sqlite::FeedPlan};

use crate::world::LabError;

/// Longest usual way of a message to another machine, in milliseconds.
const HOP_MS_MAX: u64 = 3;
/// One message in so many is held up on its way, and for how long: a packet lost, a pause of the collector.
const HELD_UP_ONE_IN: u32 = 20;
const HELD_UP_MS: std::ops::Range<u64> = 15..40;
/// How long a writer waits for another's lock.
const BUSY: Duration = Duration::from_secs(30);

/// Waits as calls over a network have them, by the seed.
#[derive(Debug)]
pub(super) struct Network {
    dice: Box<Mutex<StdRng>>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self { dice: Box::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// One way of a call. Some are quick, some are not: that is what overtaking comes from.
    pub(super) async fn hop(&self) {
        let wait = {
            let mut dice = self.dice.lock();
            let held_up = dice.random_ratio(1, HELD_UP_ONE_IN);
            if held_up { dice.random_range(HELD_UP_MS) } else { dice.random_range(0..=HOP_MS_MAX) }
        };
        if wait == 0 {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}

/// The database of record.
pub(super) struct Shop {
    _folder: TempDir,
    path: PathBuf,
    connection: Mutex<Connection>,
    network: Network,
    queries: std::sync::atomic::AtomicU64,
}

impl Shop {
    /// A database of its own with this schema and these rows; gone when it is dropped.
    pub(super) fn open(seed: u64, schema: &str) -> Result<Self, LabError> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("shop.db");
        let connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = off;")?;
        connection.execute_batch(&format!("BEGIN; {schema}; COMMIT"))?;
        Ok(Self {
            _folder: folder,
            path,
            connection: Mutex::new(connection),
            network: Network::new(seed ^ 0x5409),
            queries: Default::default(),
        })
    }

    /// A statement of a program that knows nothing of Trueup, with its way there and back.
    pub(super) async fn execute(&self, sql: &str, params: impl Params) -> Result<usize, LabError> {
        self.network.hop().await;
        let done = self.connection.lock().prepare_cached(sql)?.execute(params)?;
        self.network.hop().await;
        Ok(done)
    }

    /// The first row of a query of such a program, or none.
    pub(super) async fn query<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LabError> {
        self.network.hop().await;
        self.queries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let found = self.now(sql, params, row)?;
        self.network.hop().await;
        Ok(found)
    }

    /// The same without a network and uncounted: what an auditor sees.
    pub(super) fn now<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LabError> {
        match self.connection.lock().prepare_cached(sql)?.query_row(params, row) {
            Ok(found) => Ok(Some(found)),
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many queries came over the network.
    pub(super) fn queries(&self) -> u64 {
        self.queries.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A node of Trueup in front of it, whose feed is installed if it was not.
    pub(super) async fn trueup(&self, plan: &str) -> Result<Trueup, LabError> {
        let failed = |what: &str, why: &dyn std::fmt::Display| LabError::failed(what, why);
        let plan = Plan::parse("incident", plan, &[]).map_err(|why| failed("the plan", &why))?;
        let feed = FeedPlan::new(&self.path, &install_options(&plan)).and_then(|feed| feed.apply().map(drop));
        feed.map_err(|why| failed("the change feed", &why))?;
        let source = Sqlite::open(&self.path, SqliteOptions::default());
        let source = source.map_err(|why| failed("the database", &why))?;
        let built = Trueup::builder().source(source).plan(plan).build().await;
        built.map_err(|why| failed("a node of Trueup", &why))
    }
}
