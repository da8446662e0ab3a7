//! What happened to others, replayed step by step.

use trueup_core::receipt::ServedBy;

use super::{
    source::Kind,
    world::{BOUND, World, by, items, ms, text},
};

#[tokio::test(start_paused = true)]
async fn a_slow_load_that_read_the_old_row_is_not_kept_after_the_feed_told_of_the_new_one() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, items()).await;
        world.write(1, "old");
        world.database.close_gate();
        let slow = world.start_get(1);
        world.database.until_waiting(1).await;
        world.write(1, "new");
        world.database.open_gate();
        assert_eq!(text(&slow.end().await.unwrap()), Some("old"), "true as of its start");
        assert_eq!(text(&world.get(1).await), Some("new"), "{kind:?}");
        assert_eq!(world.items.stats().counts().rejected.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_load_that_read_the_old_row_ends_when_the_feed_tells_later() {
    let world = World::usual().await;
    world.write(1, "old");
    world.database.close_gate();
    let slow = world.start_get(1);
    world.database.until_waiting(1).await;
    world.database.commit(&[(1, Some("new"))]);
    world.database.open_gate();
    slow.end().await.unwrap();
    assert_eq!(text(&world.get(1).await), Some("old"), "within its bound");
    world.database.pump();
    assert_eq!(text(&world.get(1).await), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_delivered_before_it_is_visible_leaves_no_old_value_behind() {
    let world = World::new(Kind::Xids, items()).await;
    world.write(1, "old");
    let ghost = world.database.commit_hidden(&[(1, Some("new"))]);
    world.database.pump();
    let before = world.get(1).await;
    assert_eq!(text(&before), Some("old"), "nobody can see the commit yet");
    world.database.show(ghost);
    let after = world.get(1).await;
    assert_eq!((text(&after), by(&after)), (Some("new"), ServedBy::Source));
    world.database.pump();
    assert_eq!(text(&world.get(1).await), Some("new"));
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_served_while_the_feed_lags_behind_its_load() {
    let world = World::usual().await;
    world.database.commit(&[(1, Some("a"))]);
    world.get(1).await;
    assert_eq!(world.cache.status().unsettled, 1);
    assert_eq!(by(&world.get(1).await), ServedBy::L1, "a hot key does not miss meanwhile");
    world.database.pump();
    assert_eq!(world.cache.status().unsettled, 0, "settled");
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(world.database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unsettled_entry_does_not_outlive_the_feeds_connection_and_a_settled_one_does() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(2, Some("b"))]);
    world.get(2).await;
    world.database.reconnect();
    world.database.pump();
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(by(&world.get(2).await), ServedBy::Source);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_another_row_costs_nothing() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.write(2, "b");
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_nothing_is_proven_and_reads_still_answer() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.cache.shut_down().await;
    world.database.commit(&[(1, Some("b"))]);
    world.pass(ms(1001)).await;
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("b"), ServedBy::Source));
}

#[tokio::test(start_paused = true)]
async fn a_decision_reads_under_a_lock_and_never_from_memory() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    assert_eq!(text(&world.get(1).await), Some("a"));
    let decided = world.items.authoritative(world.database.as_ref(), &1).await.unwrap();
    assert_eq!(decided.value().map(String::as_str), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_waits_for_the_feed_ends_at_the_first_change_that_its_load_did_not_see() {
    let world = World::new(Kind::Xids, items()).await;
    world.write(1, "old");
    let hidden = world.database.commit_hidden(&[(1, Some("new"))]);
    world.database.commit(&[(2, Some("later"))]);
    assert_eq!(text(&world.get(1).await), Some("old"));
    assert_eq!(by(&world.get(1).await), ServedBy::L1, "the feed has told nothing of it");
    world.database.deliver_next();
    assert_eq!(world.cache.status().unsettled, 1, "still waiting for the rest");
    world.database.show(hidden);
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("new"), ServedBy::Source));
    assert_eq!(world.missed("invalidated"), 1);
}

/// What is loaded while the feed is away waits for a connection that is gone when the feed is back.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_feed_costs_no_load_of_what_has_not_changed() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, items()).await;
        for key in [1, 2] {
            world.write(key, "a");
            world.get(key).await;
        }
        world.database.pump();
        world.database.commit(&[(2, Some("b"))]);
        world.pass(BOUND + ms(1)).await;
        for key in [1, 2] {
            assert_eq!(by(&world.get(key).await), ServedBy::Source, "{kind:?}: nothing is proven meanwhile");
        }
        world.database.reconnect();
        world.database.pump();
        let unchanged = world.get(1).await;
        assert_eq!((text(&unchanged), by(&unchanged)), (Some("a"), ServedBy::L1), "{kind:?}");
        let changed = world.get(2).await;
        assert_eq!((text(&changed), by(&changed)), (Some("b"), ServedBy::Source), "{kind:?}");
    }
}
