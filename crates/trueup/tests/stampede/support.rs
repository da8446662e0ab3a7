//! Nodes over a real database and a real remote tier.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use trueup::{
    Plan,
    catalog::{
        Catalog, CatalogBuilder, CatalogClass, Demand,
        postgres::{add_classes, install_options},
    },
    engine::{
        cache::CacheBuilder,
        entry::KeyRing,
        env::{Clock, Nanos, Task, spawn},
        key::Key,
        receipt::ServedBy,
        stats::ClassCounts,
    },
    postgres::{
        FeedOptions, FeedPlan, Postgres, PostgresOptions,
        fleet::{Fleet, FleetOptions, respond},
    },
    redis::{Redis, RedisOptions},
};
use trueup_testbed as testbed;

/// What one load takes: its query sleeps for so long.
pub(crate) const LOAD: Duration = Duration::from_millis(100);
const SECRET: &str = "5a015a015a015a015a015a015a015a015a015a015a015a015a015a015a015a01";
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of products, and a Redis.
pub(crate) struct Servers {
    pub(crate) postgres: testbed::Postgres,
    pub(crate) redis: testbed::Redis,
}

pub(crate) async fn servers(rows: u32) -> Servers {
    tokio::task::spawn_blocking(move || {
        let postgres = testbed::Postgres::start(&testbed::PostgresOptions::default()).unwrap();
        postgres
            .query(&format!(
                "CREATE TABLE product (id int PRIMARY KEY, price int NOT NULL); \
                 INSERT INTO product SELECT g, 100 FROM generate_series(1, {rows}) g"
            ))
            .unwrap();
        Servers { postgres, redis: testbed::Redis::start(&testbed::RedisOptions::default()).unwrap() }
    })
    .await
    .unwrap()
}

/// One node: its catalogue of classes.
pub(crate) struct Node {
    pub(crate) catalog: Catalog,
    pub(crate) clock: Clock,
    _serving: Option<Task>,
}

impl Node {
    /// A node; with a remote tier it is one of a fleet, because entries are of use to nodes that follow one slot alone.
    pub(crate) async fn start(url: &str, redis: Option<&str>, plan: &str, clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fleet = FleetOptions { advertise: Some(format!("http://{address}")), ..FleetOptions::default() };
        let feed = FeedOptions { fleet: redis.map(|_| fleet), ..FeedOptions::default() };
        let options = PostgresOptions { feed, ..PostgresOptions::default() };
        let postgres = Postgres::connect(url, options).await.unwrap();
        let serving = postgres.fleet().map(|fleet| spawn("serving followers", serve(listener, fleet)));
        let plan = Plan::parse("test", plan, &[]).unwrap();
        FeedPlan::new(&postgres, &install_options(&plan)).await.unwrap().apply().await.unwrap();
        postgres.look_at_catalogue().await.unwrap();
        let mut cache = CacheBuilder::new(Arc::new(postgres.clone())).buckets(1 << 20).clock(clock.clone());
        if let Some(redis) = redis {
            let patient = RedisOptions { get_timeout: Duration::from_millis(500), ..RedisOptions::default() };
            let tier = Redis::standalone(redis).options(patient).start(Clock::system()).unwrap();
            until("a connection to Redis", || async { tier.connected().await.ok() }).await;
            cache = cache.remote(tier, KeyRing::parse(SECRET).unwrap());
        }
        let cache = cache.start();
        tokio::time::timeout(PATIENCE, cache.ready()).await.unwrap();
        let builder = add_classes(CatalogBuilder::new(cache), &postgres, &plan).await.unwrap();
        Self { catalog: builder.build(), clock, _serving: serving }
    }

    pub(crate) fn class(&self) -> Arc<CatalogClass> {
        Arc::clone(self.catalog.class("product").unwrap())
    }

    pub(crate) fn key(&self, id: u32) -> Key {
        self.class().form().parse(&id.to_string()).unwrap()
    }

    pub(crate) fn counts(&self) -> ClassCounts {
        self.class().cached().unwrap().stats().counts()
    }

    /// What became of everything, for whoever looks into a figure that is not as expected.
    pub(crate) fn debug(&self) {
        if std::env::var_os("STAMPEDE_DEBUG").is_some() {
            let counts = self.counts();
            println!("{:?} {:?} {:?} {:?}", counts.served, counts.misses, counts.rejected, counts.stampede);
            println!("{:?} {:?}", self.catalog.cache().remote_counts(), self.catalog.cache().status());
        }
    }

    /// Loads that the database was asked for.
    pub(crate) fn loads(&self) -> u64 {
        self.counts().loads.iter().map(|(_, durations)| durations.count()).sum()
    }

    /// Reads once; from where the answer came, and after how long.
    pub(crate) async fn read(&self, id: u32) -> (ServedBy, Duration) {
        timed(self.class(), self.key(id), self.clock.clone()).await
    }

    /// Reads until memory answers: a node that has just started keeps nothing until it has seen what was under way.
    pub(crate) async fn warm(&self, id: u32) {
        // Twice: a class that has just been opened is begun anew when the source is asked the next time.
        for pause in [Duration::ZERO, Duration::from_millis(600)] {
            tokio::time::sleep(pause).await;
            until("an answer from memory", || async {
                (self.read(id).await.0 == ServedBy::L1).then_some(())
            })
            .await;
        }
    }

    /// Many readers at once; how long each of them took.
    pub(crate) async fn crowd(&self, readers: usize, id: u32) -> Vec<Duration> {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..readers {
            tasks.spawn(timed(self.class(), self.key(id), Clock::system()));
        }
        tasks.join_all().await.into_iter().map(|(_, took)| took).collect()
    }
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

async fn timed(class: Arc<CatalogClass>, key: Key, clock: Clock) -> (ServedBy, Duration) {
    let began = clock.now();
    let answer = class.read(&key, Demand::default()).await.unwrap();
    (answer.served_by(), clock.now().since(began))
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
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn now() -> Nanos {
    Clock::system().now()
}

/// The duration below which `share` of all lie.
pub(crate) fn quantile(durations: &mut [Duration], share: f64) -> Duration {
    durations.sort_unstable();
    let last = durations.len() - 1;
    durations[((last as f64) * share).round() as usize]
}

/// In loads, for a table.
pub(crate) fn in_loads(span: Duration) -> String {
    format!("{:.0} ms ({:.2})", span.as_secs_f64() * 1e3, span.as_secs_f64() / LOAD.as_secs_f64())
}
