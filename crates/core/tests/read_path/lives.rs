//! Lives: renewal, hard age, absence, size, spread.

use std::collections::{BTreeMap, BTreeSet};

use trueup_core::{
    class::{ClassPlanBuilder, Strategy},
    env::Nanos,
    receipt::ServedBy,
};

use super::{
    source::Kind,
    world::{World, by, items, ms, secs, text},
};

#[tokio::test(start_paused = true)]
async fn at_the_end_of_its_life_a_proven_entry_is_renewed_and_not_loaded() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.pass_healthily(secs(60) + ms(1)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    world.pass_healthily(secs(59)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(world.items.stats().counts().renewed, 1, "one new life, not one for each read");
    assert_eq!(world.database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_its_hard_age_even_a_proven_entry_is_loaded_again() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    for _ in 0..9 {
        world.pass_healthily(secs(60)).await;
        world.get(1).await;
    }
    world.pass_healthily(secs(60)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1, "at 600 s");
    world.clock.advance(ms(1));
    world.database.pump();
    let answer = world.get(1).await;
    assert_eq!((by(&answer), answer.receipt().miss.unwrap().as_str()), (ServedBy::Source, "expired"));
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn an_absence_has_its_own_life() {
    let world = World::usual().await;
    world.write(2, "x");
    world.items.get_many(&[1, 2]).await.unwrap();
    let left = |key: &str| world.items.memory().get(key).unwrap().expires().since(world.clock.now());
    assert_eq!((left("1"), left("2")), (secs(30), secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_class_without_negative_life_keeps_no_absence() {
    let world = World::new(Kind::Sequence, items().no_negative()).await;
    for _ in 0..2 {
        let answer = world.get(1).await;
        assert!(answer.is_absent());
        assert_eq!(by(&answer), ServedBy::Source);
    }
    assert_eq!(world.items.memory().len(), 0);
    world.write(1, "a");
    world.get(1).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn a_value_beyond_the_limit_is_served_and_not_kept() {
    // The encoding of a text is JSON: two quotes more.
    let world = World::new(Kind::Sequence, items().value_bytes_max(12)).await;
    world.write(1, &"x".repeat(10));
    world.write(2, &"x".repeat(11));
    for from in [ServedBy::Source, ServedBy::L1] {
        let (at_the_limit, beyond) = (world.get(1).await, world.get(2).await);
        assert_eq!(text(&beyond).map(str::len), Some(11));
        assert_eq!((by(&at_the_limit), by(&beyond)), (from, ServedBy::Source));
    }
    assert_eq!(world.database.loads(), 3);
    let rejected = world.items.stats().counts().rejected;
    assert!(rejected.contains(&("too_large", 2)), "{rejected:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_loaded_together_does_not_end_together() {
    let world = World::new(Kind::Sequence, items().jitter(0.5)).await;
    let keys: Vec<i64> = (0..50).collect();
    for key in &keys {
        world.write(*key, "x");
    }
    world.items.get_many(&keys).await.unwrap();
    let (mut soft, mut hard): (BTreeSet<Nanos>, BTreeSet<Nanos>) = Default::default();
    world.items.memory().for_each(|entry| {
        soft.insert(entry.expires());
        hard.insert(entry.hard_expires());
    });
    let now = world.clock.now();
    for (ends, life) in [(soft, 60), (hard, 600)] {
        assert!(ends.len() > 40, "{} distinct ends of 50", ends.len());
        assert!(ends.iter().all(|end| (secs(life) / 2..=secs(life)).contains(&end.since(now))));
    }
}

/// A hundred thousand entries that are loaded in one moment and have one life: what ends in the busiest second, and what is loaded
/// again when a proven class comes to the same point. Of rows that are not there, which end as others do and cost the scripted database nothing.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_entries_of_one_life_end_spread_out() {
    const KEYS: i64 = 100_000;
    const BATCH: usize = 1_000;
    // Both ends of an entry that is good for so long and no longer fall together.
    let aged = || {
        let plan = items().age_bounded("tests", "compared with the proof");
        plan.life(secs(60)).hard_age(secs(60)).negative_life(secs(60))
    };
    let keys: Vec<i64> = (0..KEYS).collect();
    let filled = async |plan: ClassPlanBuilder| {
        let world = World::new(Kind::Sequence, plan.l1_capacity_bytes(256 << 20)).await;
        for batch in keys.chunks(BATCH) {
            world.items.get_many(batch).await.unwrap();
        }
        assert_eq!(world.items.memory().len(), KEYS as usize);
        world
    };
    for (jitter, busiest_max) in [(0.2, KEYS as usize / 10), (0.0, KEYS as usize)] {
        let world = filled(aged().jitter(jitter)).await;
        let (mut by_second, loaded_at) = (BTreeMap::<u64, usize>::new(), world.clock.now());
        world.items.memory().for_each(|entry| {
            *by_second.entry(entry.expires().since(loaded_at).as_secs()).or_default() += 1;
        });
        let busiest = *by_second.values().max().unwrap();
        println!("jitter {jitter}: {busiest} of {KEYS} end in the busiest second");
        assert!(busiest <= busiest_max, "{by_second:?}");
        assert_eq!(busiest == KEYS as usize, jitter == 0.0, "without it they all end at once");
    }
    let world = filled(items().negative_life(secs(60)).jitter(0.0)).await;
    let loads = world.database.batches();
    world.pass_healthily(secs(61)).await;
    for batch in keys.chunks(BATCH) {
        world.items.get_many(batch).await.unwrap();
    }
    assert_eq!(world.database.batches(), loads, "proven: at the end of their life they are renewed");
}

#[tokio::test(start_paused = true)]
async fn a_dead_entry_gives_its_memory_back_without_being_read() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    assert_eq!(world.items.memory().len(), 1);
    world.pass(secs(601)).await;
    // The purge runs on a timer of its own, once a second.
    tokio::time::advance(secs(1)).await;
    world.turns().await;
    assert_eq!(world.items.memory().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn how_many_entries_end_in_the_busiest_second_of_the_next_minute_is_known_before() {
    for (jitter, busiest) in [(0.0, 200..=200), (0.5, 1..=40)] {
        let world = World::new(Kind::Sequence, items().hard_age(secs(100)).jitter(jitter)).await;
        let keys: Vec<i64> = (0..200).collect();
        world.items.get_many(&keys).await.unwrap();
        if jitter == 0.0 {
            world.pass_healthily(secs(39)).await;
            assert_eq!(world.items.expiry_spread().next_minute, 0, "they end in 61 s");
            world.pass_healthily(secs(5)).await;
        } else {
            world.pass_healthily(secs(44)).await;
        }
        let spread = world.items.expiry_spread();
        assert_eq!(spread.next_minute, 200, "renewed before, and loaded again at the hard age");
        assert!(busiest.contains(&spread.busiest_second), "{spread:?} with jitter {jitter}");
    }
}

/// What waited to be settled is lost with the feed's connection, and what was proven in an older epoch with its epoch: nobody has to
/// read either to have it go.
#[tokio::test(start_paused = true)]
async fn what_was_discarded_and_what_is_of_an_older_epoch_give_their_memory_back_as_well() {
    for discarded in [true, false] {
        let world = World::usual().await;
        if discarded {
            world.database.commit(&[(1, Some("a"))]);
            world.get(1).await;
            world.database.reconnect();
        } else {
            world.write(1, "a");
            world.get(1).await;
            world.database.new_epoch();
        }
        world.database.pump();
        world.turns().await;
        assert_eq!(world.items.memory().len(), 1);
        // The purge runs once a second.
        world.pass(secs(1)).await;
        assert_eq!(world.items.memory().len(), 0, "discarded: {discarded}");
    }
}

/// Its last moment is still one of its life. Looked at where an entry is watched before its end: else nothing looks so closely.
#[tokio::test(start_paused = true)]
async fn a_life_is_over_after_its_last_moment_and_not_in_it() {
    let watched = items().life(secs(10)).negative_life(secs(1)).hard_age(secs(11));
    let world = World::new(Kind::Sequence, watched.strategy(Strategy::Background { ahead: secs(4) })).await;
    world.write(1, "a");
    world.get(1).await;
    world.database.go_down();
    world.pass_healthily(secs(10)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(world.items.stats().counts().renewed, 0);
    world.pass_healthily(ms(1)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(world.items.stats().counts().renewed, 1);
}

#[tokio::test(start_paused = true)]
async fn how_old_an_entry_is_that_makes_room_is_counted() {
    let world = World::new(Kind::Sequence, items().value_bytes_max(1_000).l1_capacity_bytes(64 << 10)).await;
    let evicted = || world.items.stats().counts().eviction_ages;
    let count = || evicted().buckets.iter().map(|(_, count)| count).sum::<u64>();
    let read = async |first: i64| {
        let keys: Vec<i64> = (first..first + 1_000).collect();
        world.items.get_many(&keys).await.unwrap();
        let departed = world.items.memory().departures().capacity;
        assert!(departed > 500 && count() == departed, "{departed} and {}", count());
        evicted().sum
    };
    assert_eq!(read(0).await, 0, "just loaded");
    world.pass_healthily(secs(5)).await;
    let sum = read(1_000).await;
    assert!(sum > 0 && sum.is_multiple_of(5_000), "{sum}: of some it is five seconds");
}

/// Of a key that memory has held before it is said that it was evicted; of one that nobody has read, that it is cold.
#[tokio::test(start_paused = true)]
async fn a_key_that_has_left_memory_is_told_from_one_that_never_was_there() {
    const KEYS: i64 = 2_000;
    let world = World::usual().await;
    let read = async |first: i64| {
        let keys: Vec<i64> = (first..first + KEYS).collect();
        world.items.get_many(&keys).await.unwrap();
        (world.missed("cold") as i64, world.missed("evicted") as i64)
    };
    assert_eq!(read(0).await, (KEYS, 0));
    assert_eq!(read(KEYS).await, (2 * KEYS, 0), "however many others were read before");
    world.items.memory().clear();
    // The one that was kept last: what comes later may take the place of what was remembered.
    world.get(2 * KEYS - 1).await;
    assert_eq!((world.missed("cold") as i64, world.missed("evicted")), (2 * KEYS, 1));
}

#[tokio::test(start_paused = true)]
async fn how_many_entries_end_is_estimated_from_a_part_of_them() {
    let world = World::new(Kind::Sequence, items().hard_age(secs(100)).jitter(0.0)).await;
    let keys: Vec<i64> = (0..10_000).collect();
    world.items.get_many(&keys).await.unwrap();
    world.pass_healthily(secs(44)).await;
    let spread = world.items.expiry_spread();
    assert_eq!((spread.next_minute, spread.busiest_second), (10_000, 10_000));
}
