//! A proven hit allocates nothing: not through `peek`, and not through `get`. A key whose text is longer than what stands in its
//! own place costs one allocation, for the name that is looked up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use trueup_core::{
    apply::Feed,
    cache::{Cache, CacheBuilder},
    class::{ClassPlan, ColdStart},
    entry::{EpochId, Raw},
    env::BoxFuture,
    key::{CacheKey, Collation, ColumnForm, KeyForm, Part},
    proof::{Ask, Message, Position, Seen, Snapshot, Tag, Token},
    read::Class,
    receipt::ServedBy,
    source::{LoadError, Loaded, LoadedMany, Loader, Source},
};

const EPOCH: EpochId = EpochId::from_bytes([7; 16]);
const READS: usize = 1000;

/// A database that never changes.
struct Still;

impl Source for Still {
    fn describe(&self) -> String {
        "still".into()
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            feed.begin_epoch(EPOCH, Position(1), None);
            let transactions = Vec::new();
            let (previous, end) = (Position(1), Position(2));
            feed.apply(&Message { epoch: EPOCH, connection: 1, previous, end, transactions }, []).unwrap();
            let ask = Ask { at: feed.clock().now(), position: end, discards: feed.discards() };
            feed.answered(EPOCH, ask, None);
            feed.until_stopped().await;
        })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async { Ok(Token { epoch: EPOCH, position: Position(2) }) })
    }

    fn invalidate<'a>(&'a self, _tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        self.token()
    }
}

impl<K: Send + Sync + 'static> Loader<K, Raw> for Still {
    fn load<'a>(&'a self, _key: &'a K) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        let seen = Seen { snapshot: Snapshot::Sequence(Position(2)), upper: Position(2), epoch: EPOCH };
        let tags = [Tag::row("item", ["1"]), Tag::wide("item")].into_iter().collect();
        Box::pin(async move { Ok(Loaded { value: Some(Raw(vec![b'x'; 100].into())), tags, seen }) })
    }

    fn load_many<'a>(&'a self, _keys: &'a [K]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Refused("not asked here".into())) })
    }
}

/// A class that holds `key`, settled.
async fn holding<K>(key: &K, column: ColumnForm, cold_start: ColdStart) -> (Cache, Class<K, Raw>)
where
    K: CacheKey + Clone + Send + Sync + 'static,
{
    let plan = ClassPlan::display("item")
        .table("item")
        .key(["id"])
        .same_for_everyone()
        .cold_start(cold_start)
        .max_staleness(std::time::Duration::from_secs(60));
    let plan = plan.build().unwrap().cacheable().unwrap().clone();
    let form = KeyForm::columns([Part::new("id", column)]).unwrap();
    let cache = CacheBuilder::new(Arc::new(Still)).buckets(1 << 10).start();
    cache.ready().await;
    let class = cache.class(plan, form, Arc::new(Still)).unwrap();
    class.get(key).await.unwrap();
    (cache, class)
}

/// The answer of a future that must not wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

fn reads_allocate_nothing<K>(key: K, column: ColumnForm, cold_start: ColdStart)
where
    K: CacheKey + Clone + Send + Sync + 'static,
{
    assert_eq!(allocations(key, column, cold_start), 0);
}

/// Allocations of so many `READS`, each a `peek` and a `get`.
fn allocations<K>(key: K, column: ColumnForm, cold_start: ColdStart) -> u64
where
    K: CacheKey + Clone + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (_cache, class) = runtime.block_on(holding(&key, column, cold_start));
    let read = || {
        let peeked = class.peek(&key).unwrap().unwrap();
        let got = at_once(class.get(&key)).unwrap();
        assert_eq!((peeked.receipt().served_by, got.receipt().served_by), (ServedBy::L1, ServedBy::L1));
    };
    // The thread's own counters are made by its first read, and room for a hot key by the first that is sampled, one in 256.
    (0..READS).for_each(|_| read());
    let allocated = allocation_counter::measure(|| (0..READS).for_each(|_| read()));
    allocated.count_total
}

#[test]
fn a_hit_by_an_integer_allocates_nothing() {
    reads_allocate_nothing(42_i64, ColumnForm::Integer, ColdStart::Empty);
}

#[test]
fn a_hit_of_a_class_that_records_its_hot_keys_allocates_nothing() {
    let cold_start = ColdStart::Warm { keys_max: 10_000.try_into().unwrap() };
    reads_allocate_nothing(42_i64, ColumnForm::Integer, cold_start);
}

#[test]
fn a_hit_by_a_short_text_allocates_nothing() {
    reads_allocate_nothing(String::from("sku-0042"), ColumnForm::Text(Collation::Binary), ColdStart::Empty);
}

/// And not a second time: a hit needs one look alone.
#[test]
fn a_hit_by_a_long_text_allocates_its_name_alone() {
    let key = "sku-0042-".repeat(6);
    let allocated = allocations(key, ColumnForm::Text(Collation::Binary), ColdStart::Empty);
    assert_eq!(allocated, 2 * READS as u64);
}
