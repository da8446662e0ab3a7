//! Reads of several keys.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use trueup_core::{env, error::ReadError, receipt::ServedBy, source::LoadError};

use super::{
    source::{Act, Kind},
    world::{World, by, items, ms, secs, start, text},
};

async fn with_rows(count: i64) -> World {
    let world = World::usual().await;
    for key in 1..=count {
        world.write(key, &format!("v{key}"));
    }
    world
}

#[tokio::test(start_paused = true)]
async fn hits_and_misses_mix_and_the_misses_are_one_load() {
    let world = with_rows(4).await;
    world.get(2).await;
    let answers = world.items.get_many(&[4, 2, 9, 1]).await.unwrap();
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("v4"), Some("v2"), None, Some("v1")]);
    let from = answers.iter().map(by).collect::<Vec<_>>();
    assert_eq!(from, [ServedBy::Source, ServedBy::L1, ServedBy::Source, ServedBy::Source]);
    assert_eq!((world.database.loads(), world.database.batches()), (2, 1));
    assert_eq!((world.missed("cold"), world.served(ServedBy::Source)), (4, 4));
    let again = world.items.get_many(&[4, 2, 9, 1]).await.unwrap();
    assert!(again.iter().all(|answer| by(answer) == ServedBy::L1));
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_kept_is_answered_from_the_batch_and_not_loaded_again() {
    let world = World::new(Kind::Sequence, items().value_bytes_max(4).no_negative()).await;
    world.write(1, "too large");
    let answers = world.items.get_many(&[1, 2]).await.unwrap();
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("too large"), None]);
    assert_eq!(world.database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_ahead_of_the_feed_costs_one_load_for_all_keys() {
    let world = with_rows(3).await;
    world.items.get_many(&[1, 2, 3]).await.unwrap();
    let token = world.database.commit(&[(1, Some("w1")), (2, Some("w2"))]);
    let answers = world.items.read_many(&[1, 2, 3]).token(token).run().await.unwrap();
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("w1"), Some("w2"), Some("v3")]);
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_asked_twice_is_loaded_once() {
    let world = with_rows(1).await;
    let answers = world.items.get_many(&[1, 2, 1]).await.unwrap();
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("v1"), None, Some("v1")]);
    assert_eq!(world.database.loads(), 1);
    assert!(world.items.get_many(&[]).await.unwrap().is_empty());
    assert!(world.items.read_many(&[]).consistent().run().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_and_single_reads_share_their_loads() {
    let world = with_rows(3).await;
    world.database.close_gate();
    let single = world.start_get(1);
    world.database.until_waiting(1).await;
    let items = world.items.clone();
    let batch = start(async move { items.get_many(&[1, 2, 3]).await });
    world.database.until_waiting(2).await;
    let joined = world.start_get(3);
    world.turns().await;
    world.database.open_gate();
    single.end().await.unwrap();
    assert_eq!(
        batch.end().await.unwrap().iter().map(text).collect::<Vec<_>>(),
        [Some("v1"), Some("v2"), Some("v3")]
    );
    assert_eq!(text(&joined.end().await.unwrap()), Some("v3"));
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_fails_once() {
    let world = with_rows(2).await;
    let down = LoadError::Unavailable("down".into());
    world.database.script([Act::Fail(down.clone())]);
    assert_eq!(world.items.get_many(&[1, 2]).await.unwrap_err(), ReadError::Load(down));
    assert_eq!((world.database.loads(), world.items.stats().counts().failures), (1, 2));
    world.database.script([Act::Panic]);
    assert_eq!(world.items.get_many(&[1, 2]).await.unwrap_err(), ReadError::Load(LoadError::Lost));
    world.database.script([Act::Panic]);
    let together = world.items.read_many(&[1, 2]).consistent().run().await;
    assert_eq!(together.unwrap_err(), ReadError::Load(LoadError::Lost));
    assert!(world.items.get_many(&[1, 2]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_answers_for_too_few_keys_is_refused() {
    let world = with_rows(2).await;
    for consistent in [false, true] {
        world.database.script([Act::Forget]);
        let read = world.items.read_many(&[1, 2]);
        let result = if consistent { read.consistent().run().await } else { read.run().await };
        assert!(matches!(result, Err(ReadError::Load(LoadError::Refused(_)))), "{consistent}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_loads_of_a_batch_whose_reader_left_still_fill() {
    let world = with_rows(2).await;
    for consistent in [false, true] {
        world.write(1, "w");
        world.write(2, "w");
        world.database.close_gate();
        let read = world.items.read_many(&[1, 2]);
        let read = if consistent { read.consistent() } else { read };
        assert!(tokio::time::timeout(ms(5), read.run()).await.is_err());
        world.database.open_gate();
        world.turns().await;
        assert_eq!(by(&world.get(1).await), ServedBy::L1, "consistent: {consistent}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_state_is_not_made_of_entries_that_are_not_settled_or_over_their_hard_age() {
    let world = with_rows(2).await;
    world.items.get_many(&[1, 2]).await.unwrap();
    let from = || async {
        let answers = world.items.read_many(&[1, 2]).consistent().run().await.unwrap();
        answers.iter().map(by).collect::<Vec<_>>()
    };
    assert_eq!(from().await, [ServedBy::L1; 2]);
    world.database.commit(&[(1, Some("w"))]);
    world.database.deliver();
    world.database.commit(&[(3, Some("x"))]);
    world.get(1).await;
    assert_eq!(from().await, [ServedBy::Source; 2], "1 waits for the feed");
    world.database.pump();
    assert_eq!(from().await, [ServedBy::L1; 2]);
    world.clock.advance(secs(600));
    world.database.pump();
    assert_eq!(from().await, [ServedBy::L1; 2], "at their hard age");
    world.clock.advance(ms(1));
    world.database.pump();
    assert_eq!(from().await, [ServedBy::Source; 2], "over it");
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_one_place_among_the_loads() {
    let world = World::new(Kind::Sequence, items().loads_max(NonZeroU32::MIN)).await;
    let keys: Vec<i64> = (0..100).collect();
    assert_eq!(world.items.get_many(&keys).await.unwrap().len(), 100);
    assert_eq!(world.database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_only_key_that_is_left_to_load_is_loaded_as_a_read_of_its_own_would() {
    let world = with_rows(3).await;
    world.items.get_many(&[1, 2]).await.unwrap();
    assert_eq!(world.database.batches(), 1);
    let answers = world.items.get_many(&[1, 3, 2]).await.unwrap();
    assert_eq!(answers.iter().map(text).collect::<Vec<_>>(), [Some("v1"), Some("v3"), Some("v2")]);
    assert_eq!((world.database.loads(), world.database.batches()), (2, 1));
}

/// On one thread: the reader of many keys finds all of them in memory and never has to wait.
#[tokio::test(start_paused = true)]
async fn who_reads_many_keys_again_and_again_lets_others_run() {
    const READS_MAX: usize = 1_000;
    let world = with_rows(64).await;
    let keys: Vec<i64> = (1..=64).collect();
    world.items.get_many(&keys).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let others = Arc::clone(&over);
    let reading = async {
        for read in 1..=READS_MAX {
            let answers = world.items.get_many(&keys).await.unwrap();
            assert!(answers.iter().all(|answer| by(answer) == ServedBy::L1));
            if over.load(Ordering::Relaxed) {
                return read;
            }
        }
        READS_MAX
    };
    env::spawn("another", async move { others.store(true, Ordering::Relaxed) });
    let reads = reading.await;
    assert!(reads < READS_MAX / 10, "the other task had its turn after {reads} reads");
}
