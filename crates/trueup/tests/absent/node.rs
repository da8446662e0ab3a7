//! A node in front of either database, and what all of these tests ask of it.

use std::{path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use trueup::{
    Plan,
    catalog::{Catalog, CatalogBuilder, Demand, postgres, sqlite},
    engine::{FilterStatus, cache::CacheBuilder, receipt::ServedBy},
    postgres::{FeedOptions, FeedPlan as PgFeedPlan, Postgres, PostgresOptions, fleet::FleetOptions},
    sqlite::{FeedPlan, Sqlite, SqliteOptions},
};

/// Long enough for any of these tests on a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// One process's engine.
pub(crate) struct Node {
    pub(crate) catalog: Catalog,
}

/// A SQLite database in a folder that goes with it.
pub(crate) struct File {
    pub(crate) folder: TempDir,
}

impl File {
    pub(crate) fn new(schema: &str) -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        file.program().execute_batch(schema).unwrap();
        file
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("items.db")
    }

    /// A connection as another program would open it.
    pub(crate) fn program(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.path()).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn
    }
}

/// A plan of these classes.
fn plan(classes: &str) -> Plan {
    Plan::parse("test.toml", classes, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

impl Node {
    pub(crate) async fn sqlite(file: &File, classes: &str) -> Self {
        let plan = plan(classes);
        let path: &Path = &file.path();
        FeedPlan::new(path, &sqlite::install_options(&plan)).unwrap().apply().unwrap();
        let source = Sqlite::open(path, SqliteOptions::default()).unwrap();
        let cache = CacheBuilder::new(Arc::new(source.clone())).start();
        within(cache.ready()).await;
        let builder = sqlite::add_classes(CatalogBuilder::new(cache), &source, &plan).unwrap();
        Self { catalog: builder.build() }
    }

    pub(crate) async fn postgres(server: &trueup_testbed::Postgres, classes: &str) -> Self {
        let plan = plan(classes);
        let source = Postgres::connect(&server.url(), PostgresOptions::default()).await.unwrap();
        PgFeedPlan::new(&source, &postgres::install_options(&plan)).await.unwrap().apply().await.unwrap();
        source.look_at_catalogue().await.unwrap();
        let cache = CacheBuilder::new(Arc::new(source.clone())).start();
        within(cache.ready()).await;
        let builder = postgres::add_classes(CatalogBuilder::new(cache), &source, &plan).await.unwrap();
        Self { catalog: builder.build() }
    }

    /// As [`Node::sqlite`], with filters that are kept in `folder`.
    pub(crate) async fn sqlite_kept(file: &File, classes: &str, folder: &Path) -> Self {
        let plan = plan(classes);
        let path: &Path = &file.path();
        FeedPlan::new(path, &sqlite::install_options(&plan)).unwrap().apply().unwrap();
        let source = Sqlite::open(path, SqliteOptions::default()).unwrap();
        let cache = CacheBuilder::new(Arc::new(source.clone())).filter_files(folder, plan.filters()).start();
        within(cache.ready()).await;
        let builder = sqlite::add_classes(CatalogBuilder::new(cache), &source, &plan).unwrap();
        Self { catalog: builder.build() }
    }

    /// A node of a fleet, which keeps its ledger and its filters in `folder`; reached by others at `advertise`.
    pub(crate) async fn postgres_kept(
        server: &trueup_testbed::Postgres,
        classes: &str,
        folder: &Path,
        advertise: Option<String>,
    ) -> (Self, Postgres) {
        let plan = plan(classes);
        let fleet = FleetOptions {
            advertise,
            state_dir: Some(folder.to_owned()),
            save_every: Duration::from_millis(200),
            ..FleetOptions::default()
        };
        let feed = FeedOptions { fleet: Some(fleet), ..FeedOptions::default() };
        let options = PostgresOptions { feed, ..PostgresOptions::default() };
        let source = Postgres::connect(&server.url(), options).await.unwrap();
        PgFeedPlan::new(&source, &postgres::install_options(&plan)).await.unwrap().apply().await.unwrap();
        source.look_at_catalogue().await.unwrap();
        let cache = CacheBuilder::new(Arc::new(source.clone())).filter_files(folder, plan.filters()).start();
        within(cache.ready()).await;
        let builder = postgres::add_classes(CatalogBuilder::new(cache), &source, &plan).await.unwrap();
        (Self { catalog: builder.build() }, source)
    }

    pub(crate) async fn shut_down(self) {
        within(self.catalog.cache().shut_down()).await;
    }

    pub(crate) fn filter(&self, class: &str) -> FilterStatus {
        self.catalog.class(class).unwrap().cached().unwrap().filter().unwrap()
    }

    /// Waits until the keys of `class` are known.
    pub(crate) async fn until_known(&self, class: &str) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.filter(class).answers {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if waited.await.is_err() {
            panic!("the keys of {class} were never known: {:?}", self.filter(class));
        }
    }

    /// The value under `key`, and where it came from.
    pub(crate) async fn read(&self, class: &str, key: &str) -> (Option<String>, ServedBy) {
        let class = self.catalog.class(class).unwrap();
        let answer = class.read(&class.form().parse(key).unwrap(), Demand::default()).await.unwrap();
        (answer.value().map(|raw| String::from_utf8(raw.0.to_vec()).unwrap()), answer.served_by())
    }

    /// Whether there is a value under each of these keys, and where that was learned.
    pub(crate) async fn read_all(&self, class: &str, ids: std::ops::Range<u64>) -> Vec<(bool, ServedBy)> {
        /// Keys asked for together.
        const TOGETHER: usize = 200;
        let class = self.catalog.class(class).unwrap();
        let keys: Vec<_> = ids.map(|id| class.form().parse(&id.to_string()).unwrap()).collect();
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(TOGETHER) {
            let answers = class.read_many(some, Demand::default(), false).await.unwrap();
            found.extend(answers.iter().map(|answer| (answer.value().is_some(), answer.served_by())));
        }
        found
    }

    /// Everything that was counted of `class`.
    pub(crate) fn counts(&self, class: &str) -> trueup::engine::stats::ClassCounts {
        self.catalog.class(class).unwrap().cached().unwrap().stats().counts()
    }

    /// How often the source was asked for a key of `class`.
    pub(crate) fn loads(&self, class: &str) -> u64 {
        self.counts(class).loads.iter().map(|(_, loads)| loads.count()).sum()
    }

    /// Waits until everything committed before this call has been applied.
    pub(crate) async fn catch_up(&self) {
        let token = self.catalog.cache().token().await.unwrap();
        within(self.catalog.cache().feed().until_applied(token.position)).await;
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have happened long ago")
}

/// Every key that there is is found, and one that there is not is answered without the source.
pub(crate) async fn finds_all(node: &Node, class: &str, there: &[&str], not_there: &[&str]) {
    node.until_known(class).await;
    for key in there {
        assert!(node.read(class, key).await.0.is_some(), "{class}: {key} is there");
    }
    let loads = node.loads(class);
    for key in not_there {
        assert_eq!(node.read(class, key).await, (None, ServedBy::Filter), "{class}: {key}");
    }
    assert_eq!(node.loads(class), loads, "{class}");
}

/// Waits until `holds` does.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}
