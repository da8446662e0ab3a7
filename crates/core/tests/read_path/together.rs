//! Loads that would crowd the source go together, and each is as true as one alone.

use std::{num::NonZeroU32, pin::pin, sync::Arc};

use trueup_core::{
    class::ClassPlan,
    env::Clock,
    error::ReadError,
    guard::LoadLimits,
    receipt::ServedBy,
    source::{LoadError, ShedReason},
};

use super::{
    source::{Act, Database, Kind},
    world::{Answer, Pending, World, begin, by, form, items, ms, plan, secs, start, text},
};

/// Loads under way before the others wait.
const PLACES: i64 = 4;

/// A node on a database with rows 1 to `rows`, which has so many loads under way at once.
async fn world(places: i64, rows: i64) -> World {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Xids, clock.clone());
    database.set_statements_at_once(places as usize);
    let world = World::on(database, clock, items(), None).await;
    for key in 1..=rows {
        world.write(key, &format!("v{key}"));
    }
    world
}

/// Readers of these keys, once each has got as far as it can; the gate is closed.
async fn readers(world: &World, keys: std::ops::RangeInclusive<i64>) -> Vec<(i64, Pending<Answer>)> {
    let readers = keys.map(|key| (key, world.start_get(key))).collect();
    world.turns().await;
    readers
}

