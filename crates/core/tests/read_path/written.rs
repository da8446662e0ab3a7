//! Rows written through the cache: which classes take them, and what readers see of those that the source does not have yet.

use std::{borrow::Cow, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use trueup_core::{
    behind::{Applied, ApplyError, Batch, BehindConfig, JournalId, Sink, WriteBehind},
    cache::CacheBuilder,
    class::{ClassPlanBuilder, Pattern},
    entry::Raw,
    env::{BoxFuture, Clock},
    error::{PutError, ReadError},
    key::Key,
    proof::Token,
    read::Class,
    receipt::{Cached, Miss, ServedBy},
    source::{AfterCommit, LoadError, Loaded, LoadedMany, Loader, RowWriter},
    write::{Row, RowChange, Written},
};

use super::{
    source::{Database, Kind},
    world::{World, by, form, items, ms, plan, secs},
};

/// The rows of the database as JSON.
struct Rows {
    database: Arc<Database>,
    /// Whether a change gives every column.
    whole: bool,
}

fn raw(value: Option<String>) -> Option<Raw> {
    value.map(|json| Raw(json.into_bytes().into()))
}

impl Database {
    /// Makes a change of a row of JSON.
    async fn change(&self, key: &str, change: &RowChange) -> Token {
        let number = key.parse().unwrap();
        let base = self.load(&number).await.unwrap().value;
        let row = change.over(base.as_deref().map(str::as_bytes)).unwrap();
        self.commit(&[(number, row.as_deref().map(|row| std::str::from_utf8(row).unwrap()))])
    }
}

impl Loader<i64, Raw> for Rows {
    fn load<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async move {
            let Loaded { value, tags, seen } = self.database.load(key).await?;
            Ok(Loaded { value: raw(value), tags, seen })
        })
    }

    fn load_many<'a>(&'a self, keys: &'a [i64]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async move {
            let LoadedMany { values, seen } = self.database.load_many(keys).await?;
            let values = values.into_iter().map(|(value, tags)| (raw(value), tags)).collect();
            Ok(LoadedMany { values, seen })
        })
    }

    fn writer(&self) -> Result<&dyn RowWriter<Raw>, Cow<'static, str>> {
        Ok(self)
    }
}

impl RowWriter<Raw> for Rows {
    fn check(&self, _: &Key, change: RowChange) -> Result<(RowChange, bool), String> {
        Ok((change, self.whole))
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        change: &'a RowChange,
        _: &'a dyn AfterCommit<Raw>,
    ) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move { Ok(self.database.change(key.as_str(), change).await) })
    }
}

/// Takes accepted writes to the database, one batch for each that it is let.
struct Held {
    database: Arc<Database>,
    batches: Semaphore,
}

impl Sink for Held {
    fn prepare<'a>(&'a self, _: &'a JournalId) -> BoxFuture<'a, Result<u64, LoadError>> {
        Box::pin(async { Ok(0) })
    }

    fn apply<'a>(&'a self, _: &'a JournalId, batch: &'a Batch) -> BoxFuture<'a, Result<Applied, ApplyError>> {
        Box::pin(async move {
            self.batches.acquire().await.unwrap().forget();
            let mut token = self.database.token_at(0);
            for change in &batch.changes {
                token = self.database.change(&change.key, &change.change).await;
            }
            Ok(Applied { token, refused: Vec::new() })
        })
    }
}

fn behind() -> ClassPlanBuilder {
    items()
        .age_bounded("shop team", "counts are shown and nothing rests on them")
        .pattern(Pattern::WriteBehind { loss: "counts".into() })
}

fn row(json: &str) -> Row {
    Row::parse(json.as_bytes()).unwrap()
}

fn json(answer: &Cached<Raw>) -> &str {
    std::str::from_utf8(&answer.value().unwrap().0).unwrap()
}

/// A class that is written behind, whose writes wait for the test.
struct Behind {
    world: World,
    rows: Class<i64, Raw>,
    sink: Arc<Held>,
    journal: WriteBehind,
    folder: PathBuf,
}

