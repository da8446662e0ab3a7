//! Classes that no feed proves: good until their life ends or until they are invalidated by name.

use trueup_core::{class::ClassPlanBuilder, receipt::ServedBy};

use super::{
    source::{Kind, row_tag},
    world::{World, by, items, ms, secs, text},
};

fn aged() -> ClassPlanBuilder {
    trueup_core::class::ClassPlan::display("item")
        .table("item")
        .key(["id"])
        .same_for_everyone()
        .age_bounded("team prices", "a daily import")
        .life(secs(10))
        .jitter(0.0)
}

async fn world() -> World {
    let world = World::new(Kind::Sequence, aged()).await;
    world.write(1, "a");
    world.get(1).await;
    world
}

#[tokio::test(start_paused = true)]
async fn its_answers_are_never_called_proven_and_their_age_is_counted_from_the_load() {
    let world = world().await;
    world.pass(secs(4)).await;
    let answer = world.get(1).await;
    assert_eq!((by(&answer), answer.receipt().proven, answer.receipt().age), (ServedBy::L1, false, secs(4)));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_feed_means_nothing_to_it_and_its_life_everything() {
    let world = world().await;
    world.pass(secs(10)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    world.pass(ms(1)).await;
    let answer = world.get(1).await;
    assert_eq!((by(&answer), answer.receipt().miss.unwrap().as_str()), (ServedBy::Source, "expired"));
    assert_eq!(world.items.stats().counts().renewed, 0, "nothing proves it, nothing renews it");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_invalidated_by_name() {
    let world = world().await;
    world.cache.invalidate(&[row_tag(1)]).await.unwrap();
    world.database.deliver();
    let answer = world.get(1).await;
    assert_eq!((by(&answer), answer.receipt().miss.unwrap().as_str()), (ServedBy::Source, "invalidated"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_token_or_a_tighter_bound_goes_to_the_source() {
    let world = world().await;
    let token = world.database.commit(&[(1, Some("b"))]);
    let own = world.items.read(&1).token(token).run().await.unwrap();
    assert_eq!((text(&own), by(&own)), (Some("b"), ServedBy::Source));
    world.pass(secs(2)).await;
    let tight = world.items.read(&1).max_staleness(secs(1)).run().await.unwrap();
    assert_eq!(by(&tight), ServedBy::Source);
}

#[tokio::test(start_paused = true)]
async fn several_keys_in_one_state_come_from_the_source() {
    let world = world().await;
    let answers = world.items.read_many(&[1, 1]).consistent().run().await.unwrap();
    assert!(answers.iter().all(|answer| by(answer) == ServedBy::Source));
}

/// The feed proves nothing of it, however healthy: what stands in is as old as its load.
#[tokio::test(start_paused = true)]
async fn what_stands_in_is_as_old_as_its_load() {
    let world = World::new(Kind::Sequence, aged().serve_stale(secs(60))).await;
    world.write(1, "a");
    world.get(1).await;
    for _ in 0..9 {
        world.pass_healthily(secs(1)).await;
        assert_eq!(by(&world.get(1).await), ServedBy::L1);
    }
    world.database.go_down();
    world.pass_healthily(secs(3)).await;
    let answer = world.get(1).await;
    assert_eq!((by(&answer), answer.receipt().age), (ServedBy::Stale, secs(12)));
}

/// The last moment of its life is one of it. Then the purge, which runs once a second, takes it, though nobody reads it.
#[tokio::test(start_paused = true)]
async fn it_gives_its_memory_back_when_its_life_is_over() {
    let world = world().await;
    for second in 1..=11 {
        world.pass(secs(1)).await;
        assert_eq!(world.items.memory().len(), usize::from(second <= 10), "after {second} s");
    }
}

/// The purge, which runs once a second, gives back what can be of no use any more, and nothing else.
#[tokio::test(start_paused = true)]
async fn what_may_stand_in_is_kept_as_long_as_it_may() {
    for plan in [aged(), items().life(secs(5)).negative_life(secs(5)).hard_age(secs(10))] {
        let world = World::new(Kind::Sequence, plan.serve_stale(secs(60))).await;
        world.write(1, "a");
        world.get(1).await;
        world.database.go_down();
        for _ in 0..59 {
            world.pass(secs(1)).await;
        }
        assert_eq!(by(&world.get(1).await), ServedBy::Stale);
        for _ in 0..3 {
            world.pass(secs(1)).await;
        }
        assert!(world.get_err(1).await);
        assert_eq!(world.items.memory().len(), 0);
    }
}
