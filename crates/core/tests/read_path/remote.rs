//! The remote tier: settled entries are shared, everything else is a miss.

use std::sync::Arc;

use trueup_core::{
    class::ClassPlanBuilder,
    entry::{Body, Envelope, Header},
    env::{Clock, unix_ms},
    receipt::ServedBy,
    tier::{
        RemoteKey,
        testing::{Fault, RemoteDouble},
    },
};

use super::{
    source::{Database, Kind, row_tag},
    world::{World, by, form, items, ms, plan, ring, secs, start, text},
};

fn shared() -> ClassPlanBuilder {
    items().l2()
}

/// Two nodes on one database and one remote tier.
struct Fleet {
    remote: Arc<RemoteDouble>,
    a: World,
    b: World,
}

async fn fleet(kind: Kind, plan_of_a: ClassPlanBuilder, plan_of_b: ClassPlanBuilder) -> Fleet {
    let clock = Clock::stepped();
    let database = Database::new(kind, clock.clone());
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let node = |plan| World::on(Arc::clone(&database), clock.clone(), plan, Some(Arc::clone(&remote) as _));
    let (a, b) = (node(plan_of_a).await, node(plan_of_b).await);
    Fleet { remote, a, b }
}

pub(crate) fn place(key: i64) -> RemoteKey {
    let canonical = form().key(&key).unwrap();
    RemoteKey::new("item", canonical.digest("item"))
}

/// Node A has loaded and shared this value.
async fn shared_by_a(fleet: &Fleet, key: i64, value: &str) {
    fleet.a.write(key, value);
    fleet.a.get(key).await;
    fleet.a.turns().await;
    assert!(fleet.remote.held(&place(key)).is_some());
}

#[tokio::test(start_paused = true)]
async fn p5_an_altered_relation_ends_its_entries_in_memory_and_in_the_remote_tier() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let fleet = fleet(kind, shared(), shared()).await;
        shared_by_a(&fleet, 1, "a").await;
        assert_eq!(by(&fleet.a.get(1).await), ServedBy::L1);
        fleet.a.database.catalogue.altered([7; 16]);
        assert_eq!(by(&fleet.b.get(1).await), ServedBy::Source, "what is shared has the shape of before");
        fleet.b.turns().await;
        assert_eq!(
            by(&fleet.a.get(1).await),
            ServedBy::L2,
            "what A holds has it, too; B has shared the new one"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_settled_entry_is_shared_and_adopted_without_a_load() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let fleet = fleet(kind, shared(), shared()).await;
        shared_by_a(&fleet, 1, "a").await;
        let answer = fleet.b.get(1).await;
        assert_eq!((text(&answer), by(&answer), answer.receipt().proven), (Some("a"), ServedBy::L2, true));
        assert_eq!(by(&fleet.b.get(1).await), ServedBy::L1);
        assert_eq!(fleet.b.database.loads(), 1);
        fleet.b.write(1, "b");
        assert_eq!(text(&fleet.b.get(1).await), Some("b"), "what was adopted follows the feed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_absence_is_shared_too() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    fleet.a.get(1).await;
    fleet.a.turns().await;
    let answer = fleet.b.get(1).await;
    assert_eq!((answer.is_absent(), by(&answer)), (true, ServedBy::L2));
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_shared_only_once_it_is_settled() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    fleet.a.database.commit(&[(1, Some("a"))]);
    fleet.a.get(1).await;
    fleet.a.turns().await;
    assert!(fleet.remote.is_empty(), "the feed has not reached it");
    fleet.a.database.pump();
    fleet.a.turns().await;
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::L2);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_from_the_remote_tier_is_not_written_back() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "a").await;
    fleet.b.get(1).await;
    fleet.b.turns().await;
    let counts = fleet.b.cache.remote_counts().unwrap();
    assert_eq!((counts.bytes_out, counts.bytes_in > 0), (0, true));
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_the_remote_tier_is_more_than_a_miss() {
    for fault in
        [Fault::Lose, Fault::Older, Fault::Corrupt, Fault::Misplace, Fault::Unavailable, Fault::TimeOut]
    {
        let fleet = fleet(Kind::Sequence, shared(), shared()).await;
        shared_by_a(&fleet, 1, "old").await;
        shared_by_a(&fleet, 2, "other").await;
        shared_by_a(&fleet, 1, "new").await;
        fleet.remote.script([Some(fault)]);
        let answer = fleet.b.get(1).await;
        assert_eq!((text(&answer), by(&answer)), (Some("new"), ServedBy::Source), "{fault:?}");
        assert_eq!(fleet.remote.injected(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_grew_old_on_its_way_is_checked_when_it_arrives() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "old").await;
    fleet.remote.close_gate();
    let reading = fleet.b.start_get(1);
    fleet.remote.wait_until_waiting(1).await;
    fleet.b.write(1, "new");
    fleet.remote.open_gate();
    let answer = reading.end().await.unwrap();
    assert_eq!((text(&answer), by(&answer)), (Some("new"), ServedBy::Source));
}

#[tokio::test(start_paused = true)]
async fn a_remote_tier_that_never_answers_keeps_nobody_from_the_source() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "a").await;
    fleet.remote.close_gate();
    let reading = fleet.b.start_get(1);
    fleet.remote.wait_until_waiting(1).await;
    fleet.b.pass(secs(5)).await;
    let answer = reading.end().await.unwrap();
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Source));
}

