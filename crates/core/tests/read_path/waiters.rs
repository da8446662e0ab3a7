//! Readers who wait are bounded, per load and per class; who finds no place has an answer at once.

use trueup_core::{
    error::ReadError,
    limits::{CLASS_WAITERS_MAX, FLIGHT_WAITERS_MAX},
    receipt::ServedBy,
    source::LoadError,
};

use super::{
    source::Kind,
    world::{World, by, items, ms, secs, text},
};

fn is_shed(answer: &super::world::Answer) -> bool {
    matches!(answer, Err(ReadError::Load(LoadError::Shed { .. })))
}

#[tokio::test(start_paused = true)]
async fn beyond_the_most_that_may_wait_for_one_load_readers_are_shed_at_once() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let leader = world.start_get(1);
    world.database.until_waiting(1).await;
    let waiting: Vec<_> = (0..FLIGHT_WAITERS_MAX).map(|_| world.start_get(1)).collect();
    world.turns().await;
    assert!(is_shed(&world.start_get(1).end().await), "no time has passed");
    assert_eq!(world.items.stats().counts().shed, 1);
    world.database.open_gate();
    assert_eq!(text(&leader.end().await.unwrap()), Some("a"));
    for reader in waiting {
        assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    }
    assert_eq!(world.database.loads(), 1);
    assert_eq!(text(&world.get(1).await), Some("a"), "all places are free again");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_most_that_may_wait_in_a_class_readers_are_shed_at_once() {
    let world = World::usual().await;
    world.database.close_gate();
    let keys = [1, 2, 3];
    let leaders: Vec<_> = keys.iter().map(|key| world.start_get(*key)).collect();
    world.database.until_waiting(keys.len()).await;
    let mut waiting = Vec::new();
    for key in [1, 2] {
        waiting.extend((0..FLIGHT_WAITERS_MAX.min(CLASS_WAITERS_MAX / 2)).map(|_| world.start_get(key)));
    }
    world.turns().await;
    assert!(is_shed(&world.start_get(3).end().await), "the third load has no waiter, the class all of its");
    world.database.open_gate();
    for reader in leaders.into_iter().chain(waiting) {
        reader.end().await.unwrap();
    }
    assert!(world.items.get(&3).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn under_a_stampede_a_stale_value_stands_in_where_the_class_allows_one() {
    let plan = items().serve_stale(secs(60)).soft_timeout(ms(100));
    let world = World::new(Kind::Sequence, plan).await;
    world.write(1, "a");
    world.get(1).await;
    world.write(1, "b");
    world.database.close_gate();
    let crowd: Vec<_> = (0..1_000).map(|_| world.start_get(1)).collect();
    world.database.until_waiting(1).await;
    world.turns().await;
    world.pass(ms(100)).await;
    for mut reader in crowd {
        assert!(reader.has_ended(), "answered at the soft timeout");
        let answer = reader.end().await.unwrap();
        assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Stale));
    }
    assert_eq!(world.database.loads(), 2, "one load behind them all");
    // Those who find no place to wait have it at once.
    let waiting: Vec<_> = (0..FLIGHT_WAITERS_MAX).map(|_| world.start_get(1)).collect();
    world.turns().await;
    let one_more = tokio::time::timeout(ms(1), world.start_get(1).end()).await.expect("at once");
    assert_eq!(by(&one_more.unwrap()), ServedBy::Stale);
    world.database.open_gate();
    world.turns().await;
    drop(waiting);
    assert_eq!(text(&world.get(1).await), Some("b"));
}
