//! One node in front of the scripted database.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::sync::oneshot;
use trueup_core::{
    cache::{Cache, CacheBuilder},
    class::{CacheablePlan, ClassPlan, ClassPlanBuilder},
    entry::{KeyRing, Secret},
    env::{self, Clock},
    error::ReadError,
    guard::LoadLimits,
    key::{ColumnForm, KeyForm, Part},
    read::Class,
    receipt::{Cached, ServedBy},
    tier::RemoteTier,
};

use super::source::{Database, Kind};

/// Bound of the classes of these tests, unless one says otherwise.
pub(crate) const BOUND: Duration = Duration::from_secs(1);
/// Turns that a test yields so that every task gets as far as it can.
const TURNS: usize = 50;
const BUCKETS: usize = 1 << 12;

pub(crate) type Items = Class<i64, String>;
pub(crate) type Answer = Result<Cached<String>, ReadError>;

/// A class of rows by id, without jitter, with [`BOUND`].
pub(crate) fn items() -> ClassPlanBuilder {
    ClassPlan::display("item")
        .table("item")
        .key(["id"])
        .same_for_everyone()
        .jitter(0.0)
        .max_staleness(BOUND)
        .life(secs(60))
        .hard_age(secs(600))
        .negative_life(secs(30))
        .hard_timeout(secs(5))
}

pub(crate) fn plan(builder: ClassPlanBuilder) -> CacheablePlan {
    builder.build().unwrap().cacheable().unwrap().clone()
}

pub(crate) fn form() -> KeyForm {
    KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap()
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A secret that all nodes of a test share.
pub(crate) fn ring() -> KeyRing {
    let secret = "0123456789abcdef".repeat(4);
    KeyRing::new(&Secret::from_hex(&secret).unwrap())
}

/// A node, its class of items and the database behind it.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) database: Arc<Database>,
    pub(crate) cache: Cache,
    pub(crate) items: Items,
}

impl World {
    /// A fresh node on an empty database.
    pub(crate) async fn new(kind: Kind, plan_of_items: ClassPlanBuilder) -> Self {
        let clock = Clock::stepped();
        let database = Database::new(kind, clock.clone());
        Self::on(database, clock, plan_of_items, None).await
    }

    /// A fresh node on `database`.
    pub(crate) async fn on(
        database: Arc<Database>,
        clock: Clock,
        plan_of_items: ClassPlanBuilder,
        remote: Option<Arc<dyn RemoteTier>>,
    ) -> Self {
        let mut builder = Self::builder(&database, &clock);
        if let Some(remote) = remote {
            builder = builder.remote(remote, ring());
        }
        Self::begin(builder, database, clock, plan_of_items).await
    }

    /// A fresh node that may ask so much of `database`.
    pub(crate) async fn limited(
        database: Arc<Database>,
        clock: Clock,
        plan_of_items: ClassPlanBuilder,
        limits: LoadLimits,
    ) -> Self {
        let builder = Self::builder(&database, &clock).load_limits(limits);
        Self::begin(builder, database, clock, plan_of_items).await
    }

    fn builder(database: &Arc<Database>, clock: &Clock) -> CacheBuilder {
        let source: Arc<Database> = Arc::clone(database);
        CacheBuilder::new(source).clock(clock.clone()).buckets(BUCKETS)
    }

    async fn begin(
        builder: CacheBuilder,
        database: Arc<Database>,
        clock: Clock,
        plan_of_items: ClassPlanBuilder,
    ) -> Self {
        let cache = builder.start();
        cache.ready().await;
        let items = cache.class(plan(plan_of_items), form(), Arc::clone(&database) as _).unwrap();
        Self { clock, database, cache, items }
    }

    /// A node on SQLite's kind of database with the usual plan.
    pub(crate) async fn usual() -> Self {
        Self::new(Kind::Sequence, items()).await
    }

    /// Commits and has the feed tell it.
    pub(crate) fn write(&self, key: i64, value: &str) {
        self.database.commit(&[(key, Some(value))]);
        self.database.pump();
    }

    /// Time passes, for clock and timers alike; the feed is silent meanwhile.
    pub(crate) async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        tokio::time::advance(span).await;
        self.turns().await;
    }

    /// Time passes and the feed is healthy at its end.
    pub(crate) async fn pass_healthily(&self, span: Duration) {
        self.pass(span).await;
        self.database.pump();
    }

    /// Lets every task get as far as it can without time passing.
    pub(crate) async fn turns(&self) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn get(&self, key: i64) -> Cached<String> {
        self.items.get(&key).await.unwrap()
    }

    /// Reads, and says whether that failed.
    pub(crate) async fn get_err(&self, key: i64) -> bool {
        self.items.get(&key).await.is_err()
    }

    /// A read that goes on while the test does other things.
    pub(crate) fn start_get(&self, key: i64) -> Pending<Answer> {
        let items = self.items.clone();
        start(async move { items.get(&key).await })
    }

    /// How many reads were answered from `by`.
    pub(crate) fn served(&self, by: ServedBy) -> u64 {
        self.items.stats().counts().served.iter().find(|(from, _)| *from == by).unwrap().1
    }

    /// How many reads missed for this reason.
    pub(crate) fn missed(&self, why: &str) -> u64 {
        self.items.stats().counts().misses.iter().find(|(reason, _)| *reason == why).unwrap().1
    }
}

/// The result of something that runs as a task.
pub(crate) struct Pending<T>(oneshot::Receiver<T>);

impl<T> Pending<T> {
    pub(crate) async fn end(self) -> T {
        self.0.await.expect("the task ended with a result")
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !self.0.is_empty()
    }
}

pub(crate) fn start<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Pending<T> {
    let (sender, receiver) = oneshot::channel();
    env::spawn("test", async move {
        let _ = sender.send(future.await);
    });
    Pending(receiver)
}

pub(crate) fn text(answer: &Cached<String>) -> Option<&str> {
    answer.value().map(String::as_str)
}

pub(crate) fn by<V>(answer: &Cached<V>) -> ServedBy {
    answer.receipt().served_by
}

/// Polls a reader once, as whoever then turns to something else does.
pub(crate) async fn begin(mut reader: Pin<&mut impl Future>) {
    poll_fn(|context| {
        assert!(reader.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}