/// Found proven by the one who asked, it must be proven again for each who waits, by their own demands.
#[tokio::test(start_paused = true)]
async fn a_reader_with_a_token_takes_no_entry_of_another_node_unchecked() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "old").await;
    fleet.remote.close_gate();
    let plain = fleet.b.start_get(1);
    fleet.remote.wait_until_waiting(1).await;
    let token = fleet.b.database.commit(&[(1, Some("new"))]);
    let items = fleet.b.items.clone();
    let own = start(async move { items.read(&1).token(token).run().await });
    fleet.b.turns().await;
    fleet.remote.open_gate();
    assert_eq!(text(&plain.end().await.unwrap()), Some("old"), "within its bound");
    assert_eq!(text(&own.end().await.unwrap()), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_an_older_epoch_or_another_plan_is_a_miss() {
    let fleet = fleet(Kind::Sequence, shared(), shared().format(2)).await;
    shared_by_a(&fleet, 1, "a").await;
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::Source, "another plan");
    assert_eq!(fleet.b.cache.remote_counts().unwrap().refused, 1);
    fleet.a.database.new_epoch();
    fleet.a.database.pump();
    assert_eq!(by(&fleet.a.get(1).await), ServedBy::Source, "another epoch");
    assert_eq!(fleet.a.cache.remote_counts().unwrap().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_know_how_far_the_source_is_does_not_ask_the_remote_tier() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "a").await;
    fleet.b.get(1).await;
    let bytes_in = || fleet.b.cache.remote_counts().unwrap().bytes_in;
    let before = bytes_in();
    fleet.b.pass(secs(2)).await;
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::Source);
    assert_eq!(bytes_in(), before);
}

