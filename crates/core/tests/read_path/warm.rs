//! Keys that are read before anybody asks for them.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use trueup_core::{
    class::{AdmissionPlan, ClassPlanBuilder, ColdStart, Strategy},
    entry::Raw,
    env::BoxFuture,
    env::Clock,
    guard::LoadLimits,
    key::Key,
    read::{WARM_BATCH, WarmRules},
    receipt::ServedBy,
    source::{Catalogue, LoadError, Loaded, LoadedMany, Loader},
    stats::{Warmed, WarmedFrom},
    tier::testing::RemoteDouble,
};

use super::{
    source::{Act, Database, Kind},
    world::{World, by, items, ms, secs, start, text},
};

/// Reads of which at least one is sampled, whatever the thread has read before.
const ONE_SAMPLE: usize = 256;

fn warming(keys: u32) -> ClassPlanBuilder {
    items().cold_start(ColdStart::Warm { keys_max: NonZeroU32::new(keys).unwrap() })
}

/// Loads nothing at all.
struct Nothing;

impl Loader<Key, Raw> for Nothing {
    fn load<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Unfilled) })
    }

    fn load_many<'a>(&'a self, _: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Unfilled) })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::default()
    }
}

async fn warm(world: &World, keys: &[i64]) -> Warmed {
    world.items.warm(keys, &WarmRules::within(secs(10)), |_| ()).await.unwrap()
}

