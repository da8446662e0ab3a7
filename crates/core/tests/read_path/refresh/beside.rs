//! What another node has refreshed, or is to refresh.

use std::sync::Arc;

use trueup_core::{class::Strategy, env::Clock, receipt::ServedBy, tier::testing::RemoteDouble};

use super::{
    super::{
        remote::{aged_envelope, place},
        source::{Database, Kind},
        world::{World, by, ms, plan, secs, text},
    },
    aged, background, heat, loaded, refreshed, refreshes,
};

/// A node behind a remote tier that holds 1 as another node has loaded it, so many seconds ago.
async fn beside_another(strategy: Strategy) -> (World, Arc<RemoteDouble>) {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let plan = aged(strategy).l2();
    let world = World::on(database, clock, plan, Some(Arc::clone(&remote) as _)).await;
    world.clock.advance(secs(1_000));
    world.database.pump();
    loaded(&world).await;
    (world, remote)
}

fn plant(world: &World, remote: &RemoteDouble, strategy: Strategy, age: u64) {
    let digest = plan(aged(strategy).l2()).digest();
    remote.plant(&place(1), aged_envelope(world, digest, age * 1_000, 600_000));
}

#[tokio::test(start_paused = true)]
async fn early_what_another_node_has_refreshed_is_taken_over_unless_it_is_near_its_end_as_well() {
    let early = Strategy::Early { beta: 3.0 };
    for (age, is_taken) in [(1, true), (8, false)] {
        let (world, remote) = beside_another(early).await;
        world.pass_healthily(secs(9) - ms(100)).await;
        plant(&world, &remote, early, age);
        let loads = world.database.loads();
        while refreshes(&world, "early") == 0 {
            assert_eq!(by(&world.get(1).await), ServedBy::L1);
            world.turns().await;
        }
        assert_eq!(world.database.loads() - loads, usize::from(!is_taken), "{age} s old");
        assert_eq!(refreshed(&world, "shared"), u64::from(is_taken));
        assert_eq!(text(&world.get(1).await), Some(if is_taken { "planted" } else { "a" }));
    }
}

/// What is held is worth nothing any more, however long it would have lived.
#[tokio::test(start_paused = true)]
async fn background_what_another_node_has_loaded_after_a_change_is_taken_over_whatever_its_age() {
    for age in [5, 8] {
        let (world, remote) = beside_another(background()).await;
        heat(&world, 1).await;
        let loads = world.database.loads();
        world.write(1, "b");
        plant(&world, &remote, background(), age);
        world.pass_healthily(ms(20)).await;
        assert_eq!((world.database.loads(), refreshed(&world, "shared")), (loads, 1), "{age} s old");
        assert_eq!(text(&world.get(1).await), Some("planted"));
    }
}

/// It has no load time of its own: what loads of the class take here stands for it.
#[tokio::test(start_paused = true)]
async fn early_what_another_node_has_loaded_is_refreshed_before_its_end_as_well() {
    let early = Strategy::Early { beta: 1.0 };
    let (world, remote) = beside_another(early).await;
    world.items.memory().clear();
    plant(&world, &remote, early, 1);
    assert_eq!(by(&world.get(1).await), ServedBy::L2);
    let loads = world.database.loads();
    let left = world.items.memory().get("1").unwrap().expires().since(world.clock.now());
    world.pass_healthily(left - ms(200)).await;
    remote.lose_all();
    for _ in 0..500 {
        assert_eq!(by(&world.get(1).await), ServedBy::L1);
    }
    world.turns().await;
    assert_eq!((world.database.loads(), refreshed(&world, "loaded")), (loads + 1, 1));
}
