//! The checker of answers: it finds a lie and accuses nobody else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tracing::{Event, Level, Metadata, Subscriber, span};
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
    let world = checked(1.0).await;
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

/// A world in which so many of the answers are checked.
async fn checked(share: f64) -> World {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let source: Arc<Database> = Arc::clone(&database);
    let cache = CacheBuilder::new(source).clock(clock.clone()).buckets(1 << 10).online_checks(true).start();
    cache.ready().await;
    let some = Measurement { check_share: share, hit_rate_floor: None };
    let items = cache.class(plan(items().measurement(some)), form(), Arc::clone(&database) as _).unwrap();
    World { clock, database, cache, items }
}

#[tokio::test(start_paused = true)]
async fn the_online_checker_samples_the_share_that_the_plan_says() {
    let world = checked(0.1).await;
    world.write(1, "a");
    world.get(1).await;
    for _ in 0..10 {
        for _ in 0..10 {
            world.get(1).await;
        }
        world.pass_healthily(ms(5)).await;
    }
    assert_eq!(verdicts(&world), [10, 0, 0]);
}

/// To wake a task for each would cost its reader far more than the hit does.
#[tokio::test(start_paused = true)]
async fn samples_that_come_just_after_a_check_gather_and_are_checked_together() {
    let world = checked(1.0).await;
    world.write(1, "a");
    for read in 0..5 {
        world.get(1).await;
        world.turns().await;
        assert_eq!(verdicts(&world), [read.min(1), 0, 0], "after {read} hits");
    }
    world.pass_healthily(ms(4)).await;
    assert_eq!(verdicts(&world), [1, 0, 0]);
    world.pass_healthily(ms(1)).await;
    assert_eq!(verdicts(&world), [4, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_against_an_answer_while_the_feed_is_silent() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    let hit = world.get(1).await;
    assert!(hit.receipt().proven);
    let items = world.items.clone();
    let mut verdict = start(async move { items.verify(&1, &hit).await });
    world.turns().await;
    assert!(!verdict.has_ended());
    world.pass(secs(10)).await;
    assert_eq!(verdict.end().await, Ok(CheckVerdict::InFlight), "whatever it may have to tell");
}

/// Counts what is logged as an error on this thread.
struct Errors(Arc<AtomicUsize>);

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_is_logged_as_an_error_and_no_other_verdict_is() {
    let errors = Arc::new(AtomicUsize::new(0));
    // With one subscriber a log statement that another thread comes by first is off from then on: that thread has none. Of two both are asked.
    let _another = tracing::Dispatch::new(Errors(Arc::default()));
    let _logged = tracing::subscriber::set_default(Errors(Arc::clone(&errors)));
    let world = World::usual().await;
    world.write(1, "a");
    let right = world.get(1).await;
    assert_eq!(world.items.verify(&1, &right).await, Ok(CheckVerdict::Fresh));
    assert_eq!(errors.load(Ordering::SeqCst), 0);
    world.database.script([Act::Lie(Some("never written".into()))]);
    world.get(2).await;
    let wrong = world.get(2).await;
    assert_eq!(world.items.verify(&2, &wrong).await, Ok(CheckVerdict::Stale));
    assert_eq!(errors.load(Ordering::SeqCst), 1);
}
