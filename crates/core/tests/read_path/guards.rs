//! What protects the source from its readers, and the readers from a source in trouble.

use trueup_core::{
    class::{Fallback, Priority},
    error::{ClassError, ReadError},
    guard::LoadLimits,
    receipt::{Cached, ServedBy},
    source::{LoadError, ShedReason},
};

use super::{
    source::{Act, Database, Kind},
    world::{BOUND, World, by, form, items, ms, plan, secs, text},
};

/// Loads that fail in a row before the source is left alone.
const FAILURES: i64 = 5;

fn shed(error: &ReadError) -> (ShedReason, u64) {
    match error {
        ReadError::Load(LoadError::Shed { why, retry_after_ms }) => (*why, *retry_after_ms),
        other => panic!("not shed: {other}"),
    }
}

async fn until_left_alone(world: &World) {
    world.database.go_down();
    for key in 100..100 + FAILURES {
        assert!(world.get_err(key).await);
    }
    assert!(world.cache.source_guard().status().left_alone.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_in_a_row_is_left_alone_and_asked_again_once_it_answers_a_probe() {
    let world = World::usual().await;
    world.write(1, "a");
    until_left_alone(&world).await;
    let asked = world.database.loads();
    let error = world.items.get(&1).await.unwrap_err();
    let ReadError::Load(LoadError::LeftAlone { retry_after_ms }) = error else { panic!("{error}") };
    assert!((1..=2_000).contains(&retry_after_ms), "{retry_after_ms}");
    assert_eq!(world.database.loads(), asked, "nobody troubles it");
    for _ in 0..20 {
        world.pass(ms(500)).await;
    }
    assert!(world.get_err(1).await, "probes fail as well");
    assert_eq!(world.database.loads(), asked);
    world.database.come_back();
    world.pass(secs(3)).await;
    world.database.pump();
    assert_eq!(world.cache.source_guard().status().left_alone, None);
    assert_eq!(text(&world.get(1).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_wrong_says_nothing_about_the_source() {
    let world = World::usual().await;
    world.database.script((0..50).map(|_| Act::Fail(LoadError::Refused("no such column".into()))));
    for key in 0..50 {
        assert!(world.get_err(key).await);
    }
    assert_eq!(world.cache.source_guard().status().left_alone, None);
}

#[tokio::test(start_paused = true)]
async fn a_class_with_little_patience_does_not_keep_the_others_from_the_source() {
    let world = World::new(Kind::Sequence, items().hard_timeout(ms(100))).await;
    world.write(1, "a");
    for key in 10..30 {
        world.database.script([Act::Hang]);
        let hanging = world.start_get(key);
        world.turns().await;
        world.pass_healthily(ms(100)).await;
        assert!(hanging.end().await.is_err());
    }
    assert_eq!(world.cache.source_guard().status().left_alone, None);
    assert_eq!(text(&world.get(1).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_source_is_told_at_once_when_it_is_left_alone() {
    let limits =
        LoadLimits { loads_max: 5.try_into().unwrap(), critical_reserve: 0.0, ..LoadLimits::default() };
    let world = limited(limits, Priority::Normal).await;
    world.database.script((0..5).map(|_| Act::Fail(LoadError::Unavailable("gone".into()))));
    world.database.close_gate();
    let running: Vec<_> = (1..=5).map(|key| world.start_get(key)).collect();
    world.database.until_waiting(5).await;
    let mut waiting = world.start_get(6);
    world.turns().await;
    assert!(!waiting.has_ended());
    // Four places come free and are taken again before the fifth failure; the sixth load is one of them, or is told.
    world.database.open_gate();
    for reader in running {
        assert!(reader.end().await.is_err());
    }
    let _ = waiting.end().await;
    assert_eq!(world.cache.source_guard().status().limiter.waiting, [0, 0, 0]);
}

async fn limited(limits: LoadLimits, priority: Priority) -> World {
    let clock = trueup_core::env::Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    World::limited(database, clock, items().priority(priority), limits).await
}

#[tokio::test(start_paused = true)]
async fn all_classes_together_stay_within_the_limit_of_the_source_and_critical_ones_have_a_reserve() {
    let limits =
        LoadLimits { loads_max: 5.try_into().unwrap(), critical_reserve: 0.2, ..LoadLimits::default() };
    let world = limited(limits, Priority::Normal).await;
    let critical = world
        .cache
        .class::<i64, String>(plan(items().priority(Priority::Critical)), form(), world.database.clone() as _)
        .unwrap();
    world.database.close_gate();
    let _normal: Vec<_> = (1..=9).map(|key| world.start_get(key)).collect();
    world.database.until_waiting(4).await;
    world.turns().await;
    assert_eq!(world.database.loads(), 4, "a fifth of five is not theirs");
    let reading = super::world::start(async move { critical.get(&50).await });
    world.turns().await;
    assert_eq!(world.database.loads(), 5);
    world.database.open_gate();
    assert!(reading.end().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_more_loads_in_a_second_than_are_declared() {
    let limits = LoadLimits {
        loads_max: 64.try_into().unwrap(),
        loads_per_second_max: 20.try_into().ok(),
        critical_reserve: 0.0,
        ..LoadLimits::default()
    };
    let world = limited(limits, Priority::Normal).await;
    let _readers: Vec<_> = (0..500).map(|key| world.start_get(key)).collect();
    world.turns().await;
    let mut before = world.database.loads();
    for second in 0..4 {
        for _ in 0..100 {
            world.pass(ms(10)).await;
        }
        let loads = world.database.loads() - before;
        before += loads;
        assert!((18..=21).contains(&loads), "second {second}: {loads}");
    }
    // Whoever could not be served in time was told when to come again.
    world.pass(secs(5)).await;
    let late = world.start_get(1_000);
    world.turns().await;
    for _ in 0..100 {
        world.pass(ms(10)).await;
    }
    assert!(late.end().await.is_ok());
    let shed = world.items.stats().counts().shed;
    assert!(shed > 300, "{shed} were told");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_its_reason_and_a_wait_that_comes_from_the_queue() {
    let limits = LoadLimits { loads_max: 1.try_into().unwrap(), ..LoadLimits::default() };
    let clock = trueup_core::env::Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let wide = items().loads_max(200.try_into().unwrap());
    let world = World::limited(database, clock, wide, limits).await;
    world.database.close_gate();
    let _running = world.start_get(0);
    world.database.until_waiting(1).await;
    // 64 may wait for each that runs.
    let _waiting: Vec<_> = (1..=64).map(|key| world.start_get(key)).collect();
    world.turns().await;
    let refused = world.items.get(&65).await.unwrap_err();
    // 64 are ahead, each of which takes 20 ms as far as anybody knows.
    assert_eq!(shed(&refused), (ShedReason::QueueFull, 1_300));
    assert_eq!(refused.to_string(), "too many loads are waiting for the source; retry after 1300 ms");
    assert_eq!(world.items.stats().counts().shed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_declared_value_stands_in_and_is_labelled_and_never_kept() {
    let declared = items().fallback(Fallback::Value("\"sorry\"".into()));
    let world = World::new(Kind::Sequence, declared).await;
    world.write(1, "a");
    world.database.go_down();
    let answer = world.get(1).await;
    let receipt = *answer.receipt();
    assert_eq!(
        (text(&answer), receipt.served_by, receipt.proven),
        (Some("sorry"), ServedBy::Fallback, false)
    );
    assert_eq!(receipt.age, std::time::Duration::MAX, "nothing is known of it");
    assert_eq!(world.items.seen_token(&answer), None);
    assert!(world.items.memory().is_empty());
    assert_eq!(world.served(ServedBy::Fallback), 1);
    world.database.come_back();
    world.pass(secs(3)).await;
    world.database.pump();
    let answer: Cached<String> = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Source));
}

#[tokio::test(start_paused = true)]
async fn nothing_stands_in_for_a_reader_with_a_token_or_for_one_state_of_several_keys() {
    for fallback in [Fallback::Value("\"sorry\"".into()), Fallback::LastKnownGood] {
        let world = World::new(Kind::Sequence, items().fallback(fallback)).await;
        world.write(1, "a");
        world.get(1).await;
        let token = world.database.commit(&[(1, Some("b"))]);
        world.database.deliver();
        world.database.go_down();
        assert!(world.items.read(&1).token(token).run().await.is_err());
        assert!(world.items.read_many(&[1, 2]).consistent().run().await.is_err());
        assert!(world.items.get(&1).await.is_ok(), "without a token it does");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_known_good_value_outlives_eviction_and_has_an_end_and_ends_with_the_epoch() {
    // A change, and a purge, take the entry out of memory; no `serve_stale` is declared.
    let kept = items().fallback(Fallback::LastKnownGood).fallback_age_max(secs(60));
    let world = World::new(Kind::Sequence, kept).await;
    world.write(1, "good");
    world.get(1).await;
    world.items.memory().clear();
    world.database.go_down();
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer), answer.receipt().proven), (Some("good"), ServedBy::Stale, false));
    assert!(world.get_err(2).await, "nothing is known of another key");
    world.pass(secs(50)).await;
    assert_eq!(text(&world.get(1).await), Some("good"));
    world.pass(secs(11)).await;
    assert!(world.get_err(1).await, "too old to be shown");

    world.database.come_back();
    world.pass(secs(3)).await;
    world.database.pump();
    world.get(1).await;
    world.items.memory().clear();
    world.database.new_epoch();
    world.database.go_down();
    assert!(world.get_err(1).await, "it may be of another world");
}

#[tokio::test(start_paused = true)]
async fn a_refused_query_is_not_papered_over() {
    let world = World::new(Kind::Sequence, items().fallback(Fallback::Value("\"sorry\"".into()))).await;
    world.database.script([Act::Fail(LoadError::Refused("no such column".into()))]);
    assert!(world.get_err(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_declared_value_of_another_shape_is_refused_when_the_class_is_opened() {
    let world = World::usual().await;
    let wrong = items().fallback(Fallback::Value("{\"no\": \"text\"}".into()));
    let opened = world.cache.class::<i64, String>(plan(wrong), form(), world.database.clone() as _);
    assert!(matches!(opened, Err(ClassError::Fallback { .. })));
    assert!(items().fallback(Fallback::Value("{".into())).build().is_err());
    assert!(items().fallback(Fallback::LastKnownGood).fallback_age_max(BOUND).build().is_err());
}

#[tokio::test(start_paused = true)]
async fn below_the_floor_of_the_hit_rate_what_is_not_critical_is_limited_until_it_recovers() {
    let floor = items().hit_rate_floor(0.8).hit_rate_window(secs(10)).priority(Priority::Critical);
    let clock = trueup_core::env::Clock::stepped();
    let limits = LoadLimits { loads_max: 8.try_into().unwrap(), ..LoadLimits::default() };
    let world = World::limited(Database::new(Kind::Sequence, clock.clone()), clock, floor, limits).await;
    let sheddable = world
        .cache
        .class::<i64, String>(
            plan(items().priority(Priority::Sheddable)),
            form(),
            world.database.clone() as _,
        )
        .unwrap();
    // Every read of this class is of a new key.
    let mut key = 0;
    for _ in 0..12 {
        for _ in 0..50 {
            key += 1;
            world.get(key).await;
        }
        world.pass_healthily(secs(1)).await;
    }
    assert!(world.items.hit_rate_is_low());
    let status = world.cache.source_guard().status();
    assert_eq!((status.limiter.tripped, status.below_floor.len()), (true, 1));
    // One of eight places is theirs, and nobody waits for it.
    world.database.close_gate();
    let only = {
        let sheddable = sheddable.clone();
        super::world::start(async move { sheddable.get(&-1).await })
    };
    world.database.until_waiting(1).await;
    let error = sheddable.get(&-3).await.unwrap_err();
    assert_eq!(shed(&error).0, ShedReason::HitRate);
    world.database.open_gate();
    assert!(only.end().await.is_ok());
    world.get(-2).await;
    // The critical class is read in its hits again.
    for _ in 0..24 {
        for _ in 0..50 {
            world.get(-2).await;
        }
        world.pass_healthily(secs(1)).await;
    }
    assert!(!world.items.hit_rate_is_low());
    assert!(!world.cache.source_guard().status().limiter.tripped);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_gone_is_below_no_floor() {
    let floor = items().hit_rate_floor(0.8).hit_rate_window(secs(10));
    let World { clock, database, cache, items } = World::new(Kind::Sequence, floor).await;
    let mut key = 0;
    for _ in 0..12 {
        for _ in 0..50 {
            key += 1;
            items.get(&key).await.unwrap();
        }
        clock.advance(secs(1));
        tokio::time::advance(secs(1)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        database.pump();
    }
    assert!(items.hit_rate_is_low() && cache.source_guard().status().limiter.tripped);
    drop(items);
    let status = cache.source_guard().status();
    assert_eq!((status.limiter.tripped, status.below_floor.len()), (false, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_to_stand_in_is_told_in_bytes() {
    let world = World::new(Kind::Sequence, items().fallback(Fallback::LastKnownGood)).await;
    assert_eq!(world.items.fallback_bytes(), 0);
    world.write(1, &"x".repeat(1_000));
    world.get(1).await;
    let one = world.items.fallback_bytes();
    assert!(one > 1_000, "{one}");
    world.write(2, &"x".repeat(1_000));
    world.get(2).await;
    assert_eq!(world.items.fallback_bytes(), 2 * one);
    let declared = World::new(Kind::Sequence, items().fallback(Fallback::Value("\"sorry\"".into()))).await;
    declared.get(1).await;
    assert_eq!(declared.items.fallback_bytes(), 0, "the plan's own is no entry");
}

#[tokio::test(start_paused = true)]
async fn a_newer_value_stands_in_for_an_older_one() {
    let world = World::new(Kind::Sequence, items().fallback(Fallback::LastKnownGood)).await;
    for value in ["a", "b"] {
        world.write(1, value);
        world.get(1).await;
    }
    world.items.memory().clear();
    world.database.go_down();
    assert_eq!(text(&world.get(1).await), Some("b"));
}

/// Loaded again, it is known to have been good later, although nothing has changed.
#[tokio::test(start_paused = true)]
async fn a_value_that_the_source_has_shown_again_stands_in_from_then_on() {
    let kept = items().fallback(Fallback::LastKnownGood).fallback_age_max(secs(60));
    let world = World::new(Kind::Sequence, kept).await;
    world.write(1, "a");
    world.get(1).await;
    world.items.memory().clear();
    world.pass_healthily(secs(50)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::Source);
    world.items.memory().clear();
    world.database.go_down();
    world.pass(secs(20)).await;
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer), answer.receipt().age), (Some("a"), ServedBy::Stale, secs(20)));
}

#[tokio::test(start_paused = true)]
async fn how_long_loads_take_is_known_after_the_first() {
    let world = World::usual().await;
    assert_eq!((world.items.load_time(), world.items.usual_load_time()), (None, None));
    world.database.close_gate();
    let reading = world.start_get(1);
    world.database.until_waiting(1).await;
    world.pass(ms(30)).await;
    world.database.open_gate();
    reading.end().await.unwrap();
    assert_eq!(world.items.load_time(), Some(ms(30)));
    assert_eq!(world.items.usual_load_time(), Some(ms(30)));
}