/// Reads `key` so often that it is sampled so many times.
async fn heat(world: &World, key: i64, samples: usize) {
    for _ in 0..samples * ONE_SAMPLE {
        world.get(key).await;
    }
    world.turns().await;
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_to_start_warm_records_its_hot_keys_and_refreshes_nothing_by_that() {
    let world = World::new(Kind::Sequence, warming(100)).await;
    world.write(1, "a");
    world.write(2, "b");
    heat(&world, 1, 2).await;
    heat(&world, 2, 6).await;
    let recorded = world.items.record_hot_keys(100);
    let keys: Vec<_> = recorded.iter().map(|one| (one.key.as_str(), one.count)).collect();
    assert_eq!(keys, [("2", 6), ("1", 2)], "the hottest first");
    assert_eq!(world.items.hot_keys(1), [2]);
    let loads = world.database.loads();
    world.write(2, "c");
    world.pass_healthily(secs(1)).await;
    assert_eq!(world.database.loads(), loads, "nobody asked for what changed");
    assert_eq!(by(&world.get(2).await), ServedBy::Source);
    let cold = World::new(Kind::Sequence, items().strategy(Strategy::Wait)).await;
    heat(&cold, 1, 2).await;
    assert!(cold.items.record_hot_keys(100).is_empty(), "a class that starts empty records nothing");
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_is_counted_on_and_keys_that_are_none_any_more_are_left_out() {
    let world = World::new(Kind::Sequence, warming(100)).await;
    let class = world
        .cache
        .class_by_text::<Raw>(super::world::plan(warming(100)), super::world::form(), Arc::new(Nothing) as _)
        .unwrap();
    let one = |key: &str, count| trueup_core::policy::RecordedKey { key: key.into(), count, error: 0 };
    let known = class.restore_hot_keys(&[one("7", 9), one("seven", 5), one("3", 2)]);
    assert_eq!(known.iter().map(|key| key.as_str()).collect::<Vec<_>>(), ["7", "3"]);
    let recorded = class.record_hot_keys(9);
    assert_eq!(
        recorded.iter().map(|one| (one.key.as_str(), one.count)).collect::<Vec<_>>(),
        [("7", 9), ("3", 2)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_hot_before_a_restart_is_kept_warm_before_anybody_reads_it() {
    let world = World::new(Kind::Sequence, items()).await;
    let kept_warm = || warming(100).strategy(Strategy::Background { ahead: secs(1) });
    let class = world
        .cache
        .class_by_text::<Raw>(super::world::plan(kept_warm()), super::world::form(), Arc::new(Nothing) as _)
        .unwrap();
    world.pass_healthily(secs(1)).await;
    let one = trueup_core::policy::RecordedKey { key: "7".into(), count: 9, error: 0 };
    let other = trueup_core::policy::RecordedKey { key: "8".into(), ..one.clone() };
    assert_eq!(class.restore_hot_keys(&[one, other]).len(), 2);
    world.turns().await;
    world.pass_healthily(ms(100)).await;
    let refreshed = class.stats().counts().stampede.refreshed;
    assert_eq!(refreshed.iter().map(|(_, count)| count).sum::<u64>(), 2, "{refreshed:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_loaded_together_and_readers_then_find_them_in_memory() {
    let world = World::new(Kind::Sequence, warming(100)).await;
    world.write(1, "a");
    world.write(2, "b");
    let (batches, seen) = (world.database.batches(), Arc::new(AtomicU64::new(0)));
    let told = Arc::clone(&seen);
    let done = move |batch: &Warmed| {
        told.fetch_add(batch.total(), Ordering::SeqCst);
    };
    let warmed = world.items.warm(&[1, 2, 3], &WarmRules::within(secs(10)), done).await.unwrap();
    assert_eq!((warmed.of(WarmedFrom::Source), warmed.total()), (3, 3));
    assert_eq!((world.database.batches() - batches, seen.load(Ordering::SeqCst)), (1, 3));
    world.database.pump();
    for (key, value) in [(1, Some("a")), (2, Some("b")), (3, None)] {
        let answer = world.get(key).await;
        assert_eq!((text(&answer), by(&answer)), (value, ServedBy::L1));
    }
    assert_eq!(warm(&world, &[1, 2, 3]).await.of(WarmedFrom::Memory), 3);
    assert_eq!(world.items.stats().counts().warmed.total(), 6);
    assert_eq!(world.served(ServedBy::Source), 0, "warming is no read of anybody's");
}

#[tokio::test(start_paused = true)]
async fn what_another_node_has_shared_costs_the_source_nothing() {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let plan = || warming(100).l2();
    let node = || World::on(Arc::clone(&database), clock.clone(), plan(), Some(Arc::clone(&remote) as _));
    let (a, b) = (node().await, node().await);
    a.write(1, "a");
    a.get(1).await;
    a.turns().await;
    b.database.pump();
    let loads = database.loads();
    let warmed = warm(&b, &[1]).await;
    assert_eq!((warmed.of(WarmedFrom::Remote), warmed.total(), database.loads()), (1, 1, loads));
    assert_eq!(by(&b.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn warming_leaves_places_to_readers_and_gives_up_when_its_time_is_over() {
    let limits = LoadLimits { loads_max: 1.try_into().unwrap(), ..LoadLimits::default() };
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let world = World::limited(database, clock, warming(100).hard_timeout(secs(60)), limits).await;
    world.database.close_gate();
    // Readers take the one place, one after the other, for longer than there is.
    let first = world.start_get(1);
    world.database.until_waiting(1).await;
    let second = world.start_get(2);
    world.turns().await;
    let items = world.items.clone();
    let rules = WarmRules::within(secs(3));
    let mut warming = start(async move { items.warm(&[7, 8], &rules, |_| ()).await.unwrap() });
    world.turns().await;
    let reader = world.start_get(7);
    for _ in 0..10 {
        world.pass_healthily(ms(400)).await;
    }
    assert!(warming.has_ended());
    let warmed = warming.end().await;
    assert_eq!((warmed.of(WarmedFrom::Refused), warmed.total()), (2, 2));
    world.database.open_gate();
    for reader in [first, second, reader] {
        assert!(reader.end().await.is_ok(), "nobody waits with a key that is warmed");
    }
}

#[tokio::test(start_paused = true)]
async fn readers_join_a_load_that_warms_and_one_key_that_fails_costs_the_others_nothing() {
    let world = World::new(Kind::Sequence, warming(100)).await;
    world.write(1, "a");
    world.database.close_gate();
    let items = world.items.clone();
    let warming = start(async move { items.warm(&[1], &WarmRules::within(secs(9)), |_| ()).await.unwrap() });
    world.database.until_waiting(1).await;
    let reader = world.start_get(1);
    world.turns().await;
    assert_eq!(world.database.loads(), 1, "one load for both");
    world.database.open_gate();
    assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    assert_eq!(warming.end().await.of(WarmedFrom::Source), 1);
    let bad = || Act::Fail(LoadError::Refused("no such thing".into()));
    // The batch fails, and then one of its keys.
    world.database.script([bad(), bad()]);
    let warmed = warm(&world, &[11, 12, 13]).await;
    assert_eq!((warmed.of(WarmedFrom::Source), warmed.of(WarmedFrom::Failed), warmed.total()), (2, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_source_in_trouble_is_not_asked_again_and_again() {
    let world = World::new(Kind::Sequence, warming(1_000)).await;
    world.database.go_down();
    let keys: Vec<i64> = (0..10 * WARM_BATCH as i64).collect();
    let items = world.items.clone();
    let mut warming =
        start(async move { items.warm(&keys, &WarmRules::within(secs(5)), |_| ()).await.unwrap() });
    for _ in 0..100 {
        world.pass_healthily(ms(100)).await;
    }
    assert!(warming.has_ended());
    let warmed = warming.end().await;
    assert_eq!((warmed.warm(), warmed.total()), (0, 10 * WARM_BATCH as u64));
    assert!(world.database.loads() <= 10, "{} loads of a source that is down", world.database.loads());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_recovers_in_time_is_asked_again() {
    let world = World::new(Kind::Sequence, warming(1_000)).await;
    world.write(1, "a");
    world.database.go_down();
    let items = world.items.clone();
    let warming = start(async move { items.warm(&[1], &WarmRules::within(secs(30)), |_| ()).await.unwrap() });
    for _ in 0..10 {
        world.pass_healthily(ms(100)).await;
    }
    world.database.come_back();
    for _ in 0..50 {
        world.pass_healthily(ms(100)).await;
    }
    let warmed = warming.end().await;
    assert_eq!((warmed.of(WarmedFrom::Source), warmed.total()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_rate_spreads_the_keys_over_time() {
    let world = World::new(Kind::Sequence, warming(1_000)).await;
    let keys: Vec<i64> = (0..4 * WARM_BATCH as i64).collect();
    let rules =
        WarmRules { keys_per_second_max: NonZeroU32::new(WARM_BATCH as u32), ..WarmRules::within(secs(60)) };
    let items = world.items.clone();
    let warming = start(async move { items.warm(&keys, &rules, |_| ()).await.unwrap() });
    world.turns().await;
    let mut loaded = Vec::new();
    for _ in 0..4 {
        loaded.push(world.database.batches());
        world.pass_healthily(ms(1_001)).await;
    }
    assert_eq!(loaded, [1, 2, 3, 4], "a batch each second");
    assert_eq!(warming.end().await.of(WarmedFrom::Source), 4 * WARM_BATCH as u64);
}

#[tokio::test(start_paused = true)]
async fn a_choosy_class_keeps_what_is_warmed() {
    let admission = AdmissionPlan { seen: 3, ..AdmissionPlan::new(NonZeroU32::new(20).unwrap()) };
    let world = World::new(Kind::Sequence, warming(100).admission(admission)).await;
    for key in 1_000..1_100 {
        world.get(key).await;
    }
    assert!(!world.items.memory().has_room());
    assert_eq!(warm(&world, &[1]).await.of(WarmedFrom::Source), 1);
    world.database.pump();
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

/// Whoever asked for it has left: what is under way is carried to its end, because readers may wait for it, and no more is begun.
#[tokio::test(start_paused = true)]
async fn a_warming_that_is_dropped_begins_no_more_loads() {
    let world = World::new(Kind::Sequence, warming(1_000)).await;
    let keys: Vec<i64> = (0..4 * WARM_BATCH as i64).collect();
    let rules = WarmRules { loads_max: NonZeroU32::MIN, ..WarmRules::within(secs(60)) };
    tokio::select! {
        biased;
        _ = world.items.warm(&keys, &rules, |_| ()) => panic!("nothing is loaded at once"),
        () = std::future::ready(()) => {}
    }
    world.turns().await;
    assert_eq!(world.database.batches(), 0, "dropped before any was begun");
    world.database.close_gate();
    tokio::select! {
        biased;
        _ = world.items.warm(&keys, &rules, |_| ()) => panic!("the first batch waits"),
        () = world.database.until_waiting(1) => {}
    }
    world.database.open_gate();
    world.turns().await;
    world.pass_healthily(secs(1)).await;
    assert_eq!((world.database.batches(), world.items.memory().len()), (1, WARM_BATCH));
}

#[tokio::test(start_paused = true)]
async fn what_a_rate_leaves_no_time_for_is_not_begun() {
    let world = World::new(Kind::Sequence, warming(1_000)).await;
    let keys: Vec<i64> = (0..3 * WARM_BATCH as i64).collect();
    // One batch a second, and the second would begin when the time is over.
    let rules =
        WarmRules { keys_per_second_max: NonZeroU32::new(WARM_BATCH as u32), ..WarmRules::within(secs(1)) };
    let warmed = world.items.warm(&keys, &rules, |_| ()).await.unwrap();
    let batch = WARM_BATCH as u64;
    assert_eq!((warmed.of(WarmedFrom::Source), warmed.of(WarmedFrom::Refused)), (batch, 2 * batch));
    assert_eq!(world.database.batches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_waited_for_as_long_as_there_is_time_and_no_longer() {
    for comes_free in [true, false] {
        let limits = LoadLimits { loads_max: 1.try_into().unwrap(), ..LoadLimits::default() };
        let clock = Clock::stepped();
        let database = Database::new(Kind::Sequence, clock.clone());
        let world = World::limited(database, clock, warming(100).hard_timeout(secs(60)), limits).await;
        world.database.close_gate();
        let _reader = world.start_get(1);
        world.database.until_waiting(1).await;
        let items = world.items.clone();
        let rules = WarmRules::within(secs(3));
        let mut warming = start(async move { items.warm(&[7], &rules, |_| ()).await.unwrap() });
        world.turns().await;
        for _ in 0..22 {
            world.pass_healthily(ms(100)).await;
        }
        assert!(!warming.has_ended(), "it asks again and again");
        if comes_free {
            world.database.open_gate();
        }
        for _ in 0..8 {
            world.pass_healthily(ms(100)).await;
        }
        assert!(warming.has_ended(), "after three seconds");
        let from = if comes_free { WarmedFrom::Source } else { WarmedFrom::Refused };
        assert_eq!(warming.end().await.of(from), 1);
    }
}