#[tokio::test(start_paused = true)]
async fn several_keys_are_looked_up_together_and_only_the_rest_is_loaded() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "a").await;
    shared_by_a(&fleet, 2, "b").await;
    for key in [3, 4] {
        fleet.a.write(key, "c");
    }
    fleet.remote.close_gate();
    let items = fleet.b.items.clone();
    let reading = start(async move { items.get_many(&[1, 2, 3, 4]).await });
    fleet.remote.wait_until_waiting(1).await;
    fleet.b.turns().await;
    fleet.remote.release(1);
    let answers = reading.end().await.unwrap();
    let from = answers.iter().map(by).collect::<Vec<_>>();
    assert_eq!(from, [ServedBy::L2, ServedBy::L2, ServedBy::Source, ServedBy::Source]);
    assert_eq!((fleet.a.database.loads(), fleet.a.database.batches()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hit_in_memory_does_not_ask_the_remote_tier() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, "a").await;
    fleet.b.get(1).await;
    let before = fleet.b.cache.remote_counts().unwrap();
    fleet.b.get(1).await;
    assert_eq!(fleet.b.cache.remote_counts().unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn when_its_life_in_memory_is_over_a_proven_entry_is_renewed_before_the_remote_tier_is_asked() {
    let fleet = fleet(Kind::Sequence, shared(), shared().l1_life(secs(5)).l2_life(secs(60))).await;
    shared_by_a(&fleet, 1, "a").await;
    fleet.b.get(1).await;
    fleet.b.pass_healthily(secs(6)).await;
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::L1);
}

/// An envelope that a node wrote `age_ms` ago by the wall clock.
pub(crate) fn aged_envelope(world: &World, plan_digest: [u8; 16], age_ms: u64, life_ms: u64) -> bytes::Bytes {
    let position = world.cache.status().applied.0;
    let header = Header {
        class_digest: plan_digest,
        epoch: world.database.epoch(),
        created_ms: unix_ms() - age_ms,
        life_ms,
        upper: position,
        proven_at: position,
        row_version: Some(1),
    };
    let envelope = Envelope { header, tags: &[row_tag(1).0], body: Body::Value(b"\"planted\"") };
    envelope.encode(place(1).digest(), ring().sealing()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_lay_in_the_remote_tier_is_as_old_as_the_time_it_lay_there() {
    let aged = || {
        trueup_core::class::ClassPlan::display("item")
            .table("item")
            .key(["id"])
            .same_for_everyone()
            .age_bounded("team prices", "a daily import")
            .life(secs(30))
            .jitter(0.0)
            .l2()
    };
    let fleet = fleet(Kind::Sequence, aged(), aged()).await;
    fleet.b.clock.advance(secs(1000));
    let digest = plan(aged()).digest();
    fleet.remote.plant(&place(1), aged_envelope(&fleet.b, digest, 20_000, 30_000));
    let answer = fleet.b.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("planted"), ServedBy::L2));
    let age = answer.receipt().age;
    assert!(age >= secs(20) && age < secs(25), "{age:?}");
    fleet.b.clock.advance(secs(10) + ms(1));
    fleet.remote.lose_all();
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::Source, "30 s in all, wherever it lay");
    fleet.remote.plant(&place(1), aged_envelope(&fleet.a, digest, 31_000, 30_000));
    assert_eq!(by(&fleet.a.get(1).await), ServedBy::Source, "older than its class allows");
}

#[tokio::test(start_paused = true)]
async fn the_hard_age_does_not_begin_anew_in_each_node() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    fleet.b.clock.advance(secs(1000));
    fleet.b.database.pump();
    let digest = plan(shared()).digest();
    fleet.remote.plant(&place(1), aged_envelope(&fleet.b, digest, 590_000, 600_000));
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::L2);
    fleet.b.clock.advance(secs(10) + ms(1));
    fleet.b.database.pump();
    fleet.remote.lose_all();
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::Source);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_takes_over_does_not_end_together_either() {
    let aged = || {
        trueup_core::class::ClassPlan::display("item")
            .table("item")
            .key(["id"])
            .same_for_everyone()
            .age_bounded("team prices", "a daily import")
            .life(secs(60))
            .jitter(0.5)
            .l2()
    };
    for plan in [aged(), shared().jitter(0.5)] {
        let fleet = fleet(Kind::Sequence, plan.clone(), plan).await;
        let keys: Vec<i64> = (0..50).collect();
        fleet.a.items.get_many(&keys).await.unwrap();
        fleet.a.turns().await;
        fleet.b.items.get_many(&keys).await.unwrap();
        assert_eq!(fleet.b.served(ServedBy::L2), 50);
        let (mut soft, mut hard) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        fleet.b.items.memory().for_each(|entry| {
            soft.insert(entry.expires());
            hard.insert(entry.hard_expires());
        });
        assert!(soft.len() > 40 && hard.len() > 40, "{} and {} distinct ends", soft.len(), hard.len());
        let now = fleet.b.clock.now();
        assert!(soft.iter().all(|end| end.since(now) <= secs(60)));
    }
}

/// At its end in memory an entry is looked up in the remote tier: were another end drawn for what is found there, the latest of several
/// would count, and what was loaded together would end together after all.
#[tokio::test(start_paused = true)]
async fn what_a_node_finds_again_has_the_end_that_it_had() {
    const LAY_MS: u64 = 10_000;
    let aged = || {
        let plan =
            items().age_bounded("team prices", "a daily import").max_staleness(secs(60)).hard_age(secs(60));
        plan.jitter(0.5).l2()
    };
    for (plan_of_items, hard_ms) in [(aged(), 60_000), (shared().jitter(0.5), 600_000)] {
        let digest = plan(plan_of_items.clone()).digest();
        for _ in 0..10 {
            let fleet = fleet(Kind::Sequence, plan_of_items.clone(), plan_of_items.clone()).await;
            let world = &fleet.a;
            let end = || {
                let entry = world.items.memory().get("1").unwrap();
                let end = if hard_ms == 60_000 { entry.expires() } else { entry.hard_expires() };
                end.since(world.clock.now())
            };
            world.write(1, "a");
            assert_eq!(by(&world.get(1).await), ServedBy::Source);
            let loaded = end();
            world.items.memory().clear();
            fleet.remote.plant(&place(1), aged_envelope(world, digest, LAY_MS, hard_ms));
            assert_eq!(by(&world.get(1).await), ServedBy::L2);
            let apart = loaded.abs_diff(end() + ms(LAY_MS));
            assert!(apart < secs(1), "{loaded:?} and {apart:?} apart");
        }
    }
}

