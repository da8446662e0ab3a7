//! A server with a followed database, and a ledger that follows it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_postgres::{Client, NoTls};
use trueup::postgres::{FeedOptions, FeedPlan, InstallOptions, Postgres, PostgresOptions};
use trueup_core::{
    apply::{Feed, FeedStats},
    env::{Clock, Task, spawn},
    proof::{Ledger, Tag},
    source::Source as _,
};
use trueup_testbed as testbed;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn server(sql: &str) -> testbed::Postgres {
    server_with(testbed::PostgresOptions::default(), sql)
}

pub(crate) fn server_with(options: testbed::PostgresOptions, sql: &str) -> testbed::Postgres {
    let server = testbed::Postgres::start(&options).unwrap();
    server.query(sql).unwrap();
    server
}

/// Connects as a node does.
pub(crate) async fn connect(url: &str, feed: FeedOptions) -> Postgres {
    let options = PostgresOptions { feed, ..PostgresOptions::default() };
    Postgres::connect(&format!("{url}?sslmode=disable"), options).await.unwrap()
}

pub(crate) async fn install(postgres: &Postgres) {
    FeedPlan::new(postgres, &InstallOptions::default()).await.unwrap().apply().await.unwrap();
}

/// A node: a ledger and what follows for it.
pub(crate) struct Node {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Feed,
    pub(crate) stats: Arc<FeedStats>,
    task: Option<Task>,
}

impl Node {
    /// Starts to follow a database in which the feed is installed.
    pub(crate) async fn start(url: &str) -> Self {
        Self::start_with(url, FeedOptions::default()).await
    }

    pub(crate) async fn start_with(url: &str, options: FeedOptions) -> Self {
        let postgres = Arc::new(connect(url, options).await);
        let ledger = Ledger::new(1 << 16, 1 << 16);
        let stats = Arc::new(FeedStats::default());
        let feed = Feed::new(Arc::clone(&ledger), Clock::system(), Arc::clone(&stats));
        let task = spawn("follow", Arc::clone(&postgres).follow(feed.clone()));
        Self { postgres, ledger, feed, stats, task: Some(task) }
    }

    /// Installs the feed, and follows until the first answer can be proven.
    pub(crate) async fn on(server: &testbed::Postgres) -> Self {
        install(&connect(&server.url(), FeedOptions::default()).await).await;
        let node = Self::start(&server.url()).await;
        node.fresh().await;
        node
    }

    pub(crate) async fn fresh(&self) {
        self.soon("a fresh node", || self.feed.is_fresh() && self.ledger.status().floor.is_some()).await;
    }

    /// Waits until everything committed so far is applied.
    pub(crate) async fn caught_up(&self) {
        let token = self.postgres.token().await.unwrap();
        self.soon("the feed to catch up", || {
            self.ledger.epoch() == Some(token.epoch) && self.ledger.applied() >= token.position
        })
        .await;
    }

    pub(crate) async fn soon(&self, what: &str, fact: impl FnMut() -> bool) {
        if !eventually(fact).await {
            panic!("{what}: not within {PATIENCE:?}; {:?}; {:?}", self.ledger.status(), self.stats.problem());
        }
    }

    /// Which of the tags are raised by what `change` does.
    pub(crate) async fn raised<'t>(
        &self,
        tags: &[(&'t str, Tag)],
        change: impl AsyncFnOnce(),
    ) -> Vec<&'t str> {
        self.caught_up().await;
        let before: Vec<_> = tags.iter().map(|(_, tag)| self.ledger.last_change(&[*tag])).collect();
        change().await;
        self.caught_up().await;
        let moved = tags.iter().zip(before).filter(|((_, tag), was)| self.ledger.last_change(&[*tag]) > *was);
        moved.map(|((name, _), _)| *name).collect()
    }

    pub(crate) async fn stop(&mut self) {
        self.feed.stop();
        if let Some(task) = self.task.take() {
            tokio::time::timeout(PATIENCE, task.ended()).await.unwrap();
        }
    }

    /// Ends without a goodbye.
    pub(crate) async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.stop();
            task.ended().await;
        }
    }

    pub(crate) fn problem(&self) -> String {
        self.stats.problem().map(|problem| problem.to_string()).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.feed.stop();
    }
}

pub(crate) async fn eventually(mut fact: impl FnMut() -> bool) -> bool {
    let wait = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

/// A way to a server that can lead elsewhere, and be cut without either end noticing.
pub(crate) struct Link {
    address: SocketAddr,
    port: Arc<AtomicU16>,
    is_cut: watch::Sender<bool>,
}

impl Link {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = Arc::new(AtomicU16::new(port));
        let (is_cut, cut) = watch::channel(false);
        let target = Arc::clone(&port);
        spawn("a link", async move {
            while let Ok((inbound, _)) = listener.accept().await {
                let (port, cut) = (target.load(Ordering::Relaxed), cut.clone());
                spawn("a connection of a link", async move {
                    let Ok(outbound) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let (inbound, outbound) = (inbound.into_split(), outbound.into_split());
                    tokio::join!(pass(inbound.0, outbound.1, cut.clone()), pass(outbound.0, inbound.1, cut));
                });
            }
        });
        Self { address, port, is_cut }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    pub(crate) fn lead_to(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if cut.wait_for(|is_cut| !is_cut).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}

/// A session of an application.
pub(crate) async fn session(server: &testbed::Postgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    spawn("session", async move { drop(connection.await) });
    client
}

pub(crate) fn row(table: &str, key: &str) -> Tag {
    Tag::row(&format!("public.{table}"), [key])
}

pub(crate) fn any(table: &str) -> Tag {
    Tag::any(&format!("public.{table}"))
}

pub(crate) fn wide(table: &str) -> Tag {
    Tag::wide(&format!("public.{table}"))
}