impl Behind {
    async fn new(name: &str, whole: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("trueup-written-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let clock = Clock::stepped();
        let database = Database::new(Kind::Sequence, clock.clone());
        let sink = Arc::new(Held { database: Arc::clone(&database), batches: Semaphore::new(0) });
        let config = BehindConfig { clock: clock.clone(), ..BehindConfig::new(&folder) };
        let journal = WriteBehind::open(config, Arc::clone(&sink) as _).await.unwrap();
        let source: Arc<Database> = Arc::clone(&database);
        let builder = CacheBuilder::new(source).clock(clock.clone()).buckets(1 << 8);
        let cache = builder.write_behind(journal.clone()).start();
        cache.ready().await;
        let rows = Rows { database: Arc::clone(&database), whole };
        let rows = cache.class::<i64, Raw>(plan(behind()), form(), Arc::new(rows) as _).unwrap();
        let items = cache.class(plan(items()), form(), Arc::clone(&database) as _).unwrap();
        Self { world: World { clock, database, cache, items }, rows, sink, journal, folder }
    }

    async fn put(&self, key: i64, json: &str) {
        let written = self.rows.put(&key, row(json)).await.unwrap();
        assert!(matches!(written, Written::Accepted { .. }));
    }

    /// The source takes what was accepted.
    async fn let_through(&self) {
        self.sink.batches.add_permits(1);
        while self.journal.counts().applied == 0 {
            tokio::time::sleep(ms(1)).await;
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_lies_over_the_row_as_the_source_has_it() {
    let behind = Behind::new("parts", false).await;
    behind.world.write(1, r#"{"a":1,"b":2}"#);
    behind.world.write(2, r#"{"a":7}"#);
    behind.put(1, r#"{"a":5}"#).await;
    let one = behind.rows.get(&1).await.unwrap();
    assert_eq!((json(&one), by(&one), one.receipt().proven), (r#"{"a":5,"b":2}"#, ServedBy::Pending, false));
    let both = behind.rows.get_many(&[1, 2]).await.unwrap();
    assert_eq!(both.iter().map(json).collect::<Vec<_>>(), [r#"{"a":5,"b":2}"#, r#"{"a":7}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_written_as_a_whole_needs_no_source_to_be_read() {
    let behind = Behind::new("whole", true).await;
    behind.put(1, r#"{"a":5}"#).await;
    behind.world.database.go_down();
    assert_eq!(json(&behind.rows.get(&1).await.unwrap()), r#"{"a":5}"#);
    let several = behind.rows.get_many(&[1]).await.unwrap();
    assert_eq!((json(&several[0]), by(&several[0])), (r#"{"a":5}"#, ServedBy::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_reach_the_source_is_shown_for_the_life_of_the_class() {
    let behind = Behind::new("life", true).await;
    behind.put(1, r#"{"a":5}"#).await;
    behind.world.pass_healthily(secs(60)).await;
    let last = behind.rows.get(&1).await.unwrap();
    assert_eq!((json(&last), last.receipt().age), (r#"{"a":5}"#, secs(60)));
    behind.world.pass_healthily(ms(1)).await;
    let error = behind.rows.get(&1).await.unwrap_err();
    assert!(matches!(error, ReadError::Load(LoadError::Unavailable(_))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_has_told_back_is_laid_over_nothing_any_more() {
    let behind = Behind::new("told", true).await;
    behind.put(1, r#"{"a":5}"#).await;
    behind.let_through().await;
    assert_eq!(by(&behind.rows.get(&1).await.unwrap()), ServedBy::Pending, "the feed has not told it");
    behind.world.database.pump();
    behind.world.pass(secs(1)).await;
    let answer = behind.rows.get(&1).await.unwrap();
    assert_eq!((json(&answer), by(&answer)), (r#"{"a":5}"#, ServedBy::Source));
    assert_eq!(answer.receipt().miss, Some(Miss::Cold), "a miss like any other");
}

#[tokio::test(start_paused = true)]
async fn only_a_class_that_says_so_is_written_through_the_cache() {
    let world = World::usual().await;
    let pause = Duration::from_millis(500);
    let deletes = items().age_bounded("tests", "a comparison").pattern(Pattern::DeleteUpdateDelete { pause });
    for (class, is_written) in
        [(items(), false), (items().pattern(Pattern::WriteThrough), true), (deletes, true)]
    {
        let rows = Rows { database: Arc::clone(&world.database), whole: true };
        let rows = world.cache.class::<i64, Raw>(plan(class), form(), Arc::new(rows) as _).unwrap();
        match rows.put(&1, row(r#"{"a":5}"#)).await {
            Ok(Written::Committed { .. }) => assert!(is_written),
            Err(PutError::NotWritten { .. }) => assert!(!is_written),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_beyond_the_limit_of_its_class_is_not_written() {
    let world = World::usual().await;
    let small = items().pattern(Pattern::WriteThrough).value_bytes_max(8);
    let rows = Rows { database: Arc::clone(&world.database), whole: true };
    let rows = world.cache.class::<i64, Raw>(plan(small), form(), Arc::new(rows) as _).unwrap();
    for (json, fits) in [(r#"{"a":5}"#, true), (r#"{"a":56}"#, true), (r#"{"a":567}"#, false)] {
        let written = rows.put(&1, row(json)).await;
        assert_eq!(written.is_ok(), fits, "{json}: {written:?}");
        assert!(fits || matches!(written, Err(PutError::Row(_))));
    }
}
