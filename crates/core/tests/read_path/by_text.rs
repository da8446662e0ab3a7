//! Classes that are read by keys in normal form: the way of servers, which have their keys as text.

use std::{borrow::Cow, num::NonZeroU64, sync::Arc};

use trueup_core::{
    class::{Bloom, ClassPlan, ClassPlanBuilder},
    env::{BoxFuture, Clock},
    key::Key,
    proof::{Position, TableTags, Tag, Unproven},
    read::{Class, Leased, RemoteFinding, WarmRules},
    receipt::ServedBy,
    source::{Catalogue, KeyPage, KeySet, LoadError, Loaded, LoadedMany, Loader, PageEnd},
    stats::WarmedFrom,
    tier::{
        RemoteTier,
        testing::{Fault, RemoteDouble},
    },
};

use super::{
    source::{Database, Kind},
    world::{World, by, form, items, ms, plan, secs, text},
};

/// The rows of the database by the text of their numbers.
struct ByText(Arc<Database>);

fn number(key: &Key) -> i64 {
    key.as_str().parse().unwrap()
}

fn key(id: i64) -> Key {
    form().key(&id).unwrap()
}

fn keys<const N: usize>(ids: [i64; N]) -> Vec<Key> {
    ids.into_iter().map(key).collect()
}

impl Loader<Key, String> for ByText {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<String>, LoadError>> {
        Box::pin(async move { self.0.load(&number(key)).await })
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<String>, LoadError>> {
        Box::pin(async move {
            let numbers: Vec<i64> = keys.iter().map(number).collect();
            self.0.load_many(&numbers).await
        })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.0.catalogue)
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<Key>>, Cow<'static, str>> {
        Ok(Arc::new(KeysByText(self.0.key_set()?)))
    }
}

struct KeysByText(Arc<dyn KeySet<i64>>);

impl KeySet<Key> for KeysByText {
    fn tag(&self, key: &Key) -> Option<Tag> {
        self.0.tag(&number(key))
    }

    fn table(&self) -> TableTags {
        self.0.table()
    }

    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        self.0.page(after, rows_max)
    }
}

/// A class of the same rows beside the world's own.
fn opened(world: &World, plan_of_class: ClassPlanBuilder) -> Class<Key, String> {
    let loader = Arc::new(ByText(Arc::clone(&world.database)));
    world.cache.class_by_text(plan(plan_of_class), form(), loader as _).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_look_at_memory_finds_what_was_read_and_what_the_reader_accepts() {
    let world = World::usual().await;
    let class = opened(&world, items());
    world.write(1, "a");
    assert!(class.peek_canonical(&key(1), None, None).is_none(), "nobody has read it yet");
    let read = class.read_canonical(&key(1)).run().await.unwrap();
    assert_eq!((text(&read), by(&read)), (Some("a"), ServedBy::Source));
    let seen = class.peek_canonical(&key(1), None, None).unwrap();
    assert_eq!((text(&seen), by(&seen)), (Some("a"), ServedBy::L1));
    world.pass(ms(200)).await;
    assert!(class.peek_canonical(&key(1), None, Some(ms(200))).is_some());
    assert!(class.peek_canonical(&key(1), None, Some(ms(199))).is_none());
    let token = world.database.commit(&[(1, Some("b"))]);
    assert!(class.peek_canonical(&key(1), Some(token), None).is_none());
    assert_eq!(world.database.loads(), 1, "to look loads nothing");
}

#[tokio::test(start_paused = true)]
async fn several_keys_are_answered_in_their_order() {
    let world = World::usual().await;
    let class = opened(&world, items());
    for (id, value) in [(1, "a"), (2, "b"), (3, "c")] {
        world.write(id, value);
    }
    for consistent in [false, true] {
        let keys = keys([3, 9, 1]);
        let read = class.read_many_canonical(&keys);
        let read = if consistent { read.consistent() } else { read };
        let answers = read.run().await.unwrap();
        assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("c"), None, Some("a")]);
    }
}

#[tokio::test(start_paused = true)]
async fn several_keys_that_clients_fill_are_answered_where_one_has() {
    let filled = ClassPlan::display("rate")
        .external()
        .key(["id"])
        .same_for_everyone()
        .age_bounded("treasury", "an API of somebody else's")
        .life(secs(60))
        .jitter(0.0);
    let world = World::usual().await;
    let class = opened(&world, filled);
    let Leased::Granted(lease) = class.lease_canonical(&key(2)).await.unwrap() else { panic!("no lease") };
    class.fill_canonical(&key(2), lease.id, Some("b".to_owned())).unwrap();
    let answers = class.read_many_canonical(&keys([1, 2, 3])).run_filled().await.unwrap();
    let values: Vec<_> = answers.iter().map(|answer| answer.as_ref().and_then(text)).collect();
    assert_eq!(values, [None, Some("b"), None]);
}

