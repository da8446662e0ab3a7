//! The checker of answers: it finds a lie and accuses nobody else.

use std::sync::Arc;

use trueup_core::{
    cache::CacheBuilder, class::Measurement, env::Clock, receipt::ServedBy, stats::CheckVerdict,
};

use super::{
    source::{Act, Database, Kind},
    world::{BOUND, World, by, form, items, ms, plan, secs, start, text},
};

fn verdicts(world: &World) -> [u64; 3] {
    world.items.stats().counts().checks.map(|(_, count)| count)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_source_still_gives_is_fresh() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    let hit = world.get(1).await;
    assert_eq!(world.items.verify(&1, &hit).await, Ok(CheckVerdict::Fresh));
    let absent = world.get(2).await;
    assert_eq!(world.items.verify(&2, &absent).await, Ok(CheckVerdict::Fresh));
    assert_eq!(verdicts(&world), [2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_change_on_its_way_explains_the_difference_once_the_feed_tells_of_it() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    let hit = world.get(1).await;
    assert_eq!((text(&hit), by(&hit)), (Some("a"), ServedBy::L1));
    let items = world.items.clone();
    let mut verdict = start(async move { items.verify(&1, &hit).await });
    world.turns().await;
    assert!(!verdict.has_ended(), "it waits for the feed");
    world.database.pump();
    assert_eq!(verdict.end().await, Ok(CheckVerdict::InFlight));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lied_is_found_out() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.script([Act::Lie(Some("never written".into()))]);
    world.get(1).await;
    let hit = world.get(1).await;
    assert_eq!((text(&hit), by(&hit)), (Some("never written"), ServedBy::L1));
    assert_eq!(world.items.verify(&1, &hit).await, Ok(CheckVerdict::Stale));
    assert_eq!(verdicts(&world), [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_against_an_answer_whose_epoch_is_over() {
    let world = World::usual().await;
    world.write(1, "a");
    let old = world.get(1).await;
    world.database.new_epoch();
    world.write(1, "b");
    world.database.new_epoch();
    assert_eq!(world.items.verify(&1, &old).await, Ok(CheckVerdict::InFlight));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_against_a_load_that_could_not_see_a_commit_yet() {
    let world = World::new(Kind::Xids, items()).await;
    world.write(1, "old");
    let ghost = world.database.commit_hidden(&[(1, Some("new"))]);
    for delivered in [false, true] {
        if delivered {
            world.database.pump();
        }
        let answer = world.get(1).await;
        assert_eq!((text(&answer), answer.receipt().proven), (Some("old"), true));
        if delivered {
            world.database.show(ghost);
            assert_eq!(world.items.verify(&1, &answer).await, Ok(CheckVerdict::InFlight));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_against_an_answer_that_was_called_stale() {
    let world = World::new(Kind::Sequence, items().serve_stale(secs(60))).await;
    world.write(1, "a");
    world.get(1).await;
    world.write(1, "b");
    world.database.go_down();
    let stale = world.get(1).await;
    assert_eq!(by(&stale), ServedBy::Stale);
    world.database.come_back();
    assert_eq!(world.items.verify(&1, &stale).await, Ok(CheckVerdict::InFlight));
}

#[tokio::test(start_paused = true)]
async fn the_online_checker_samples_proven_answers_in_the_background() {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let source: Arc<Database> = Arc::clone(&database);
    let cache = CacheBuilder::new(source).clock(clock.clone()).buckets(1 << 10).online_checks(true).start();
    cache.ready().await;
    let all = Measurement { check_share: 1.0, hit_rate_floor: None };
    let items = cache.class(plan(items().measurement(all)), form(), Arc::clone(&database) as _).unwrap();
    let world = World { clock, database, cache, items };
    world.write(1, "a");
    world.get(1).await;
    world.get(1).await;
    world.turns().await;
    assert_eq!(verdicts(&world), [1, 0, 0], "a hit is sampled, a load is not");
    world.pass(BOUND + ms(1)).await;
    world.get(1).await;
    world.turns().await;
    assert_eq!(verdicts(&world), [1, 0, 0]);
}
