//! Entries loaded before a reader needs them: near their end (`early`, `background`), and when they changed (`background`).

mod beside;

use trueup_core::{
    class::{ClassPlan, ClassPlanBuilder, Strategy},
    receipt::ServedBy,
    source::LoadError,
};

use super::{
    source::{Act, Kind, row_tag},
    world::{World, by, items, ms, secs, text},
};

/// Reads of which at least one is sampled, whatever the thread has read before.
const ONE_SAMPLE: usize = 256;

fn aged(strategy: Strategy) -> ClassPlanBuilder {
    ClassPlan::display("item")
        .table("item")
        .key(["id"])
        .same_for_everyone()
        .age_bounded("team prices", "a daily import")
        .life(secs(10))
        .jitter(0.0)
        .strategy(strategy)
}

fn refreshes(world: &World, why: &str) -> u64 {
    let counts = world.items.stats().counts().stampede.refreshes;
    counts.iter().find(|(reason, _)| *reason == why).unwrap().1
}

/// The entry under 1 is in memory; a load of the class is known to take 100 ms.
async fn loaded(world: &World) {
    world.write(1, "a");
    world.database.close_gate();
    let first = world.start_get(1);
    world.database.until_waiting(1).await;
    world.pass_healthily(ms(100)).await;
    world.database.open_gate();
    first.end().await.unwrap();
    world.database.pump();
}

/// The key is known as hot.
async fn heat(world: &World, key: i64) {
    for _ in 0..3 * ONE_SAMPLE {
        world.get(key).await;
    }
    world.turns().await;
}

#[tokio::test(start_paused = true)]
async fn early_near_its_end_an_entry_is_refreshed_behind_readers_who_never_wait() {
    let world = World::new(Kind::Sequence, aged(Strategy::Early { beta: 1.0 })).await;
    loaded(&world).await;
    let loads = world.database.loads();
    // Far from the end: 21 times the load's time before it at least.
    world.pass_healthily(secs(7)).await;
    for _ in 0..1_000 {
        world.get(1).await;
    }
    world.turns().await;
    assert_eq!(world.database.loads(), loads, "nobody draws so far from the end");
    // From here on readers come every 10 ms, for three lives.
    for _ in 0..3_000 {
        world.pass_healthily(ms(10)).await;
        assert_eq!(by(&world.get(1).await), ServedBy::L1, "no reader waits");
    }
    let reloads = world.database.loads() - loads;
    assert!((3..=5).contains(&reloads), "{reloads} reloads in three lives");
    assert_eq!(refreshes(&world, "early"), reloads as u64);
    assert_eq!(world.missed("expired"), 0);
}

