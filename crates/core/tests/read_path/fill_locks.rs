//! One load of a key in a fleet: who is about to load asks for a lock, and no answer of it makes a read fail, or wrong.

mod released;

use std::sync::Arc;

use trueup_core::{
    class::{ClassPlanBuilder, StampedeScope},
    env::Clock,
    receipt::ServedBy,
    tier::{
        RemoteKey,
        testing::{Fault, RemoteDouble},
    },
};

use super::{
    source::{Act, Database, Kind},
    world::{Pending, World, by, form, items, ms, secs, start, text},
};

fn shared() -> ClassPlanBuilder {
    items().l2().stampede_scope(StampedeScope::Fleet)
}

struct Fleet {
    remote: Arc<RemoteDouble>,
    clock: Clock,
    database: Arc<Database>,
    nodes: Vec<World>,
}

async fn fleet(nodes: usize, plan: fn() -> ClassPlanBuilder) -> Fleet {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1).with_locks());
    let mut started = Vec::new();
    for _ in 0..nodes {
        let tier = Some(Arc::clone(&remote) as _);
        started.push(World::on(Arc::clone(&database), clock.clone(), plan(), tier).await);
    }
    Fleet { remote, clock, database, nodes: started }
}

fn place(key: i64) -> RemoteKey {
    RemoteKey::new("item", form().key(&key).unwrap().digest("item"))
}

impl Fleet {
    /// Time passes in steps that every task can keep up with, while the feed is healthy.
    async fn pass(&self, span: std::time::Duration) {
        for _ in 0..span.as_millis() {
            self.nodes[0].pass_healthily(ms(1)).await;
        }
    }

