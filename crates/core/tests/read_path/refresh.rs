//! Entries loaded before a reader needs them: near their end (`early`, `background`), and when they changed (`background`).

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