#[tokio::test(start_paused = true)]
async fn early_a_crowd_near_the_end_makes_one_refresh_and_is_answered_meanwhile() {
    let world = World::new(Kind::Sequence, aged(Strategy::Early { beta: 1.0 })).await;
    loaded(&world).await;
    let loads = world.database.loads();
    world.database.close_gate();
    // One time of a load before the end: more than a third of all readers draw.
    world.pass_healthily(secs(10) - ms(200)).await;
    for _ in 0..500 {
        assert_eq!((text(&world.get(1).await), by(&world.get(1).await)), (Some("a"), ServedBy::L1));
    }
    world.turns().await;
    assert_eq!(world.database.loads(), loads + 1);
    world.database.open_gate();
    world.turns().await;
    world.database.pump();
    world.pass_healthily(secs(1)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn early_a_refresh_that_fails_is_tried_again_and_hurts_nobody() {
    let world = World::new(Kind::Sequence, aged(Strategy::Early { beta: 2.0 })).await;
    loaded(&world).await;
    world.pass_healthily(secs(10) - ms(400)).await;
    world.database.script([Act::Fail(LoadError::Unavailable("down".into()))]);
    while refreshes(&world, "early") == 0 {
        assert_eq!(by(&world.get(1).await), ServedBy::L1);
        world.turns().await;
    }
    // The next one loads, behind a reader or, at the end, for one.
    world.pass_healthily(secs(2)).await;
    assert_eq!(text(&world.get(1).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn early_a_proven_entry_is_refreshed_before_its_hard_age_and_renewed_before() {
    let plan = items().life(secs(2)).negative_life(secs(1)).hard_age(secs(20));
    let world = World::new(Kind::Sequence, plan.strategy(Strategy::Early { beta: 1.0 })).await;
    loaded(&world).await;
    let loads = world.database.loads();
    for _ in 0..170 {
        world.pass_healthily(ms(100)).await;
        assert_eq!(by(&world.get(1).await), ServedBy::L1);
    }
    assert_eq!(world.database.loads(), loads, "renewed at the end of each life, for nothing");
    for _ in 0..500 {
        world.pass_healthily(ms(10)).await;
        assert_eq!(by(&world.get(1).await), ServedBy::L1, "no reader waits at the hard age");
    }
    assert_eq!(world.database.loads(), loads + 1);
}

#[tokio::test(start_paused = true)]
async fn wait_is_as_before() {
    let world = World::new(Kind::Sequence, aged(Strategy::Wait)).await;
    loaded(&world).await;
    world.pass_healthily(secs(10) - ms(101)).await;
    for _ in 0..2 * ONE_SAMPLE {
        assert_eq!(by(&world.get(1).await), ServedBy::L1);
    }
    world.turns().await;
    assert_eq!(world.database.loads(), 1);
}

fn background() -> Strategy {
    Strategy::Background { ahead: secs(2) }
}

#[tokio::test(start_paused = true)]
async fn background_an_entry_in_use_never_ends() {
    let world = World::new(Kind::Sequence, aged(background())).await;
    loaded(&world).await;
    let loads = world.database.loads();
    // One reader every 100 ms, for a minute: six lives.
    for _ in 0..600 {
        world.pass_healthily(ms(100)).await;
        assert_eq!(by(&world.get(1).await), ServedBy::L1, "no reader waits");
    }
    let reloads = world.database.loads() - loads;
    // Each life is cut by the 2 s ahead.
    assert!((6..=8).contains(&reloads), "{reloads} reloads in a minute");
    assert_eq!(world.missed("expired"), 0);
}

#[tokio::test(start_paused = true)]
async fn background_a_hot_key_that_changed_is_loaded_before_its_reader_comes() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, items().strategy(background())).await;
        loaded(&world).await;
        heat(&world, 1).await;
        assert_eq!(world.items.stats().counts().stampede.hot_keys, 1);
        let loads = world.database.loads();
        world.pass_healthily(secs(5)).await;
        assert_eq!(world.database.loads(), loads, "while nothing changes nothing is loaded");
        world.write(1, "b");
        world.pass_healthily(ms(20)).await;
        assert_eq!(world.database.loads(), loads + 1);
        let answer = world.get(1).await;
        assert_eq!((text(&answer), by(&answer)), (Some("b"), ServedBy::L1));
        assert_eq!(refreshes(&world, "changed"), 1);
        // Another key's change is none of its business.
        world.write(2, "x");
        world.pass_healthily(ms(200)).await;
        assert_eq!(world.database.loads(), loads + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn background_a_key_that_is_not_hot_is_loaded_when_it_is_read() {
    let world = World::new(Kind::Sequence, items().strategy(background())).await;
    loaded(&world).await;
    world.get(1).await;
    let loads = world.database.loads();
    world.write(1, "b");
    world.pass_healthily(secs(1)).await;
    assert_eq!(world.database.loads(), loads);
    assert_eq!(text(&world.get(1).await), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn background_a_hot_key_is_invalidated_by_name_and_loaded_again() {
    let world = World::new(Kind::Sequence, aged(background())).await;
    loaded(&world).await;
    heat(&world, 1).await;
    let loads = world.database.loads();
    world.cache.invalidate(&[row_tag(1)]).await.unwrap();
    world.database.deliver();
    world.pass_healthily(ms(20)).await;
    assert_eq!(world.database.loads(), loads + 1);
}

#[tokio::test(start_paused = true)]
async fn background_leaves_the_source_to_readers() {
    let world =
        World::new(Kind::Sequence, items().loads_max(4.try_into().unwrap()).strategy(background())).await;
    loaded(&world).await;
    heat(&world, 1).await;
    world.database.close_gate();
    let readers: Vec<_> = (10..13).map(|key| world.start_get(key)).collect();
    world.database.until_waiting(3).await;
    let loads = world.database.loads();
    world.write(1, "b");
    world.pass_healthily(ms(300)).await;
    assert_eq!(world.database.loads(), loads, "one place is left, and it is a reader's");
    world.database.open_gate();
    for reader in readers {
        reader.end().await.unwrap();
    }
    world.pass_healthily(ms(300)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(text(&world.get(1).await), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn background_a_source_that_is_down_is_not_stormed() {
    let world = World::new(Kind::Sequence, items().strategy(background())).await;
    loaded(&world).await;
    heat(&world, 1).await;
    world.write(1, "b");
    world.database.go_down();
    let loads = world.database.loads();
    for _ in 0..100 {
        world.pass(ms(100)).await;
        world.database.ask();
    }
    let tries = world.database.loads() - loads;
    assert!((1..=11).contains(&tries), "{tries} tries in ten seconds: one each second");
    world.database.come_back();
    world.pass_healthily(secs(2)).await;
    world.pass_healthily(ms(200)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_class_end_with_it() {
    let world = World::new(Kind::Sequence, items().strategy(background())).await;
    let stats = std::sync::Arc::downgrade(world.items.stats());
    loaded(&world).await;
    heat(&world, 1).await;
    drop(world.items.clone());
    let World { items, cache, database, clock } = world;
    drop(items);
    for _ in 0..20 {
        clock.advance(ms(100));
        tokio::time::advance(ms(100)).await;
        database.pump();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert!(stats.upgrade().is_none(), "nothing of the class is held");
    drop(cache);
}

fn refreshed(world: &World, how: &str) -> u64 {
    let counts = world.items.stats().counts().stampede.refreshed;
    counts.iter().find(|(outcome, _)| *outcome == how).unwrap().1
}

/// Whether the lot is drawn tells its distance from the end: nineteen loads before it, nobody draws in years.
#[tokio::test(start_paused = true)]
async fn early_where_an_entry_is_watched_already_nobody_draws_far_from_its_end() {
    for plan in [
        aged(Strategy::Early { beta: 1.0 }),
        items()
            .life(secs(10))
            .negative_life(secs(1))
            .hard_age(secs(10))
            .strategy(Strategy::Early { beta: 1.0 }),
    ] {
        let world = World::new(Kind::Sequence, plan).await;
        loaded(&world).await;
        let loads = world.database.loads();
        world.pass_healthily(secs(10) - ms(100 + 1_900)).await;
        for _ in 0..100 {
            assert_eq!(by(&world.get(1).await), ServedBy::L1);
        }
        world.turns().await;
        assert_eq!((world.database.loads(), refreshes(&world, "early")), (loads, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn early_who_has_had_it_refreshed_keeps_others_from_it_for_some_loads() {
    let world = World::new(Kind::Sequence, aged(Strategy::Early { beta: 1.0 })).await;
    loaded(&world).await;
    let loads = world.database.loads();
    world.database.close_gate();
    world.pass_healthily(secs(10) - ms(100 + 500)).await;
    while world.database.loads() == loads {
        world.get(1).await;
        world.turns().await;
    }
    // Two loads later, where one in twenty would draw.
    world.pass_healthily(ms(200)).await;
    for _ in 0..1_000 {
        world.get(1).await;
    }
    world.turns().await;
    assert_eq!((world.database.loads(), refreshes(&world, "early")), (loads + 1, 0), "it is under way");
    world.database.open_gate();
    world.turns().await;
    assert_eq!(refreshed(&world, "loaded"), 1);
}

/// The source has just failed: readers who draw meanwhile have it left alone.
#[tokio::test(start_paused = true)]
async fn early_after_a_refresh_that_failed_nobody_has_it_tried_again_for_a_while() {
    let plan = aged(Strategy::Early { beta: 5.0 }).failure_backoff(secs(2));
    let world = World::new(Kind::Sequence, plan).await;
    loaded(&world).await;
    world.pass_healthily(secs(7)).await;
    world.database.script([Act::Fail(LoadError::Refused("no such column".into()))]);
    while refreshes(&world, "early") == 0 {
        assert_eq!(by(&world.get(1).await), ServedBy::L1);
        world.turns().await;
    }
    assert_eq!(refreshed(&world, "failed"), 1);
    let loads = world.database.loads();
    for _ in 0..15 {
        world.pass_healthily(ms(100)).await;
        for _ in 0..300 {
            assert_eq!(by(&world.get(1).await), ServedBy::L1);
        }
        world.turns().await;
    }
    assert_eq!(world.database.loads(), loads);
}

#[tokio::test(start_paused = true)]
async fn early_no_more_than_a_quarter_of_the_loads_of_a_class_are_refreshes() {
    let plan = aged(Strategy::Early { beta: 1.0 }).loads_max(8.try_into().unwrap());
    let world = World::new(Kind::Sequence, plan).await;
    loaded(&world).await;
    let keys: Vec<i64> = (1..=6).collect();
    for key in &keys {
        world.write(*key, "a");
    }
    world.items.memory().clear();
    world.database.close_gate();
    let class = world.items.clone();
    let all = keys.clone();
    let reading = super::world::start(async move { class.get_many(&all).await });
    world.database.until_waiting(1).await;
    world.pass_healthily(ms(100)).await;
    world.database.open_gate();
    reading.end().await.unwrap().iter().for_each(|answer| assert_eq!(by(answer), ServedBy::Source));
    world.database.close_gate();
    let loads = world.database.loads();
    world.pass_healthily(secs(10) - ms(100 + 100)).await;
    for _ in 0..100 {
        for key in &keys {
            assert_eq!(by(&world.get(*key).await), ServedBy::L1);
        }
    }
    world.turns().await;
    assert_eq!(world.database.loads(), loads + 2);
    assert!(refreshed(&world, "put_off") > 0);
    world.database.open_gate();
}

#[tokio::test(start_paused = true)]
async fn background_an_absence_of_a_short_life_is_not_refreshed_all_the_time() {
    let world = World::new(Kind::Sequence, aged(background()).negative_life(secs(1))).await;
    let now = world.clock.now();
    assert!(world.get(2).await.is_absent());
    let absence = world.items.memory().get("2").unwrap();
    assert_eq!((absence.expires().since(now), absence.refresh_from().since(now)), (secs(1), ms(500)));
}

#[tokio::test(start_paused = true)]
async fn background_a_hot_key_is_loaded_before_its_end_although_nobody_reads_it_then() {
    let world = World::new(Kind::Sequence, aged(background())).await;
    loaded(&world).await;
    heat(&world, 1).await;
    let loads = world.database.loads();
    for _ in 0..78 {
        world.pass_healthily(ms(100)).await;
    }
    assert_eq!(world.database.loads(), loads);
    for _ in 0..3 {
        world.pass_healthily(ms(100)).await;
    }
    assert_eq!(world.database.loads(), loads + 1, "two seconds ahead");
}

#[tokio::test(start_paused = true)]
async fn background_hot_keys_that_change_together_are_loaded_together() {
    let world = World::new(Kind::Sequence, items().strategy(background())).await;
    loaded(&world).await;
    for key in [1, 2] {
        heat(&world, key).await;
    }
    let loads = world.database.loads();
    world.database.commit(&[(1, Some("b")), (2, Some("b"))]);
    world.database.pump();
    world.pass_healthily(ms(20)).await;
    assert_eq!(world.database.loads(), loads + 2, "one look finds both");
}

/// It takes a third of one connection at most.
#[tokio::test(start_paused = true)]
async fn background_a_hot_key_that_changes_all_the_time_rests_between_its_loads() {
    let world = World::new(Kind::Sequence, items().strategy(background())).await;
    loaded(&world).await;
    heat(&world, 1).await;
    let loads = world.database.loads();
    world.write(1, "b");
    world.pass_healthily(ms(20)).await;
    assert_eq!(world.database.loads(), loads + 1);
    world.write(1, "c");
    for _ in 0..7 {
        world.pass_healthily(ms(20)).await;
    }
    assert_eq!(world.database.loads(), loads + 1, "not within two times what a load takes");
    for _ in 0..15 {
        world.pass_healthily(ms(20)).await;
    }
    assert_eq!(world.database.loads(), loads + 2);
    assert_eq!(refreshed(&world, "loaded"), 2);
}

#[tokio::test(start_paused = true)]
async fn background_a_hot_key_that_can_not_be_loaded_or_kept_is_left_alone_for_a_while() {
    for is_kept in [true, false] {
        let plan = items().strategy(background()).failure_backoff(secs(2)).value_bytes_max(10);
        let world = World::new(Kind::Sequence, plan).await;
        loaded(&world).await;
        heat(&world, 1).await;
        let loads = world.database.loads();
        if is_kept {
            world.database.script((0..20).map(|_| Act::Fail(LoadError::Refused("no such column".into()))));
            world.write(1, "b");
        } else {
            world.write(1, "more than is kept");
        }
        for _ in 0..18 {
            world.pass_healthily(ms(100)).await;
        }
        assert_eq!(world.database.loads(), loads + 1, "kept: {is_kept}");
        assert_eq!(refreshed(&world, "failed"), 1);
        for _ in 0..5 {
            world.pass_healthily(ms(100)).await;
        }
        assert_eq!(world.database.loads(), loads + 2, "tried again after its pause");
    }
}

#[tokio::test(start_paused = true)]
async fn background_a_key_that_nobody_reads_any_more_is_not_hot_for_ever() {
    let world = World::new(Kind::Sequence, items().strategy(background())).await;
    loaded(&world).await;
    heat(&world, 1).await;
    assert_eq!(world.items.hot_keys(10), [1]);
    for _ in 0..10 {
        world.pass_healthily(secs(301)).await;
    }
    assert!(world.items.hot_keys(10).is_empty());
}
