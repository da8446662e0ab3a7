//! Stale answers: only where the class allows them, only within their bound, always labelled.

use trueup_core::{class::ClassPlanBuilder, error::ReadError, receipt::ServedBy, source::LoadError};

use super::{
    source::{Act, Kind},
    world::{World, by, items, ms, secs, text},
};

const STALE: u64 = 60;

fn tolerant() -> ClassPlanBuilder {
    items().serve_stale(secs(STALE)).soft_timeout(ms(100)).failure_backoff(secs(2))
}

/// A node that holds "a" under 1, proven last at this instant, and whose source has changed since.
async fn with_a_changed_entry() -> World {
    let world = World::new(Kind::Sequence, tolerant()).await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    world.database.deliver();
    world
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_has_a_stale_value_stand_in_and_says_so() {
    let world = with_a_changed_entry().await;
    world.database.go_down();
    world.pass(secs(3)).await;
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Stale));
    assert_eq!((answer.receipt().proven, answer.receipt().age), (false, secs(3)));
    assert_eq!(world.served(ServedBy::Stale), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_never_served_past_its_bound() {
    let world = with_a_changed_entry().await;
    world.database.go_down();
    world.pass(secs(STALE)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::Stale, "at the bound");
    world.pass(ms(1)).await;
    assert!(world.get_err(1).await, "beyond it, backoff or not");
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_passes_while_the_reader_waits_counts() {
    let world = with_a_changed_entry().await;
    world.pass(secs(STALE) - ms(50)).await;
    world.database.close_gate();
    let mut reading = world.start_get(1);
    world.database.until_waiting(1).await;
    world.pass(ms(100)).await;
    assert!(!reading.has_ended(), "the soft timeout has nothing to hand out any more");
    world.database.open_gate();
    assert_eq!(text(&reading.end().await.unwrap()), Some("b"));
    world.database.commit(&[(1, Some("c"))]);
    world.database.pump();
    world.pass(secs(STALE) - secs(1)).await;
    world.database.script([Act::Hang]);
    let mut tight = world.start_get(1);
    world.turns().await;
    world.pass(ms(99)).await;
    assert!(!tight.has_ended());
    world.clock.advance(secs(2));
    world.pass(secs(5)).await;
    assert_eq!(tight.end().await.unwrap_err(), ReadError::Load(LoadError::TimedOut { limit_ms: 5000 }));
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_token_never_gets_a_stale_value() {
    let world = with_a_changed_entry().await;
    let token = world.database.token_at(1);
    world.database.go_down();
    let answer = world.items.read(&1).token(token).run().await;
    assert!(matches!(answer, Err(ReadError::Load(LoadError::Unavailable(_)))));
    assert_eq!(by(&world.get(1).await), ServedBy::Stale, "without one it does");
    let during_backoff = world.items.read(&1).token(token).run().await;
    assert!(during_backoff.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_never_crosses_an_epoch() {
    let world = with_a_changed_entry().await;
    world.database.go_down();
    assert_eq!(by(&world.get(1).await), ServedBy::Stale);
    world.database.new_epoch();
    assert!(world.get_err(1).await);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_ends_while_the_reader_waits_counts() {
    let world = with_a_changed_entry().await;
    world.database.close_gate();
    let mut reading = world.start_get(1);
    world.database.until_waiting(1).await;
    world.database.new_epoch();
    world.pass(ms(100)).await;
    assert!(!reading.has_ended());
    world.database.open_gate();
    assert_eq!(text(&reading.end().await.unwrap()), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn after_a_stale_answer_the_source_is_left_alone_for_a_while() {
    let world = with_a_changed_entry().await;
    world.database.go_down();
    world.get(1).await;
    let loads = world.database.loads();
    world.pass(secs(2) - ms(1)).await;
    world.database.come_back();
    assert_eq!(by(&world.get(1).await), ServedBy::Stale);
    assert_eq!(world.database.loads(), loads, "not asked");
    world.pass(ms(1)).await;
    assert_eq!(text(&world.get(1).await), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn after_the_soft_timeout_the_reader_has_the_stale_value_while_one_load_goes_on_and_fills() {
    let world = with_a_changed_entry().await;
    world.database.ask();
    world.database.close_gate();
    let readers: Vec<_> = (0..10).map(|_| world.start_get(1)).collect();
    world.database.until_waiting(1).await;
    world.pass(ms(100)).await;
    for reader in readers {
        let answer = reader.end().await.unwrap();
        assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Stale));
    }
    let again = world.start_get(1);
    world.pass(ms(100)).await;
    assert_eq!(by(&again.end().await.unwrap()), ServedBy::Stale);
    assert_eq!(world.database.loads(), 2, "the first fill, and one load behind them all");
    world.database.open_gate();
    world.turns().await;
    let filled = world.get(1).await;
    assert_eq!((text(&filled), by(&filled)), (Some("b"), ServedBy::L1));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_no_outage_is_not_hidden_behind_a_stale_value() {
    let world = with_a_changed_entry().await;
    let wrong = LoadError::Refused("no such column".into());
    world.database.script([Act::Fail(wrong.clone())]);
    assert_eq!(world.items.get(&1).await.unwrap_err(), ReadError::Load(wrong));
}

#[tokio::test(start_paused = true)]
async fn a_class_that_allows_no_stale_value_fails_with_its_source() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.write(1, "b");
    world.database.go_down();
    assert!(world.get_err(1).await);
}

#[tokio::test(start_paused = true)]
async fn soft_timeouts_of_several_keys_run_together() {
    let world = World::new(Kind::Sequence, tolerant()).await;
    world.database.commit(&[(1, Some("a")), (2, Some("a")), (3, Some("a"))]);
    world.database.pump();
    world.items.get_many(&[1, 2, 3]).await.unwrap();
    world.database.commit(&[(1, Some("b")), (2, Some("b")), (3, Some("b"))]);
    world.database.pump();
    world.database.close_gate();
    let items = world.items.clone();
    let mut reading = super::world::start(async move { items.get_many(&[1, 2, 3]).await });
    world.database.until_waiting(1).await;
    world.pass(ms(100)).await;
    assert!(reading.has_ended(), "not one after the other");
    assert!(reading.end().await.unwrap().iter().all(|answer| by(answer) == ServedBy::Stale));
}

/// While the feed is away, memory keeps the older proof of the same value; what the source has shown since still counts.
#[tokio::test(start_paused = true)]
async fn a_value_that_the_source_has_shown_again_is_as_old_as_that() {
    let world = World::new(Kind::Xids, tolerant()).await;
    world.write(1, "a");
    world.get(1).await;
    world.database.pump();
    world.database.commit(&[(2, Some("x"))]);
    world.pass(secs(STALE) - secs(1)).await;
    assert_eq!(by(&world.get(1).await), ServedBy::Source, "the feed is away");
    world.database.go_down();
    world.pass(secs(2)).await;
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Stale));
    assert_eq!(answer.receipt().age, secs(2));
}
