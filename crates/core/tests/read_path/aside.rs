//! Cache-aside: clients load, under leases, and nothing proves what they bring.

use std::sync::Arc;

use trueup_core::{
    LeaseId,
    class::{ClassPlan, ClassPlanBuilder},
    env::Clock,
    error::{FillError, ReadError},
    proof::Tag,
    read::{Lease, Leased},
    receipt::{Miss, ServedBy},
    source::LoadError,
    tier::testing::RemoteDouble,
};

use super::{
    source::{Database, Kind},
    world::{World, by, ms, secs, start, text},
};

/// How long a lease runs: a load's longest time.
const LEASE_S: u64 = 5;

fn rates() -> ClassPlanBuilder {
    ClassPlan::display("rate")
        .external()
        .key(["id"])
        .same_for_everyone()
        .age_bounded("treasury", "an API of somebody else's")
        .life(secs(60))
        .jitter(0.0)
        .hard_timeout(secs(LEASE_S))
}

async fn world() -> World {
    World::new(Kind::Xids, rates()).await
}

async fn granted(world: &World, key: i64) -> Lease {
    match world.items.lease(&key).await.unwrap() {
        Leased::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn fill(world: &World, key: i64, lease: LeaseId, value: &str) -> Result<(), FillError> {
    world.items.fill(&key, lease, Some(value.to_owned())).map(drop)
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_filled_is_said_to_be_so_and_nobody_is_asked() {
    let world = world().await;
    assert_eq!(world.items.get(&1).await.unwrap_err(), ReadError::Load(LoadError::Unfilled));
    assert_eq!(world.database.loads(), 0, "the database holds no such thing");
    let counts = world.items.stats().counts();
    assert_eq!((counts.failures, counts.in_flight), (0, 0), "nothing went wrong");
}

#[tokio::test(start_paused = true)]
async fn one_client_fills_the_others_wait_and_then_all_have_it() {
    let world = world().await;
    let lease = granted(&world, 1).await;
    assert_eq!(lease.life, secs(LEASE_S));
    world.pass(secs(1)).await;
    assert!(matches!(
        world.items.lease(&1).await.unwrap(),
        Leased::Wait { lapses_in } if lapses_in == secs(LEASE_S - 1)
    ));
    fill(&world, 1, lease.id, "1.25").unwrap();
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("1.25"), ServedBy::L1));
    assert!(!answer.receipt().proven, "nothing proves what a client says");
    assert_eq!(answer.receipt().age, secs(1), "true as of the lease at best");
    assert!(matches!(world.items.lease(&1).await.unwrap(), Leased::Found(_)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_fills_once_and_not_after_it_has_lapsed() {
    let world = world().await;
    let lease = granted(&world, 1).await;
    fill(&world, 1, lease.id, "a").unwrap();
    assert_eq!(fill(&world, 1, lease.id, "b"), Err(FillError::LeaseLost));
    let slow = granted(&world, 2).await;
    world.pass(secs(LEASE_S)).await;
    let next = granted(&world, 2).await;
    assert_eq!(fill(&world, 2, slow.id, "old"), Err(FillError::LeaseLost));
    fill(&world, 2, next.id, "new").unwrap();
    assert_eq!((text(&world.get(1).await), text(&world.get(2).await)), (Some("a"), Some("new")));
}

/// Delete on write and fill on miss, as most teams write it, puts the old value back here and keeps it.
#[tokio::test(start_paused = true)]
async fn a_fill_that_began_before_an_invalidation_is_not_kept() {
    for tag in ["rate:1", "rate"] {
        let world = world().await;
        let slow = granted(&world, 1).await;
        world.cache.invalidate(&[Tag::named(tag)]).await.unwrap();
        world.database.pump();
        assert_eq!(fill(&world, 1, slow.id, "read before"), Err(FillError::Invalidated));
        assert_eq!(world.items.get(&1).await.unwrap_err(), ReadError::Load(LoadError::Unfilled));
        let next = granted(&world, 1).await;
        fill(&world, 1, next.id, "read after").unwrap();
        assert_eq!(text(&world.get(1).await), Some("read after"));
    }
}

/// The client's load began after the invalidation had been told here: it counts as seen although no snapshot shows it.
#[tokio::test(start_paused = true)]
async fn what_was_invalidated_before_the_lease_does_not_end_the_fill() {
    let world = world().await;
    world.cache.invalidate(&[Tag::named("rate:1")]).await.unwrap();
    world.database.deliver();
    let lease = granted(&world, 1).await;
    fill(&world, 1, lease.id, "a").unwrap();
    assert_eq!(text(&world.get(1).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_invalidated_and_when_its_life_ends() {
    let world = world().await;
    let lease = granted(&world, 1).await;
    fill(&world, 1, lease.id, "a").unwrap();
    world.cache.invalidate(&[Tag::named("rate:1")]).await.unwrap();
    world.database.pump();
    let lease = granted(&world, 1).await;
    fill(&world, 1, lease.id, "b").unwrap();
    world.pass_healthily(secs(60)).await;
    assert_eq!(text(&world.get(1).await), Some("b"));
    world.pass_healthily(ms(1)).await;
    granted(&world, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_fill_of_an_interrupted_feed_is_not_kept() {
    let world = world().await;
    let lease = granted(&world, 1).await;
    world.cache.feed().end_epoch();
    assert_eq!(fill(&world, 1, lease.id, "a"), Err(FillError::Invalidated));
}

#[tokio::test(start_paused = true)]
async fn absence_is_kept_where_the_plan_keeps_it() {
    let world = World::new(Kind::Xids, rates().negative_life(secs(10))).await;
    let lease = granted(&world, 1).await;
    world.items.fill(&1, lease.id, None).unwrap();
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (None, ServedBy::L1));
    world.pass_healthily(secs(11)).await;
    granted(&world, 1).await;
}

#[tokio::test(start_paused = true)]
async fn several_keys_are_answered_where_they_are_filled() {
    let world = world().await;
    let lease = granted(&world, 2).await;
    fill(&world, 2, lease.id, "b").unwrap();
    let answers = world.items.read_many(&[1, 2, 3]).run_filled().await.unwrap();
    let values: Vec<_> = answers.iter().map(|answer| answer.as_ref().and_then(text)).collect();
    assert_eq!(values, [None, Some("b"), None]);
}

#[tokio::test(start_paused = true)]
async fn who_loads_in_this_program_loads_once_for_all() {
    let world = world().await;
    let (done, wait) = tokio::sync::oneshot::channel::<()>();
    let items = world.items.clone();
    let leader = start(async move {
        let load = async || {
            wait.await.unwrap();
            Ok::<_, ReadError>(Some("a".to_owned()))
        };
        items.get_with(&1, load).await
    });
    world.turns().await;
    let followers: Vec<_> =
        (0..20)
            .map(|_| {
                let items = world.items.clone();
                start(async move {
                    items.get_with(&1, async || panic!("loads again")).await as Result<_, ReadError>
                })
            })
            .collect();
    world.turns().await;
    done.send(()).unwrap();
    assert_eq!(text(&leader.end().await.unwrap()), Some("a"));
    for follower in followers {
        assert_eq!(text(&follower.end().await.unwrap()), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_fails_leaves_the_key_to_the_next_at_once() {
    let world = world().await;
    let failed = async || Err(ReadError::Load(LoadError::Lost));
    assert!(world.items.get_with(&1, failed).await.is_err());
    let answer = world.items.get_with(&1, async || Ok::<_, ReadError>(Some("a".to_owned()))).await.unwrap();
    assert_eq!(text(&answer), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_class_that_loads_by_itself_gives_no_lease() {
    let world = World::usual().await;
    let error = world.items.lease(&1).await.unwrap_err().to_string();
    assert!(error.contains("loads its values by itself"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_node_finds_what_was_filled_here() {
    let clock = Clock::stepped();
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let database = Database::new(Kind::Xids, clock.clone());
    let plan = || rates().l2();
    let one = World::on(Arc::clone(&database), clock.clone(), plan(), Some(Arc::clone(&remote) as _)).await;
    let two = World::on(database, clock, plan(), Some(remote as _)).await;
    let lease = granted(&one, 1).await;
    fill(&one, 1, lease.id, "a").unwrap();
    one.turns().await;
    let answer = two.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::L2));
    assert!(!answer.receipt().proven);
}

/// Who wants to fill a key and finds that another node has done so is told where the value comes from, and why it was not here.
#[tokio::test(start_paused = true)]
async fn a_lease_is_answered_by_what_another_node_filled() {
    let clock = Clock::stepped();
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let database = Database::new(Kind::Xids, clock.clone());
    let plan = || rates().l2();
    let one = World::on(Arc::clone(&database), clock.clone(), plan(), Some(Arc::clone(&remote) as _)).await;
    let two = World::on(database, clock, plan(), Some(remote as _)).await;
    let lease = granted(&one, 1).await;
    fill(&one, 1, lease.id, "a").unwrap();
    one.turns().await;
    let Leased::Found(answer) = two.items.lease(&1).await.unwrap() else { panic!("nothing was found") };
    assert_eq!(text(&answer), Some("a"));
    assert_eq!((answer.receipt().served_by, answer.receipt().miss), (ServedBy::L2, Some(Miss::Cold)));
}

/// What a loader brings after its lease has lapsed is its own answer; neither tier takes it: what was invalidated meanwhile is
/// not known any more.
#[tokio::test(start_paused = true)]
async fn what_comes_after_the_lease_has_lapsed_is_kept_nowhere() {
    let clock = Clock::stepped();
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let database = Database::new(Kind::Xids, clock.clone());
    let world = World::on(database, clock, rates().l2(), Some(Arc::clone(&remote) as _)).await;
    let load = async || {
        world.pass_healthily(secs(LEASE_S)).await;
        world.cache.invalidate(&[Tag::named("rate:1")]).await.unwrap();
        world.database.pump();
        Ok::<_, ReadError>(Some("read before".to_owned()))
    };
    let answer = world.items.get_with(&1, load).await.unwrap();
    assert_eq!(text(&answer), Some("read before"));
    world.turns().await;
    assert_eq!(world.items.get(&1).await.unwrap_err(), ReadError::Load(LoadError::Unfilled));
}
