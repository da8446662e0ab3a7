//! A SQLite file behind a network that is simulated.

use std::{path::PathBuf, time::Duration};

use once::sqlite::SqliteStore;
use parking_lot::Mutex;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;
use trueup::{
    Plan, Sqlite, SqliteOptions, Trueup, catalog::sqlite::install_options, redis::Redis, sqlite::FeedPlan,
};

use crate::{
    incident::{
        network::Network,
        node::Node,
        sql::{Cells, Record, Value},
    },
    world::LabError,
};

/// How long a writer waits for another's lock.
const BUSY: Duration = Duration::from_secs(30);

/// The file, gone when it is dropped.
pub(super) struct Embedded {
    _folder: TempDir,
    path: PathBuf,
    connection: Mutex<Connection>,
    network: Network,
}

impl Embedded {
    pub(super) fn open(seed: u64, schema: &str) -> Result<Self, LabError> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("shop.db");
        let connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = off;")?;
        connection.execute_batch(&format!("BEGIN; {schema}; COMMIT"))?;
        let network = Network::new(seed ^ 0x5409);
        Ok(Self { _folder: folder, path, connection: Mutex::new(connection), network })
    }

    pub(super) async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, LabError> {
        self.network.hop().await;
        let done = self.connection.lock().prepare_cached(sql)?.execute(params_from_iter(params))?;
        self.network.hop().await;
        Ok(done as u64)
    }

    pub(super) async fn query<T: Record>(&self, sql: &str, params: &[Value]) -> Result<Option<T>, LabError> {
        self.network.hop().await;
        let found = self.now(sql, params)?;
        self.network.hop().await;
        Ok(found)
    }

    pub(super) fn now<T: Record>(&self, sql: &str, params: &[Value]) -> Result<Option<T>, LabError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(params))?;
        let first = rows.next()?.map(|row| T::read(&Cells::Sqlite(row)));
        first.transpose()
    }

    pub(super) async fn trueup(&self, plan: Plan, tier: Option<Redis>) -> Result<Node, LabError> {
        let failed = |what: &str, why: &dyn std::fmt::Display| LabError::failed(what, why);
        let feed = FeedPlan::new(&self.path, &install_options(&plan)).and_then(|feed| feed.apply().map(drop));
        feed.map_err(|why| failed("the change feed", &why))?;
        let source = Sqlite::open(&self.path, SqliteOptions::default());
        let source = source.map_err(|why| failed("the database", &why))?;
        let builder = Trueup::builder().source(source).plan(plan);
        let builder = match tier {
            Some(tier) => builder.l2(tier),
            None => builder,
        };
        let built = builder.build().await;
        built.map(Node::Sqlite).map_err(|why| failed("a node of Trueup", &why))
    }

    pub(super) fn books(&self) -> SqliteStore {
        SqliteStore::new(&self.path)
    }
}
