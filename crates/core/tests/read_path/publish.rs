//! Write-through in every order of commit, load, feed and another writer; and what deleting loses beside it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use trueup_core::{
    class::{ClassPlan, Fallback, Pattern},
    env::{self, BoxFuture},
    error::PutError,
    key::Key,
    proof::Tags,
    receipt::ServedBy,
    source::{LoadError, Loaded, LoadedMany, Loader, Outcome},
    tier::{RemoteKey, RemotePut, RemoteResult, RemoteServer, RemoteTier, testing::RemoteDouble},
    write::Fate,
};

use super::{
    source::{Database, Kind},
    world::{BOUND, World, by, form, items, ms, plan, secs, text},
};

fn key(id: i64) -> Key {
    form().key(&id).unwrap()
}

fn committed() -> Outcome {
    let (ended, outcome) = Outcome::open();
    ended.tell(true);
    outcome
}

fn through() -> trueup_core::class::ClassPlanBuilder {
    items().pattern(Pattern::WriteThrough)
}

#[tokio::test(start_paused = true)]
async fn a_published_row_answers_at_once_and_by_its_token_once_the_feed_has_come_so_far() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, through()).await;
        world.write(1, "old");
        assert_eq!(text(&world.get(1).await), Some("old"));
        let token = world.database.commit(&[(1, Some("new"))]);
        let load = world.database.load(&1);
        let published = world.items.publish_after(&key(1), load, committed()).await;
        assert_eq!(published.fate, Fate::Kept, "{kind:?}");
        let loads = world.database.loads();
        let seen = world.get(1).await;
        assert_eq!((text(&seen), by(&seen)), (Some("new"), ServedBy::L1));
        world.database.pump();
        let own = world.items.read(&1).token(token).run().await.unwrap();
        assert_eq!((text(&own), by(&own)), (Some("new"), ServedBy::L1));
        assert_eq!(world.database.loads(), loads, "nobody has asked the source since");
        assert_eq!(world.items.stats().counts().published[0], ("kept", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_not_commit_is_not_published() {
    let world = World::new(Kind::Sequence, through()).await;
    world.write(1, "old");
    for told in [true, false] {
        let (ended, outcome) = Outcome::open();
        if told {
            ended.tell(false);
        }
        drop(ended);
        let published = world.items.publish_after(&key(1), world.database.load(&1), outcome).await;
        assert_eq!(published.fate, Fate::NotLoaded(LoadError::Lost));
        assert_eq!(world.items.memory().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_another_commit_has_overtaken_is_not_served() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, through()).await;
        world.write(1, "first");
        let database = &world.database;
        let overtaken = async {
            let loaded = database.load(&1).await;
            database.commit(&[(1, Some("second"))]);
            database.pump();
            loaded
        };
        let published = world.items.publish_after(&key(1), overtaken, committed()).await;
        assert!(matches!(published.fate, Fate::Rejected(_)), "{kind:?}: {published:?}");
        assert_eq!(text(&world.get(1).await), Some("second"));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_publications_the_one_that_has_seen_more_stays_while_the_feed_is_silent() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, through()).await;
        world.write(1, "zero");
        let database = &world.database;
        database.commit(&[(1, Some("first"))]);
        let slow = async {
            let loaded = database.load(&1).await;
            database.commit(&[(1, Some("second"))]);
            let later = world.items.publish_after(&key(1), database.load(&1), committed()).await;
            assert_eq!(later.fate, Fate::Kept);
            loaded
        };
        world.items.publish_after(&key(1), slow, committed()).await;
        assert_eq!(text(&world.get(1).await), Some("second"), "{kind:?}");
        database.pump();
        assert_eq!(text(&world.get(1).await), Some("second"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_keeps_the_writer_for_a_second_at_most() {
    let world = World::new(Kind::Sequence, through()).await;
    let before = tokio::time::Instant::now();
    let published = world.items.publish_after(&key(1), std::future::pending(), committed()).await;
    assert!(matches!(published.fate, Fate::NotLoaded(LoadError::TimedOut { limit_ms: 1_000 })));
    assert_eq!(before.elapsed(), Duration::from_secs(1));
}

/// What stands in for a source that fails is the newest that is known, in whatever order it came.
#[tokio::test(start_paused = true)]
async fn of_two_publications_the_one_that_has_seen_more_stands_in() {
    let world = World::new(Kind::Sequence, through().fallback(Fallback::LastKnownGood)).await;
    world.write(1, "zero");
    let database = &world.database;
    database.commit(&[(1, Some("first"))]);
    let slow = async {
        let loaded = database.load(&1).await;
        database.commit(&[(1, Some("second"))]);
        let later = world.items.publish_after(&key(1), database.load(&1), committed()).await;
        assert_eq!(later.fate, Fate::Kept);
        loaded
    };
    world.items.publish_after(&key(1), slow, committed()).await;
    world.items.memory().clear();
    database.go_down();
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("second"), ServedBy::Stale));
}

/// The same rows as something that no feed tells of: an upstream.
struct Untold(Arc<Database>);

impl Loader<i64, String> for Untold {
    fn load<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Loaded<String>, LoadError>> {
        Box::pin(async move { Ok(Loaded { tags: Tags::new(), ..self.0.load(key).await? }) })
    }

    fn load_many<'a>(&'a self, keys: &'a [i64]) -> BoxFuture<'a, Result<LoadedMany<String>, LoadError>> {
        self.0.load_many(keys)
    }
}

/// A reader reads the old row, is slow, and stores it after everything: deleting twice leaves it there until its life ends, the proof
/// never lets it in. A reader who is faster than the pause is caught by both.
#[tokio::test(start_paused = true)]
async fn delete_update_delete_serves_what_is_stale_where_the_proof_does_not() {
    const PAUSE: Duration = Duration::from_millis(500);
    for (reader_takes, is_lost) in [(ms(100), false), (ms(800), true)] {
        let world = World::usual().await;
        let twice = ClassPlan::display("twice")
            .table("item")
            .key(["id"])
            .same_for_everyone()
            .age_bounded("tests", "compared with the proof")
            .life(secs(60))
            .jitter(0.0)
            .pattern(Pattern::DeleteUpdateDelete { pause: PAUSE });
        let upstream = Arc::new(Untold(Arc::clone(&world.database)));
        let twice = world.cache.class::<i64, String>(plan(twice), form(), upstream as _).unwrap();
        world.write(1, "old");
        // Both read the old row, and are slow to answer.
        world.database.close_gate();
        let proven = world.start_get(1);
        let reading = env::spawn("a slow reader", {
            let twice = twice.clone();
            async move { drop(twice.get(&1).await.unwrap()) }
        });
        world.database.until_waiting(2).await;
        let update = async || {
            world.write(1, "new");
            Ok::<_, PutError>(())
        };
        twice.delete_update_delete(&1, update).await.unwrap();
        world.pass(reader_takes).await;
        world.database.open_gate();
        proven.end().await.unwrap();
        reading.ended().await;
        world.pass(PAUSE * 2).await;
        world.database.ask();
        let by_deletes = twice.get(&1).await.unwrap();
        let expected = if is_lost { "old" } else { "new" };
        assert_eq!(by_deletes.value().map(String::as_str), Some(expected), "{reader_takes:?}");
        assert_eq!(
            by_deletes.receipt().proven,
            !is_lost,
            "what memory holds is not proven; what was just loaded is the source's"
        );
        assert_eq!(text(&world.get(1).await), Some("new"), "the proof, beside it");
        if is_lost {
            // For as long as its life lasts.
            world.pass(secs(30)).await;
            assert_eq!(twice.get(&1).await.unwrap().value().map(String::as_str), Some("old"));
        }
    }
    assert!(BOUND < secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_class_says_whether_it_is_written_through() {
    assert!(World::new(Kind::Sequence, through()).await.items.is_written_through());
    assert!(!World::usual().await.items.is_written_through());
}

/// A remote tier that says of its servers whether they are left alone.
#[derive(Debug)]
struct Servers {
    tier: RemoteDouble,
    left_alone: &'static [bool],
}

impl RemoteTier for Servers {
    fn get<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<Option<Bytes>>> {
        self.tier.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [RemoteKey]) -> BoxFuture<'a, Vec<RemoteResult<Option<Bytes>>>> {
        self.tier.get_many(keys)
    }

    fn put(&self, put: RemotePut) -> BoxFuture<'_, RemoteResult<()>> {
        self.tier.put(put)
    }

    fn put_many(&self, puts: Vec<RemotePut>) -> BoxFuture<'_, Vec<RemoteResult<()>>> {
        self.tier.put_many(puts)
    }

    fn delete<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<()>> {
        self.tier.delete(key)
    }

    fn servers(&self) -> Vec<RemoteServer> {
        let server = |left_alone: &bool| RemoteServer {
            endpoint: "tier:6379".into(),
            left_alone: left_alone.then(|| "it is down".into()),
            memory: None,
        };
        self.left_alone.iter().map(server).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_told_when_no_server_of_the_remote_tier_takes_the_row() {
    let all: [(&'static [bool], Fate); 4] = [
        (&[], Fate::Kept),
        (&[false], Fate::Kept),
        (&[true, false], Fate::Kept),
        (&[true, true], Fate::KeptHere),
    ];
    for (left_alone, fate) in all {
        let clock = env::Clock::stepped();
        let database = Database::new(Kind::Sequence, clock.clone());
        let tier = Servers { tier: RemoteDouble::new(clock.clone(), 1), left_alone };
        let world = World::on(database, clock, through().l2(), Some(Arc::new(tier) as _)).await;
        world.write(1, "new");
        let published = world.items.publish_after(&key(1), world.database.load(&1), committed()).await;
        assert_eq!(published.fate, fate, "{left_alone:?}");
    }
}
