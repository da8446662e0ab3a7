//! Single-flight: one load of a key at a time, and nobody hurt by how it ends.

use std::pin::pin;

use trueup_core::{error::ReadError, receipt::ServedBy, source::LoadError};

use super::{
    source::Act,
    world::{Pending, World, begin, by, items, ms, secs, start, text},
};

const READERS: usize = 50;

fn down() -> LoadError {
    LoadError::Unavailable("down".into())
}

/// Readers of one key, of which the first leads and the others wait before its query is sent or while it runs.
fn crowd(world: &World, key: i64) -> Vec<Pending<super::world::Answer>> {
    (0..READERS).map(|_| world.start_get(key)).collect()
}

#[tokio::test(start_paused = true)]
async fn many_concurrent_reads_of_one_key_are_one_load() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let readers = crowd(&world, 1);
    world.database.until_waiting(1).await;
    world.turns().await;
    world.database.open_gate();
    for reader in readers {
        assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    }
    assert_eq!(world.database.loads(), 1);
    let counts = world.items.stats().counts();
    assert_eq!(
        (counts.coalesced, counts.reads_total(), counts.in_flight),
        (READERS as u64 - 1, READERS as u64, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_load_fails_all_its_waiters_once_and_nobody_retries_in_turn() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.script([Act::Fail(down())]);
    world.database.close_gate();
    let readers = crowd(&world, 1);
    world.database.until_waiting(1).await;
    world.turns().await;
    world.database.open_gate();
    for reader in readers {
        assert_eq!(reader.end().await.unwrap_err(), ReadError::Load(down()));
    }
    assert_eq!(world.database.loads(), 1);
    assert_eq!(world.items.stats().counts().failures, READERS as u64);
    assert_eq!(text(&world.get(1).await), Some("a"), "the next read loads");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_leader_leaves_its_load_to_those_who_wait_and_to_memory() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let items = world.items.clone();
    let mut leader = Box::pin(async move { items.get(&1).await });
    begin(leader.as_mut()).await;
    world.database.until_waiting(1).await;
    let waiter = world.start_get(1);
    world.turns().await;
    drop(leader);
    world.database.open_gate();
    assert_eq!(text(&waiter.end().await.unwrap()), Some("a"));
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(world.database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_load_of_a_reader_who_left_alone_still_fills() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let reading = tokio::time::timeout(ms(10), world.items.get(&1)).await;
    assert!(reading.is_err());
    world.database.open_gate();
    world.turns().await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

/// A reader polled once and then left alone (as `select!` in a loop does) must not hold up others.
#[tokio::test(start_paused = true)]
async fn a_leader_that_nobody_polls_any_more_holds_nobody_up() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let mut leader = pin!(world.items.get(&1));
    begin(leader.as_mut()).await;
    world.database.until_waiting(1).await;
    let waiter = world.start_get(1);
    world.turns().await;
    world.database.open_gate();
    let answer = tokio::time::timeout(ms(1), waiter.end()).await.expect("nobody waits for the leader's task");
    assert_eq!(text(&answer.unwrap()), Some("a"));
    assert_eq!(text(&leader.await.unwrap()), Some("a"));
}

/// It has a place among the loads of its source meanwhile, and holds back the ledger's floor.
#[tokio::test(start_paused = true)]
async fn a_load_whose_reader_polls_no_more_goes_on_without_anybody_who_waits() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let mut leader = pin!(world.items.get(&1));
    begin(leader.as_mut()).await;
    world.database.until_waiting(1).await;
    world.database.open_gate();
    tokio::time::sleep(ms(60)).await;
    assert_eq!(world.items.stats().counts().in_flight, 0);
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(text(&leader.await.unwrap()), Some("a"));
    assert_eq!(world.database.loads(), 1);
}

/// What many loads have to do for the source is done together, which tasks of their own do better than readers.
#[tokio::test(start_paused = true)]
async fn of_many_loads_at_once_only_the_first_are_driven_by_their_readers() {
    for (others, left) in [(1, 1), (2, 0)] {
        let world = World::usual().await;
        (1..=9).for_each(|key| world.write(key, "a"));
        world.database.close_gate();
        let before: Vec<_> = (1..=others).map(|key| world.start_get(key)).collect();
        world.database.until_waiting(before.len()).await;
        let mut reader = pin!(world.items.get(&9));
        begin(reader.as_mut()).await;
        world.database.until_waiting(before.len() + 1).await;
        world.database.open_gate();
        world.turns().await;
        assert_eq!(world.items.stats().counts().in_flight, left, "beside {others} others");
        assert_eq!(text(&reader.await.unwrap()), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_panics_is_a_lost_load_for_all_and_the_next_read_works() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.script([Act::Panic]);
    world.database.close_gate();
    let readers = crowd(&world, 1);
    world.database.until_waiting(1).await;
    world.turns().await;
    world.database.open_gate();
    for reader in readers {
        assert_eq!(reader.end().await.unwrap_err(), ReadError::Load(LoadError::Lost));
    }
    assert_eq!(text(&world.get(1).await), Some("a"));
    assert_eq!(world.items.stats().counts().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_came_after_the_query_was_sent_does_not_take_its_answer_unchecked() {
    let world = World::usual().await;
    world.write(1, "old");
    world.database.close_gate();
    let early = world.start_get(1);
    world.database.until_waiting(1).await;
    let token = world.database.commit(&[(1, Some("new"))]);
    world.clock.advance(ms(1));
    let items = world.items.clone();
    let late = start(async move { items.read(&1).token(token).run().await });
    world.turns().await;
    world.database.open_gate();
    assert_eq!(text(&early.end().await.unwrap()), Some("old"));
    assert_eq!(text(&late.end().await.unwrap()), Some("new"));
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_does_not_take_what_the_feed_has_contradicted() {
    let world = World::usual().await;
    world.write(1, "old");
    world.database.close_gate();
    let early = world.start_get(1);
    world.database.until_waiting(1).await;
    world.write(1, "new");
    world.clock.advance(ms(1));
    let late = world.start_get(1);
    world.turns().await;
    world.database.open_gate();
    assert_eq!(text(&early.end().await.unwrap()), Some("old"));
    assert_eq!(text(&late.end().await.unwrap()), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_takes_an_answer_that_passes_its_check() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let early = world.start_get(1);
    world.database.until_waiting(1).await;
    world.clock.advance(ms(1));
    let late = world.start_get(1);
    world.turns().await;
    world.database.open_gate();
    early.end().await.unwrap();
    assert_eq!(text(&late.end().await.unwrap()), Some("a"));
    assert_eq!(world.database.loads(), 1);
}

/// While the feed stalls nobody's answer passes another's check; still the crowd behind a slow load is one more load.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_may_not_take_the_answer_loads_once_more_and_not_each() {
    let world = World::usual().await;
    world.write(1, "a");
    world.pass(secs(2)).await;
    world.database.close_gate();
    let early = world.start_get(1);
    world.database.until_waiting(1).await;
    world.clock.advance(ms(1));
    let late = crowd(&world, 1);
    world.turns().await;
    world.clock.advance(ms(1));
    world.database.open_gate();
    assert_eq!(text(&early.end().await.unwrap()), Some("a"));
    for reader in late {
        assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    }
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_load_ends_at_the_hard_timeout_and_the_next_read_begins_anew() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.script([Act::Hang]);
    let readers = crowd(&world, 1);
    world.turns().await;
    world.pass(secs(5)).await;
    for reader in readers {
        assert_eq!(reader.end().await.unwrap_err(), ReadError::Load(LoadError::TimedOut { limit_ms: 5000 }));
    }
    assert_eq!(text(&world.get(1).await), Some("a"));
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn loads_beyond_the_limit_wait_for_a_place_and_are_shed_when_none_comes_free() {
    let world = World::new(super::source::Kind::Sequence, items().loads_max(2.try_into().unwrap())).await;
    world.database.close_gate();
    let mut first: Vec<_> = (1..=2).map(|key| world.start_get(key)).collect();
    world.database.until_waiting(2).await;
    let third = world.start_get(3);
    world.turns().await;
    assert_eq!(world.database.loads(), 2, "the third is not sent");
    world.database.release_one();
    world.turns().await;
    assert_eq!(world.database.loads(), 3);
    assert!(first.remove(0).end().await.is_ok());
    world.database.open_gate();
    assert!(third.end().await.is_ok());
    world.database.script([Act::Hang, Act::Hang]);
    let _stuck: Vec<_> = (11..=12).map(|key| world.start_get(key)).collect();
    world.turns().await;
    world.clock.advance(ms(1));
    let shed = world.start_get(13);
    world.turns().await;
    tokio::time::advance(ms(4999)).await;
    world.turns().await;
    // The stuck loads end at the same instant as the wait: whichever is first, the reader is not left waiting.
    tokio::time::advance(ms(1)).await;
    world.turns().await;
    let mut shed = shed;
    assert!(shed.has_ended());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_the_queue_leaves_its_place_to_others() {
    let world = World::new(super::source::Kind::Sequence, items().loads_max(1.try_into().unwrap())).await;
    world.database.close_gate();
    let running = world.start_get(1);
    world.database.until_waiting(1).await;
    for key in 100..150 {
        assert!(tokio::time::timeout(ms(1), world.items.get(&key)).await.is_err());
    }
    world.database.open_gate();
    running.end().await.unwrap();
    world.turns().await;
    assert_eq!(world.items.stats().counts().in_flight, 0);
    assert!(world.items.get(&2).await.is_ok());
}

/// Each load that the reader waits for has an end of its own, and what another has begun is the other's: all of it together has an end,
/// counted from when the reader began to wait.
#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_others_and_for_a_place_no_longer_than_for_two_loads() {
    let world = World::new(super::source::Kind::Sequence, items().loads_max(1.try_into().unwrap())).await;
    world.write(1, "a");
    world.database.close_gate();
    let first = world.start_get(1);
    world.database.until_waiting(1).await;
    let other = world.start_get(2);
    world.turns().await;
    let token = world.database.commit(&[(1, Some("b"))]);
    world.clock.advance(ms(1));
    // Of two, one begins the next load and the other joins it.
    let own = || {
        let class = world.items.clone();
        start(async move { class.read(&1).token(token).run().await })
    };
    let mut own = [own(), own()];
    world.turns().await;
    world.pass(ms(4_500)).await;
    // The load that they waited for did not see their write: another is begun, and waits behind the one of another key.
    world.database.release_one();
    world.turns().await;
    assert!(first.end().await.is_ok());
    assert_eq!(world.database.loads(), 2);
    world.pass(ms(4_500)).await;
    world.database.release_one();
    world.turns().await;
    assert!(other.end().await.is_ok());
    assert_eq!(world.database.loads(), 3);
    world.pass(ms(999)).await;
    assert!(own.iter_mut().all(|reader| !reader.has_ended()));
    world.pass(ms(1)).await;
    for reader in own {
        let error = reader.end().await.unwrap_err();
        assert_eq!(error, ReadError::Load(LoadError::TimedOut { limit_ms: 10_000 }));
    }
}
