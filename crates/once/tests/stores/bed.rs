//! Databases to test on, and what tests do again and again.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Timeouts};
use once::{
    BusinessId, Claim, Fingerprint, Held, Key, Once, Options, Request, Scope, StoredResponse,
    postgres::PostgresStore,
    sqlite::SqliteStore,
    store::{Owned, Store, Transaction, Value},
};
use tempfile::TempDir;
use trueup_testbed::{Postgres, PostgresOptions};

/// Longer than any test waits: how far [`pass`] moves a database's clock.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// A database of the test's own, with the schema and a table of effects.
pub(crate) trait Bed: Send + Sync + 'static {
    type S: Store;

    fn start() -> Self;

    /// A store with connections of its own: another instance of the service.
    fn store(&self) -> Self::S;

    /// Another instance of the service.
    fn once(&self) -> Once<Self::S> {
        Once::new(self.store(), Options::new())
    }
}

pub(crate) struct PostgresBed {
    server: Arc<Postgres>,
    database: String,
}

/// One server for all tests that run at a time; gone with the last of them.
fn server() -> Arc<Postgres> {
    static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    server.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Postgres::start(&PostgresOptions::default()).unwrap());
        *server = Arc::downgrade(&started);
        started
    })
}

impl PostgresBed {
    pub(crate) fn pool(&self, connections: usize) -> Pool {
        let mut config: tokio_postgres::Config = self.server.url().parse().unwrap();
        config.dbname(&self.database);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, tokio_postgres::NoTls, recycling);
        let wait = Some(Duration::from_secs(20));
        let timeouts = Timeouts { wait, create: wait, recycle: wait };
        let runtime = deadpool_postgres::Runtime::Tokio1;
        Pool::builder(manager).max_size(connections).timeouts(timeouts).runtime(runtime).build().unwrap()
    }
}

impl Bed for PostgresBed {
    type S = PostgresStore;

    fn start() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let server = server();
        let database = format!("test_{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        server.query(&format!("CREATE DATABASE {database}")).unwrap();
        Self { server, database }
    }

    fn store(&self) -> PostgresStore {
        PostgresStore::new(self.pool(8))
    }
}

pub(crate) struct SqliteBed {
    folder: TempDir,
}

impl SqliteBed {
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("once.db")
    }
}

impl Bed for SqliteBed {
    type S = SqliteStore;

    fn start() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::new(self.path())
    }
}

/// Runs a test on a database of its own.
pub(crate) fn run<B: Bed, F: Future<Output = ()>>(test: impl FnOnce(Arc<B>) -> F) {
    let bed = Arc::new(B::start());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = bed.store();
        once::migrate(&store).await.unwrap();
        let tx = store.begin().await.unwrap();
        tx.batch("CREATE TABLE effect (name TEXT NOT NULL, worker TEXT NOT NULL)").await.unwrap();
        tx.commit().await.unwrap();
        tokio::time::timeout(Duration::from_secs(300), test(bed)).await.expect("the test hangs");
    });
}

/// Declares tests that run on both databases.
macro_rules! both {
    ($($name:ident)+) => {
        mod on_postgres {
            $(#[test] fn $name() { $crate::bed::run::<$crate::bed::PostgresBed, _>(super::$name) })+
        }
        mod on_sqlite {
            $(#[test] fn $name() { $crate::bed::run::<$crate::bed::SqliteBed, _>(super::$name) })+
        }
    };
}
pub(crate) use both;

/// A request of `principal` with the key number `key`, which asks for `body`.
pub(crate) fn request(principal: &str, key: u32, body: &str) -> Request {
    let key = Key::new(&format!("key-of-a-test-number-{key:06}")).unwrap();
    let asked = Fingerprint::of(1, "POST", "/effects").body(&body, &[]).unwrap();
    Request::new(Scope::new(principal, key).unwrap(), asked)
}

pub(crate) fn business(id: &str) -> BusinessId {
    BusinessId::new("effect/tenant-1", id, &format!("/effects/{id}")).unwrap()
}

pub(crate) fn answer(text: &str) -> StoredResponse {
    StoredResponse::new(201, text.to_owned()).unwrap().header("content-type", b"text/plain").unwrap()
}

/// The right that a claim gives, which must be new.
pub(crate) fn granted(claim: Claim) -> Held {
    match claim {
        Claim::Granted(held) => held,
        other => panic!("not granted: {other:?}"),
    }
}

/// The right that a claim takes over.
pub(crate) fn resumed(claim: Claim) -> Held {
    match claim {
        Claim::Resumed(held) => held,
        other => panic!("not taken over: {other:?}"),
    }
}

/// Claims in a transaction of its own.
pub(crate) async fn claim<S: Store>(once: &Once<S>, request: &Request) -> Claim {
    let tx = once.store().begin().await.unwrap();
    let claim = once.claim(&tx, request).await.unwrap();
    tx.commit().await.unwrap();
    claim
}

/// Finishes in a transaction of its own.
pub(crate) async fn finish<S: Store>(once: &Once<S>, held: &Held, text: &str) -> Result<(), once::OnceError> {
    let tx = once.store().begin().await?;
    once.finish(&tx, held, &answer(text)).await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn effect<T: Transaction>(tx: &T, name: &str, worker: &str) {
    let sql = "INSERT INTO effect (name, worker) VALUES ($1, $2)";
    assert_eq!(tx.execute(sql, &[name.into(), worker.into()]).await.unwrap(), 1);
}

/// How many effects have this name.
pub(crate) async fn effects<S: Store>(store: &S, name: &str) -> i64 {
    number(store, "SELECT count(*) FROM effect WHERE name = $1", &[name.into()]).await
}

pub(crate) async fn number<S: Store>(store: &S, sql: &str, params: &[Value<'_>]) -> i64 {
    let tx = store.begin_read().await.unwrap();
    let number = tx.query_row(sql, params).await.unwrap().unwrap().int(0).unwrap();
    tx.rollback().await.unwrap();
    number
}

pub(crate) async fn change<S: Store>(store: &S, sql: &str, params: &[Value<'_>]) {
    let tx = store.begin().await.unwrap();
    tx.execute(sql, params).await.unwrap();
    tx.commit().await.unwrap();
}

/// Lets `span` pass by the database's clock, as the rows tell it.
pub(crate) async fn pass<S: Store>(store: &S, span: Duration) {
    let ms = i64::try_from(span.as_millis()).unwrap();
    for sql in [
        "UPDATE once_keys SET lease_until_ms = lease_until_ms - $1, created_ms = created_ms - $1, finished_ms = finished_ms - $1",
        "UPDATE once_leases SET expires_ms = expires_ms - $1",
        "UPDATE once_outbox_aggregates SET retry_at_ms = retry_at_ms - $1",
        "UPDATE once_outbox SET created_ms = created_ms - $1, published_ms = published_ms - $1",
    ] {
        change(store, sql, &[ms.into()]).await;
    }
}