    /// All nodes know that a load of the class takes 100 ms.
    async fn learn_load_time(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            self.database.close_gate();
            let learning = node.start_get(1_000 + index as i64);
            self.database.until_waiting(1).await;
            self.pass(ms(100)).await;
            self.database.open_gate();
            learning.end().await.unwrap();
            self.pass(ms(5)).await;
        }
    }

    fn outcome(&self, name: &str) -> u64 {
        let count = |node: &World| {
            let locks = node.items.stats().counts().stampede.locks;
            locks.iter().find(|(outcome, _)| *outcome == name).unwrap().1
        };
        self.nodes.iter().map(count).sum()
    }

    fn crowd(&self, readers: usize, key: i64) -> Vec<Pending<super::world::Answer>> {
        self.nodes.iter().flat_map(|node| (0..readers).map(|_| node.start_get(key))).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_on_every_node_is_one_load_of_the_fleet() {
    let fleet = fleet(3, shared).await;
    fleet.nodes[0].write(1, "a");
    fleet.learn_load_time().await;
    let before = fleet.database.loads();
    fleet.database.close_gate();
    let readers = fleet.crowd(20, 1);
    fleet.database.until_waiting(1).await;
    fleet.pass(ms(100)).await;
    assert_eq!(fleet.database.loads(), before + 1, "the others wait, however long it takes");
    fleet.database.open_gate();
    fleet.pass(ms(15)).await;
    for mut reader in readers {
        assert!(reader.has_ended(), "soon after the load");
        let answer = reader.end().await.unwrap();
        assert_eq!((text(&answer), answer.receipt().proven), (Some("a"), true));
    }
    assert_eq!(fleet.database.loads(), before + 1);
    assert_eq!((fleet.outcome("shared"), fleet.outcome("given_up")), (2, 0));
    assert!(!fleet.remote.is_locked(&place(1)), "released once shared");
}

#[tokio::test(start_paused = true)]
async fn a_class_of_node_scope_asks_for_no_lock() {
    let fleet = fleet(2, || items().l2()).await;
    fleet.nodes[0].write(1, "a");
    fleet.database.close_gate();
    let readers = fleet.crowd(5, 1);
    fleet.database.until_waiting(2).await;
    assert!(!fleet.remote.is_locked(&place(1)));
    fleet.database.open_gate();
    for reader in readers {
        assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_owner_dies_another_node_takes_over_within_a_part_of_a_load() {
    let fleet = fleet(2, shared).await;
    fleet.nodes[0].write(1, "a");
    fleet.learn_load_time().await;
    // Somebody took the lock for a third of a load and died.
    fleet.remote.plant_lock(&place(1), ms(33));
    let mut reading = fleet.nodes[0].start_get(1);
    fleet.pass(ms(30)).await;
    assert!(!reading.has_ended());
    fleet.pass(ms(15)).await;
    assert!(reading.has_ended(), "the lock ended at 33 ms");
    assert_eq!(text(&reading.end().await.unwrap()), Some("a"));
    assert_eq!(fleet.outcome("taken_over"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_hands_the_lock_over_at_once() {
    let fleet = fleet(2, shared).await;
    fleet.nodes[0].write(1, "a");
    fleet.learn_load_time().await;
    fleet.database.script([Act::Hang]);
    let failing = fleet.nodes[0].start_get(1);
    fleet.pass(ms(10)).await;
    let waiting = fleet.nodes[1].start_get(1);
    fleet.pass(ms(4_900)).await;
    // It has given up waiting before: nobody waits for four loads.
    assert_eq!(text(&waiting.end().await.unwrap()), Some("a"));
    assert_eq!(fleet.outcome("given_up"), 1);
    fleet.pass(ms(200)).await;
    assert!(failing.end().await.is_err());
    assert!(!fleet.remote.is_locked(&place(1)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_of_the_feed_waits_for_no_other_node() {
    let fleet = fleet(2, shared).await;
    fleet.nodes[0].write(1, "old");
    fleet.learn_load_time().await;
    fleet.remote.plant_lock(&place(1), ms(300));
    let token = fleet.database.commit(&[(1, Some("new"))]);
    // One that leads, and one that joins a load which waits for the lock.
    for key in [1, 2] {
        fleet.remote.plant_lock(&place(key), ms(300));
    }
    let waiting = fleet.nodes[0].start_get(1);
    fleet.nodes[0].turns().await;
    for key in [1, 2] {
        let items = fleet.nodes[0].items.clone();
        let mut own = start(async move { items.read(&key).token(token).run().await });
        fleet.nodes[0].turns().await;
        assert!(own.has_ended(), "no time has passed");
        assert_eq!(text(&own.end().await.unwrap()), (key == 1).then_some("new"));
    }
    assert_eq!(text(&waiting.end().await.unwrap()), Some("new"));
    assert_eq!(fleet.outcome("hurried"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_down_or_lies_about_its_locks_makes_readers_load_at_once() {
    // An endless lock held by nobody; no answer; a claim that happened and was told as a time-out.
    for fault in [Fault::Corrupt, Fault::Unavailable, Fault::TimeOut] {
        let fleet = fleet(1, shared).await;
        fleet.nodes[0].write(1, "a");
        // The first draw is the look-up, the second the claim.
        fleet.remote.script([None, Some(fault)]);
        let mut reading = fleet.nodes[0].start_get(1);
        fleet.nodes[0].turns().await;
        assert!(reading.has_ended(), "{fault:?}: no time has passed");
        assert_eq!(by(&reading.end().await.unwrap()), ServedBy::Source);
        assert!(!fleet.remote.is_locked(&place(1)), "{fault:?}: given back");
    }
    // The lock is lost as soon as it is given: both load, and both are right.
    let fleet = fleet(2, shared).await;
    fleet.nodes[0].write(1, "a");
    fleet.remote.script([None, Some(Fault::Lose), None, Some(Fault::Lose)]);
    for reader in fleet.crowd(1, 1) {
        assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    }
    assert_eq!(fleet.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_never_answers_delays_a_load_by_its_deadline_and_no_more() {
    let fleet = fleet(1, shared).await;
    fleet.nodes[0].write(1, "a");
    fleet.remote.close_gate();
    let mut reading = fleet.nodes[0].start_get(1);
    // The look-up has no deadline of its own in this double: it ends with the load's.
    fleet.pass(ms(5_000)).await;
    fleet.pass(ms(110)).await;
    assert!(reading.has_ended());
    assert_eq!(text(&reading.end().await.unwrap()), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn what_another_node_shares_is_judged_as_always() {
    let fleet = fleet(2, shared).await;
    fleet.nodes[0].write(1, "old");
    fleet.learn_load_time().await;
    fleet.database.close_gate();
    let first = fleet.nodes[0].start_get(1);
    fleet.database.until_waiting(1).await;
    let second = fleet.nodes[1].start_get(1);
    fleet.pass(ms(20)).await;
    // The row changes while the owner's load is under way: what it brings is not true any more.
    fleet.nodes[0].write(1, "new");
    fleet.clock.advance(ms(1));
    let late = fleet.nodes[1].start_get(1);
    fleet.nodes[0].turns().await;
    fleet.database.open_gate();
    fleet.pass(ms(400)).await;
    assert_eq!(text(&first.end().await.unwrap()), Some("old"), "true when it was asked for");
    assert_eq!(text(&second.end().await.unwrap()), Some("new"));
    assert_eq!(text(&late.end().await.unwrap()), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn an_age_bounded_class_loads_once_in_the_fleet_too() {
    let aged = || {
        trueup_core::class::ClassPlan::display("item")
            .table("item")
            .key(["id"])
            .same_for_everyone()
            .age_bounded("team prices", "a daily import")
            .life(secs(10))
            .l2()
            .stampede_scope(StampedeScope::Fleet)
    };
    let fleet = fleet(3, aged).await;
    fleet.nodes[0].write(1, "a");
    fleet.database.close_gate();
    let readers = fleet.crowd(10, 1);
    fleet.database.until_waiting(1).await;
    fleet.pass(ms(50)).await;
    fleet.database.open_gate();
    fleet.pass(ms(80)).await;
    for reader in readers {
        assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
    }
    assert_eq!(fleet.database.loads(), 1);
}

/// An entry is shared once the feed has come as far as its load; where nothing else happens, somebody has to ask for that.
#[tokio::test(start_paused = true)]
async fn a_load_that_saw_more_than_the_feed_has_told_has_the_source_asked_again() {
    let world = World::usual().await;
    let feed = world.cache.feed().clone();
    let applied = feed.applied();
    let mut waiting = start(async move { feed.until_beyond(applied).await });
    world.get(1).await;
    world.turns().await;
    assert!(!waiting.has_ended(), "the load saw no more than the feed");
    world.database.commit(&[(1, Some("a"))]);
    world.get(2).await;
    world.turns().await;
    assert!(waiting.has_ended());
}

/// Waiting is cheap and not free: beyond so many, readers load at once.
#[tokio::test(start_paused = true)]
async fn no_more_loads_of_a_class_wait_for_other_nodes_than_are_allowed() {
    const MOST: usize = trueup_core::limits::FLEET_WAITS_MAX;
    let fleet = fleet(1, shared).await;
    for round in 0..2 {
        let keys = 10_000 * round..10_000 * round + MOST as i64;
        keys.clone().chain([5_000 + round]).for_each(|key| fleet.remote.plant_lock(&place(key), ms(30)));
        let readers: Vec<_> = keys.map(|key| fleet.nodes[0].start_get(key)).collect();
        fleet.nodes[0].turns().await;
        assert_eq!(fleet.outcome("given_up"), round as u64, "all of them wait");
        let mut beyond = fleet.nodes[0].start_get(5_000 + round);
        fleet.nodes[0].turns().await;
        assert!(beyond.has_ended(), "no time has passed");
        assert_eq!(fleet.outcome("given_up"), round as u64 + 1);
        // Their time is over: all of these have loaded, or were shed, and wait no more.
        for _ in 0..20 {
            fleet.nodes[0].pass_healthily(ms(50)).await;
        }
        for reader in readers {
            let _ = reader.end().await;
        }
    }
}

/// Nodes that can use nothing of each other's do not wait for each other: in whatever way their worlds differ.
#[tokio::test(start_paused = true)]
async fn nodes_that_read_different_shapes_do_not_wait_for_each_other() {
    for shape in [[1; 16], [2; 16], [0xff; 16]] {
        let fleet = fleet(2, shared).await;
        fleet.nodes[0].write(1, "a");
        fleet.database.close_gate();
        let first = fleet.nodes[0].start_get(1);
        fleet.database.until_waiting(1).await;
        fleet.database.catalogue.altered(shape);
        let second = fleet.nodes[1].start_get(1);
        fleet.nodes[1].turns().await;
        assert_eq!(fleet.database.loads(), 2, "{shape:?}");
        fleet.database.open_gate();
        for reader in [first, second] {
            assert_eq!(text(&reader.end().await.unwrap()), Some("a"));
        }
    }
}

/// While nothing can be there yet, a look now and then will do; when the load should be over, it is found soon.
#[tokio::test(start_paused = true)]
async fn a_node_that_waits_looks_seldom_at_first_and_often_when_the_load_should_be_over() {
    let fleet = fleet(1, shared).await;
    fleet.learn_load_time().await;
    fleet.remote.plant_lock(&place(1), ms(900));
    let looks = || fleet.nodes[0].cache.remote_counts().unwrap().missing;
    let _waiting = fleet.nodes[0].start_get(1);
    fleet.nodes[0].turns().await;
    let before = looks();
    fleet.pass(ms(70)).await;
    let seldom = looks() - before;
    assert!((3..=10).contains(&seldom), "{seldom} looks in 70 ms");
    fleet.pass(ms(20)).await;
    let before = looks();
    fleet.pass(ms(60)).await;
    let often = looks() - before;
    assert!(often >= 14, "{often} looks in 60 ms");
}

/// It cannot know when the load will be over: each look comes after a twelfth more of the time that it has waited.
#[tokio::test(start_paused = true)]
async fn a_node_that_has_never_loaded_looks_the_less_often_the_longer_it_has_waited() {
    let fleet = fleet(1, shared).await;
    fleet.remote.plant_lock(&place(1), ms(900));
    let looks = || fleet.nodes[0].cache.remote_counts().unwrap().missing;
    let _waiting = fleet.nodes[0].start_get(1);
    fleet.nodes[0].turns().await;
    let before = looks();
    fleet.pass(ms(100)).await;
    let often = looks() - before;
    assert!((15..=45).contains(&often), "{often} looks in the first 100 ms");
    fleet.pass(ms(400)).await;
    let before = looks();
    fleet.pass(ms(100)).await;
    let seldom = looks() - before;
    assert!((1..=5).contains(&seldom), "{seldom} looks in 100 ms half a second later");
}

/// An owner that is alive has extended its lock by then.
#[tokio::test(start_paused = true)]
async fn a_lock_that_ends_is_taken_over_at_once_however_seldom_the_node_looks() {
    let fleet = fleet(1, shared).await;
    fleet.learn_load_time().await;
    for key in 1..=10 {
        fleet.remote.plant_lock(&place(key), ms(30));
        let before = fleet.database.loads();
        let waiting = fleet.nodes[0].start_get(key);
        fleet.pass(ms(33)).await;
        assert_eq!(fleet.database.loads(), before + 1, "of key {key}");
        waiting.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_waits_for_anothers_load_as_long_as_four_of_its_own() {
    let fleet = fleet(1, shared).await;
    fleet.learn_load_time().await;
    fleet.remote.plant_lock(&place(1), ms(900));
    let mut waiting = fleet.nodes[0].start_get(1);
    fleet.pass(ms(380)).await;
    assert!(!waiting.has_ended());
    fleet.pass(ms(50)).await;
    assert!(waiting.has_ended());
    assert_eq!(fleet.outcome("given_up"), 1);
}

/// The longest that any owner takes a lock for.
/// Looks are made every 2 ms where loads take no time: the tenth falls on the very end of the lock, the hundredth on that of the wait.
#[tokio::test(start_paused = true)]
async fn a_lock_is_over_at_its_end_and_a_wait_after_it() {
    for (left, ends_ms) in [(ms(20), 20), (ms(900), 202)] {
        let fleet = fleet(1, shared).await;
        fleet.nodes[0].get(1_000).await;
        fleet.remote.plant_lock(&place(1), left);
        let mut waiting = fleet.nodes[0].start_get(1);
        fleet.nodes[0].turns().await;
        fleet.pass(ms(ends_ms - 1)).await;
        assert!(!waiting.has_ended(), "{left:?}");
        fleet.pass(ms(1)).await;
        assert!(waiting.has_ended(), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_a_second_is_waited_for_and_a_longer_one_is_not() {
    for (left, waits) in [(secs(1), true), (ms(1_001), false)] {
        let fleet = fleet(1, shared).await;
        fleet.remote.plant_lock(&place(1), left);
        let mut reading = fleet.nodes[0].start_get(1);
        fleet.nodes[0].turns().await;
        assert_eq!(!reading.has_ended(), waits, "{left:?}");
    }
}
