//! Databases, nodes, and waiting for facts.

use std::{convert::Infallible, future::Future, path::Path, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use trueup::{
    Cached, Class, Plan, Postgres, PostgresOptions, Row, ServedBy, Sqlite, SqliteOptions, Trueup,
    catalog::{postgres, sqlite},
    engine::{
        entry::KeyRing,
        env::{Clock, Task, spawn},
    },
    postgres::{
        FeedOptions, FeedPlan,
        fleet::{Fleet, FleetOptions, respond},
    },
    redis::{Redis, RedisOptions},
};
use trueup_testbed as testbed;

pub(crate) const SECRET: &str = "5a015a015a015a015a015a015a015a015a015a015a015a015a015a015a015a01";
const PATIENCE: Duration = Duration::from_secs(60);

/// A class of products that is written through. The bound is so long that a busy machine cannot make a hit a miss.
pub(crate) const THROUGH: &str = r#"
[class.product]
table = "product"
key = ["id"]
pattern = "write-through"
max_staleness = "30s"
"#;

/// The same, shared with other nodes.
pub(crate) fn shared(url: &str) -> String {
    format!("[l2]\nurls = [\"{url}\"]\n{THROUGH}")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) price: i64,
}

pub(crate) fn shoe(price: i64) -> Product {
    Product { id: 42, name: "Shoe".into(), price }
}

pub(crate) fn price(answer: &Cached<Product>) -> i64 {
    answer.value().unwrap().price
}

pub(crate) fn row(value: &impl Serialize) -> Row {
    Row::of(value).unwrap()
}

/// A server with a table of products.
pub(crate) async fn postgres() -> testbed::Postgres {
    blocking(|| {
        let server = testbed::Postgres::start(&testbed::PostgresOptions::default()).unwrap();
        let sql = "CREATE TABLE product (id bigint PRIMARY KEY, name text NOT NULL, price bigint NOT NULL CHECK (price >= 0)); \
                   INSERT INTO product VALUES (42, 'Shoe', 900), (43, 'Hat', 100)";
        server.query(sql).unwrap();
        server
    })
    .await
}

pub(crate) async fn redis() -> testbed::Redis {
    blocking(|| testbed::Redis::start(&testbed::RedisOptions::default()).unwrap()).await
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A node over PostgreSQL.
pub(crate) struct PgNode {
    pub(crate) trueup: Trueup<Postgres>,
    _serving: Option<Task>,
}

impl PgNode {
    /// A node; with a remote tier it is one of a fleet, because entries are of use to nodes that follow one slot alone.
    pub(crate) async fn start(url: &str, redis: Option<&str>, plan: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fleet = FleetOptions { advertise: Some(format!("http://{address}")), ..FleetOptions::default() };
        let feed = FeedOptions { fleet: redis.map(|_| fleet), ..FeedOptions::default() };
        let options = PostgresOptions { feed, ..PostgresOptions::default() };
        let source = Postgres::connect(url, options).await.unwrap();
        let serving = source.fleet().map(|fleet| spawn("serving followers", serve(listener, fleet)));
        let plan = Plan::parse("test", plan, &[]).unwrap();
        let feed = FeedPlan::new(&source, &postgres::install_options(&plan)).await.unwrap();
        feed.apply().await.unwrap();
        source.look_at_catalogue().await.unwrap();
        let mut builder = Trueup::builder().source(source).plan(plan);
        if let Some(url) = redis {
            builder = builder.l2(remote(url));
        }
        Self { trueup: builder.build().await.unwrap(), _serving: serving }
    }

    pub(crate) fn products(&self) -> Class<i64, Product> {
        self.trueup.class("product").unwrap()
    }
}

pub(crate) fn remote(url: &str) -> Redis {
    let patient = RedisOptions {
        get_timeout: Duration::from_secs(2),
        put_timeout: Duration::from_secs(2),
        ..RedisOptions::default()
    };
    Redis::standalone(url).options(patient).secret(KeyRing::parse(SECRET).unwrap())
}

/// A node over a SQLite file, which is made where it is missing.
pub(crate) async fn sqlite_node(path: &Path, redis: Option<&str>, plan: &str) -> Trueup {
    let plan = Plan::parse("test", plan, &[]).unwrap();
    if !path.exists() {
        let conn = rusqlite::Connection::open(path).unwrap();
        let sql = "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL CHECK (price >= 0));
                   INSERT INTO product VALUES (42, 'Shoe', 900), (43, 'Hat', 100);";
        conn.execute_batch(sql).unwrap();
        trueup::sqlite::FeedPlan::new(path, &sqlite::install_options(&plan)).unwrap().apply().unwrap();
    }
    let source = Sqlite::open(path, SqliteOptions::default()).unwrap();
    let mut builder = Trueup::builder().source(source).plan(plan);
    if let Some(url) = redis {
        builder = builder.l2(remote(url));
    }
    builder.build().await.unwrap()
}

async fn serve(listener: TcpListener, fleet: Fleet) {
    while let Ok((socket, _)) = listener.accept().await {
        let fleet = fleet.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let fleet = fleet.clone();
            async move { Ok::<_, Infallible>(respond(&fleet, request.uri()).await) }
        });
        spawn("a follower", async move {
            drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

/// Waits until `look` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let clock = Clock::system();
    let began = clock.now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock.now().since(began) < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads until memory answers: a node that has just started keeps nothing until it has seen what was under way.
pub(crate) async fn warm(class: &Class<i64, Product>, id: i64) {
    until("an answer from memory", || async {
        (class.get(&id).await.unwrap().receipt().served_by == ServedBy::L1).then_some(())
    })
    .await;
}

/// How often the source was asked for a value of the class.
pub(crate) fn loads(class: &Class<i64, Product>) -> u64 {
    class.stats().counts().loads.iter().map(|(_, times)| times.count()).sum()
}