#[tokio::test(start_paused = true)]
async fn whether_a_key_is_surely_absent_is_known_where_the_keys_there_are_are() {
    let world = World::usual().await;
    world.write(1, "a");
    assert_eq!(opened(&world, items()).is_surely_absent(&key(7)), None, "this class does not know them");
    let class = opened(&world, items().no_negative().bloom(Bloom::new(NonZeroU64::new(20_000).unwrap())));
    assert_eq!(class.is_surely_absent(&key(7)), Some(false), "not before they have been read");
    for _ in 0..200 {
        world.pass_healthily(ms(50)).await;
        tokio::time::sleep(ms(1)).await;
    }
    assert!(class.filter().unwrap().answers);
    assert_eq!((class.is_surely_absent(&key(7)), class.is_surely_absent(&key(1))), (Some(true), Some(false)));
    let counts = class.stats().counts();
    assert_eq!(
        counts.served.iter().map(|(_, count)| count).sum::<u64>(),
        0,
        "whoever asks why is not counted"
    );
    world.write(7, "new");
    assert_eq!(class.is_surely_absent(&key(7)), Some(false));
}

#[tokio::test(start_paused = true)]
async fn what_memory_holds_is_shown_with_what_a_read_would_say_and_counted_nowhere() {
    let world = World::usual().await;
    let class = opened(&world, items());
    world.write(1, "a");
    assert!(class.inspect(&key(1)).is_none());
    class.read_canonical(&key(1)).run().await.unwrap();
    let before = class.stats().counts();
    let held = class.inspect(&key(1)).unwrap();
    assert_eq!(held.entry.value().map(String::as_str), Some("a"));
    let receipt = held.verdict.unwrap();
    assert_eq!((receipt.served_by, receipt.proven), (ServedBy::L1, true));
    world.write(1, "b");
    let changed = class.inspect(&key(1)).unwrap();
    assert_eq!(changed.entry.value().map(String::as_str), Some("a"), "a read would not show it");
    assert_eq!(changed.verdict.unwrap_err(), Unproven::Changed);
    let after = class.stats().counts();
    assert_eq!((after.served, after.misses), (before.served, before.misses));
}

#[tokio::test(start_paused = true)]
async fn what_the_remote_tier_holds_is_shown_and_not_kept() {
    let clock = Clock::stepped();
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let database = Database::new(Kind::Sequence, clock.clone());
    let node = |tier: Option<Arc<dyn RemoteTier>>| {
        World::on(Arc::clone(&database), clock.clone(), items().l2(), tier)
    };
    let (one, two) = (node(Some(Arc::clone(&remote) as _)).await, node(Some(Arc::clone(&remote) as _)).await);
    let alone = node(None).await;
    let class = opened(&two, items().l2());
    assert!(opened(&alone, items().l2()).inspect_remote(&key(1)).await.is_none(), "it has no remote tier");
    assert!(opened(&two, items()).inspect_remote(&key(1)).await.is_none(), "the class has no part of it");
    let found = async || class.inspect_remote(&key(1)).await.unwrap().found;
    assert!(matches!(found().await, RemoteFinding::Nothing));
    one.write(1, "a");
    let loaded = one.get(1).await;
    one.turns().await;
    let RemoteFinding::Genuine(entry) = found().await else { panic!("not genuine") };
    assert_eq!((entry.absent, entry.version), (false, loaded.version()));
    assert!(entry.verdict.is_ok() && entry.proven_at > Position::ZERO && entry.upper > Position::ZERO);
    assert!(class.memory().is_empty(), "nothing is kept of it");
    remote.script([Some(Fault::Unavailable)]);
    assert!(matches!(found().await, RemoteFinding::NoAnswer(_)));
    remote.script([Some(Fault::Corrupt)]);
    assert!(matches!(found().await, RemoteFinding::Refused { .. }));
    let place = class.inspect_remote(&key(1)).await.unwrap();
    assert!(remote.held(&place.key).is_some(), "it names where the entry lies");
}

#[tokio::test(start_paused = true)]
async fn keys_are_warmed_by_their_text_as_well() {
    let world = World::usual().await;
    let class = opened(&world, items());
    world.write(1, "a");
    let warmed = class.warm_canonical(&keys([1, 2]), &WarmRules::within(secs(10)), |_| ()).await;
    assert_eq!((warmed.of(WarmedFrom::Source), warmed.total()), (2, 2));
    world.database.pump();
    let seen = class.peek_canonical(&key(1), None, None).unwrap();
    assert_eq!((text(&seen), by(&seen)), (Some("a"), ServedBy::L1));
}