/// What the bytes of a shared value mean is told by plan and shape together: no shape may make another's entries pass.
#[tokio::test(start_paused = true)]
async fn an_entry_of_another_shape_is_a_miss_whatever_the_shape() {
    for shape in [[0xff; 16], plan(shared()).digest()] {
        let fleet = fleet(Kind::Sequence, shared(), shared()).await;
        shared_by_a(&fleet, 1, "a").await;
        fleet.a.database.catalogue.altered(shape);
        assert_eq!(by(&fleet.b.get(1).await), ServedBy::Source, "{shape:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_weighs_the_same_wherever_it_came_from() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    shared_by_a(&fleet, 1, &"x".repeat(1_000)).await;
    assert_eq!(by(&fleet.b.get(1).await), ServedBy::L2);
    assert!(fleet.b.items.memory().weight() > 1_000);
    assert_eq!(fleet.a.items.memory().weight(), fleet.b.items.memory().weight());
}

/// A proof tells that the value is true now; an age goes on where it was.
#[tokio::test(start_paused = true)]
async fn what_was_shared_begins_a_life_here_where_it_is_proven_and_goes_on_with_its_own_where_not() {
    let aged = || {
        let plan = items().age_bounded("team prices", "a daily import").max_staleness(secs(30));
        plan.life(secs(30)).negative_life(secs(30)).l2()
    };
    for (of_items, left) in [(shared(), secs(60)..=secs(60)), (aged(), secs(5)..=secs(10))] {
        let fleet = fleet(Kind::Sequence, of_items.clone(), of_items.clone()).await;
        fleet.b.clock.advance(secs(1000));
        fleet.b.database.pump();
        fleet.remote.plant(&place(1), aged_envelope(&fleet.b, plan(of_items).digest(), 20_000, 600_000));
        assert_eq!(by(&fleet.b.get(1).await), ServedBy::L2);
        let held = fleet.b.items.memory().get("1").unwrap();
        assert!(left.contains(&held.expires().since(fleet.b.clock.now())), "{:?}", held.expires());
        assert_eq!(fleet.b.items.stats().counts().renewed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_token_the_feed_has_reached_takes_what_another_node_has_shared() {
    let fleet = fleet(Kind::Sequence, shared(), shared()).await;
    let token = fleet.a.database.commit(&[(1, Some("a"))]);
    fleet.a.database.pump();
    fleet.a.get(1).await;
    fleet.a.turns().await;
    assert_eq!(fleet.b.cache.status().applied, token.position, "just so far");
    let own = fleet.b.items.read(&1).token(token).run().await.unwrap();
    assert_eq!((text(&own), by(&own)), (Some("a"), ServedBy::L2));
}

/// Nobody here knows when it was loaded.
#[tokio::test(start_paused = true)]
async fn an_entry_of_another_node_that_makes_room_is_of_no_age() {
    let small = || shared().value_bytes_max(1_000).l1_capacity_bytes(64 << 10);
    let fleet = fleet(Kind::Sequence, shared(), small()).await;
    let keys: Vec<i64> = (0..1_000).collect();
    for keys in keys.chunks(100) {
        fleet.a.items.get_many(keys).await.unwrap();
        fleet.a.turns().await;
        fleet.b.items.get_many(keys).await.unwrap();
    }
    assert_eq!(fleet.b.served(ServedBy::L2), 1_000);
    assert!(fleet.b.items.memory().departures().capacity > 500);
    let ages = fleet.b.items.stats().counts().eviction_ages;
    assert!(ages.buckets.iter().all(|(_, count)| *count == 0), "{ages:?}");
}