async fn assert_answered(readers: Vec<(i64, Pending<Answer>)>) {
    for (key, reader) in readers {
        let answer = reader.end().await.unwrap();
        assert_eq!(
            (text(&answer), by(&answer)),
            (Some(&*format!("v{key}")), ServedBy::Source),
            "of key {key}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_the_places_are_taken_goes_with_all_who_wait() {
    let world = world(PLACES, 50).await;
    world.database.close_gate();
    let readers = readers(&world, 1..=50).await;
    assert_eq!((world.database.loads(), world.database.batches()), (4, 0), "46 wait");
    world.database.open_gate();
    assert_answered(readers).await;
    assert_eq!((world.database.loads(), world.database.batches()), (5, 1));
    for key in 1..=50 {
        assert_eq!(by(&world.get(key).await), ServedBy::L1);
    }
}

/// A task for each of many loads would cost more than the rows do, and there is nothing for it to do.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_others_to_go_with_needs_no_task() {
    for (places, needed) in [(PLACES, 0), (PLACES + 1, 1)] {
        let world = world(places, 9).await;
        world.database.close_gate();
        let before = readers(&world, 1..=PLACES).await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let tasks_before = tasks();
        let mut reader = pin!(world.items.get(&9));
        begin(reader.as_mut()).await;
        assert_eq!(tasks() - tasks_before, needed, "with {places} places");
        world.database.open_gate();
        assert_answered(before).await;
        assert_eq!(text(&reader.await.unwrap()), Some("v9"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_has_so_many_keys_and_the_next_place_takes_the_rest() {
    let world = world(PLACES, 100).await;
    world.database.close_gate();
    let readers = readers(&world, 1..=100).await;
    world.database.release_one();
    world.turns().await;
    assert_eq!((world.database.loads(), world.database.batches()), (5, 1), "64 of the 96 who wait");
    world.database.release_one();
    world.turns().await;
    assert_eq!((world.database.loads(), world.database.batches()), (6, 2));
    world.database.open_gate();
    assert_answered(readers).await;
    assert_eq!(world.database.loads(), 6);
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_alone_goes_alone_and_places_are_given_back() {
    let world = world(PLACES, 20).await;
    for round in 0..4 {
        world.database.close_gate();
        let readers = readers(&world, round * 5 + 1..=round * 5 + 5).await;
        world.database.open_gate();
        assert_answered(readers).await;
    }
    assert_eq!((world.database.loads(), world.database.batches()), (20, 0));
}

/// Where a load takes long, waiting for one to end costs more than it saves, until all connections are taken.
#[tokio::test(start_paused = true)]
async fn only_quick_loads_wait_before_all_connections_are_taken() {
    for (takes, at_once) in [(ms(0), 4), (ms(1), 10)] {
        let world = world(10, 40).await;
        world.database.close_gate();
        let first = world.start_get(40);
        world.database.until_waiting(1).await;
        world.pass(takes).await;
        world.database.open_gate();
        first.end().await.unwrap();
        world.database.close_gate();
        let readers = readers(&world, 1..=30).await;
        assert_eq!(world.database.loads(), 1 + at_once, "one took {takes:?}");
        world.database.open_gate();
        assert_answered(readers).await;
        assert_eq!((world.database.loads(), world.database.batches()), (2 + at_once, 1));
    }
}

/// Before one was timed all connections were taken: of those loads too many are under way, and who waits goes with the last four.
#[tokio::test(start_paused = true)]
async fn once_loads_are_known_to_be_quick_fewer_are_under_way() {
    let world = world(10, 30).await;
    world.database.close_gate();
    let first = readers(&world, 1..=10).await;
    let later = readers(&world, 11..=30).await;
    for ended in 1..=6 {
        world.database.release_one();
        world.turns().await;
        assert_eq!((world.database.loads(), world.database.batches()), (10, 0), "{ended} have ended");
    }
    world.database.release_one();
    world.turns().await;
    assert_eq!((world.database.loads(), world.database.batches()), (11, 1));
    world.database.open_gate();
    assert_answered(first).await;
    assert_answered(later).await;
    assert_eq!(world.database.loads(), 11);
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_load_that_waits_has_its_answer() {
    let world = world(PLACES, 10).await;
    world.database.close_gate();
    let mut all = readers(&world, 1..=10).await;
    // Their query is not sent yet: what is written now, they see.
    world.database.commit(&[(9, Some("w"))]);
    let joined = world.start_get(9);
    world.turns().await;
    world.database.open_gate();
    assert_eq!(text(&joined.end().await.unwrap()), Some("w"));
    assert_eq!(text(&all.remove(8).1.end().await.unwrap()), Some("w"));
    assert_answered(all).await;
    assert_eq!(world.database.loads(), 5);
}

#[tokio::test(start_paused = true)]
async fn p1_what_changes_while_they_are_loaded_together_is_not_served_afterwards() {
    let world = world(PLACES, 10).await;
    world.database.close_gate();
    let readers = readers(&world, 1..=10).await;
    for _ in 0..PLACES {
        world.database.release_one();
    }
    world.database.until_waiting(1).await;
    world.turns().await;
    world.write(7, "w");
    world.database.open_gate();
    assert_answered(readers).await;
    for key in 5..=10 {
        let answer = world.get(key).await;
        let expected =
            if key == 7 { ("w".to_owned(), ServedBy::Source) } else { (format!("v{key}"), ServedBy::L1) };
        assert_eq!((text(&answer).unwrap().to_owned(), by(&answer)), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn of_those_who_go_together_one_that_cannot_be_read_fails_alone() {
    let world = world(PLACES, 7).await;
    world.database.close_gate();
    let mut all = readers(&world, 1..=7).await;
    let too_large = LoadError::TooLarge { bytes: 9, limit: 8 };
    world.database.script([Act::Fail(too_large.clone()), Act::Fail(too_large.clone())]);
    world.database.open_gate();
    let failed = all.remove(4).1;
    assert_eq!(failed.end().await.unwrap_err(), ReadError::Load(too_large));
    assert_answered(all).await;
    assert_eq!((world.database.loads(), world.database.batches()), (8, 1));
}

#[tokio::test(start_paused = true)]
async fn of_those_who_go_together_all_hear_of_an_outage_and_of_a_loader_that_panics() {
    for (act, error) in [
        (Act::Fail(LoadError::Unavailable("down".into())), LoadError::Unavailable("down".into())),
        (Act::Panic, LoadError::Lost),
    ] {
        let world = world(PLACES, 12).await;
        world.database.close_gate();
        let mut all = readers(&world, 1..=12).await;
        world.database.script([act]);
        world.database.open_gate();
        for (_, reader) in all.drain(4..) {
            assert_eq!(reader.end().await.unwrap_err(), ReadError::Load(error.clone()));
        }
        assert_answered(all).await;
        // Its place is free again.
        world.database.close_gate();
        let all = readers(&world, 5..=12).await;
        assert_eq!(world.database.loads(), 9);
        world.database.open_gate();
        assert_answered(all).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_than_a_load_may_take_is_told_so() {
    for (beyond, in_time) in [(ms(0), true), (ms(1), false)] {
        let world = world(PLACES, 10).await;
        world.database.script(std::iter::repeat_n(Act::Hang, 4));
        let hanging = readers(&world, 1..=4).await;
        let waiting = readers(&world, 5..=8).await;
        world.pass(secs(4)).await;
        let later = readers(&world, 9..=10).await;
        world.pass(secs(1) + beyond).await;
        for (_, reader) in hanging {
            assert!(matches!(reader.end().await, Err(ReadError::Load(LoadError::TimedOut { .. }))));
        }
        if in_time {
            assert_answered(waiting).await;
        } else {
            for (_, reader) in waiting {
                let error = reader.end().await.unwrap_err();
                let why = ShedReason::WaitedTooLong;
                assert!(
                    matches!(&error, ReadError::Load(LoadError::Shed { why: found, .. }) if *found == why),
                    "{error}"
                );
            }
        }
        assert_answered(later).await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_too_many_wait_the_next_is_refused() {
    let world = world(1, 3).await;
    world.database.close_gate();
    let first = world.start_get(1);
    world.database.until_waiting(1).await;
    let waiting: Vec<_> = (1_000..1_000 + 1_024).map(|key| world.start_get(key)).collect();
    world.turns().await;
    let error = world.items.get(&2).await.unwrap_err();
    let why = ShedReason::QueueFull;
    assert!(
        matches!(&error, ReadError::Load(LoadError::Shed { why: found, .. }) if *found == why),
        "{error}"
    );
    world.database.open_gate();
    first.end().await.unwrap();
    for reader in waiting {
        assert!(reader.end().await.unwrap().value().is_none());
    }
    assert_eq!(world.database.batches(), 16);
    assert_eq!(text(&world.get(2).await), Some("v2"));
}

/// It may wait for others to end, for a place at the source, and for its own query: all of that together no longer than every reader waits.
#[tokio::test(start_paused = true)]
async fn no_reader_waits_longer_for_others_to_go_first() {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Xids, clock.clone());
    database.set_statements_at_once(1);
    let limits = LoadLimits { loads_max: NonZeroU32::MIN, ..LoadLimits::default() };
    let world = World::limited(Arc::clone(&database), clock, items(), limits).await;
    let slow = plan(ClassPlan::display("slow").table("item").key(["id"]).hard_timeout(ms(9_900)));
    let slow = world.cache.class(slow, form(), Arc::clone(&database) as _).unwrap();
    database.script([Act::Hang, Act::Hang]);
    let holder = start(async move { slow.get(&1i64).await });
    world.turns().await;
    let first = world.start_get(1);
    world.turns().await;
    world.pass(secs(1)).await;
    let second = world.start_get(2);
    world.turns().await;
    for _ in 0..9 {
        world.pass(secs(1)).await;
    }
    assert!(first.end().await.is_err() && holder.end().await.is_err());
    let mut second = second;
    assert!(!second.has_ended());
    world.pass(ms(1_001)).await;
    assert!(second.has_ended(), "it has waited ten seconds, and its query is under way for one");
    assert!(matches!(second.end().await, Err(ReadError::Load(LoadError::TimedOut { .. }))));
}
