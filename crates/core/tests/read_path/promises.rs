//! The promises of `docs/guarantees.md`, each as a reader would test it.

use std::sync::Arc;

use trueup_core::{
    entry::EpochId,
    error::ReadError,
    proof::{Position, Token},
    receipt::{Miss, ServedBy},
};

use super::{
    source::{Kind, row_tag},
    world::{BOUND, World, by, items, ms, secs, text},
};

#[tokio::test(start_paused = true)]
async fn p1_a_change_that_the_feed_told_is_reflected_at_once() {
    let world = World::usual().await;
    world.write(1, "a");
    assert_eq!(text(&world.get(1).await), Some("a"));
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    world.write(1, "b");
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("b"), ServedBy::Source));
    assert_eq!(answer.receipt().miss, Some(Miss::Invalidated));
}

#[tokio::test(start_paused = true)]
async fn p1_a_stalled_feed_proves_nothing_beyond_the_bound() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    world.pass(BOUND).await;
    let within = world.get(1).await;
    assert_eq!((text(&within), by(&within)), (Some("a"), ServedBy::L1), "within its bound");
    assert_eq!(within.receipt().age, BOUND);
    world.pass(ms(1)).await;
    let beyond = world.get(1).await;
    assert_eq!((text(&beyond), by(&beyond)), (Some("b"), ServedBy::Source));
    assert_eq!(world.missed("unproven"), 1);
    assert_eq!(by(&world.get(1).await), ServedBy::Source, "what was just loaded is no better without a feed");
}

#[tokio::test(start_paused = true)]
async fn p1_an_ask_counts_only_once_the_feed_has_reached_its_answer() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    world.pass(BOUND + ms(1)).await;
    world.database.ask();
    assert_eq!(text(&world.get(1).await), Some("b"), "the source said it is further on than the feed");
}

#[tokio::test(start_paused = true)]
async fn p1_a_reader_may_tighten_the_bound_and_never_loosen_it() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.database.commit(&[(1, Some("b"))]);
    world.pass(ms(200)).await;
    let loose = world.items.read(&1).max_staleness(secs(60)).run().await.unwrap();
    assert_eq!(text(&loose), Some("a"));
    let tight = world.items.read(&1).max_staleness(ms(199)).run().await.unwrap();
    assert_eq!((text(&tight), by(&tight)), (Some("b"), ServedBy::Source));
    world.pass(BOUND).await;
    let loosened = world.items.read(&1).max_staleness(secs(60)).run().await.unwrap();
    assert_eq!(by(&loosened), ServedBy::Source, "the class's own bound stands");
}

#[tokio::test(start_paused = true)]
async fn p2_a_token_before_the_feed_goes_to_the_source_and_after_it_to_memory() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let world = World::new(kind, items()).await;
        world.write(1, "a");
        world.get(1).await;
        let token = world.database.commit(&[(1, Some("b"))]);
        let read = || async { world.items.read(&1).token(token).run().await.unwrap() };
        let early = read().await;
        assert_eq!((text(&early), by(&early)), (Some("b"), ServedBy::Source), "{kind:?}");
        assert_eq!(early.receipt().miss, Some(Miss::Bypass));
        world.database.deliver();
        assert_eq!(by(&read().await), ServedBy::Source, "not confirmed by an ask yet");
        world.database.ask();
        let late = read().await;
        assert_eq!((text(&late), by(&late)), (Some("b"), ServedBy::L1), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p2_a_token_of_another_epoch_goes_to_the_source() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    let old = Token { epoch: EpochId::from_bytes([9; 16]), position: Position(1) };
    let answer = world.items.read(&1).token(old).run().await.unwrap();
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Source));
}

#[tokio::test(start_paused = true)]
async fn p2_a_token_that_the_source_never_gave_is_named_so() {
    let world = World::usual().await;
    world.write(1, "a");
    let made_up = world.database.token_at(1_000_000);
    let answer = world.items.read(&1).token(made_up).run().await;
    assert_eq!(answer.unwrap_err(), ReadError::TokenUnknown);
    let several = world.items.read_many(&[1, 2]).token(made_up).run().await;
    assert_eq!(several.unwrap_err(), ReadError::TokenUnknown);
    let together = world.items.read_many(&[1, 2]).token(made_up).consistent().run().await;
    assert_eq!(together.unwrap_err(), ReadError::TokenUnknown);
    assert_eq!(world.items.stats().counts().failures, 5, "each read of a key ended in an error");
}

#[tokio::test(start_paused = true)]
async fn p2_a_genuine_token_is_known_although_nothing_may_be_kept_yet() {
    let world = World::new(Kind::Xids, items()).await;
    let running = world.database.commit_hidden(&[(9, Some("x"))]);
    world.database.new_epoch_behind_barrier(running);
    let token = world.database.commit(&[(1, Some("a"))]);
    let answer = world.items.read(&1).token(token).run().await;
    assert_eq!(answer.as_ref().map(text), Ok(Some("a")), "the load itself told that the source is that far");
    let both = world.items.read_many(&[1, 2]).token(token).consistent().run().await;
    assert_eq!(both.unwrap().iter().map(text).collect::<Vec<_>>(), [Some("a"), None]);
}

#[tokio::test(start_paused = true)]
async fn p3_a_session_with_what_it_has_seen_never_goes_back() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    let first = world.database.commit(&[(1, Some("b"))]);
    let ahead = world.items.read(&1).token(first).run().await.unwrap();
    assert_eq!(text(&ahead), Some("b"));
    let seen = world.items.seen_token(&ahead).unwrap();
    let again = world.items.read(&1).token(seen).run().await.unwrap();
    assert_eq!(text(&again), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn p3_what_was_seen_in_an_older_epoch_makes_no_token_of_the_new_one() {
    let world = World::usual().await;
    world.write(1, "a");
    let old = world.get(1).await;
    world.database.new_epoch();
    assert_eq!(world.items.seen_token(&old).unwrap().epoch, EpochId::UNKNOWN);
}

/// A standby was promoted, and the node's connections lead there before its feed does: what the session was shown must not
/// be taken for a position of the old epoch, whose feed may be further on.
#[tokio::test(start_paused = true)]
async fn p3_what_the_source_showed_of_an_epoch_that_the_feed_has_not_entered_binds_every_node() {
    let world = World::usual().await;
    (0..3).for_each(|_| world.write(1, "a"));
    let ours = world.get(1).await;
    let elsewhere = World::on(Arc::clone(&world.database), world.clock.clone(), items(), None).await;
    world.database.pump();
    elsewhere.get(1).await;
    assert_eq!(by(&elsewhere.get(1).await), ServedBy::L1);

    world.database.source_moves_on();
    world.database.commit(&[(1, Some("b"))]);
    let ahead = world
        .items
        .read(&1)
        .token(Token { epoch: EpochId::UNKNOWN, ..world.items.seen_token(&ours).unwrap() });
    let ahead = ahead.run().await.unwrap();
    assert_eq!((text(&ahead), by(&ahead)), (Some("b"), ServedBy::Source));
    let seen = world.items.seen_token(&ahead).unwrap();
    assert_eq!(by(&elsewhere.get(1).await), ServedBy::L1, "it has heard of nothing, within its bound");
    let again = elsewhere.items.read(&1).token(seen).run().await.unwrap();
    assert_eq!((text(&again), by(&again)), (Some("b"), ServedBy::Source));
    let more = world.items.seen_token(&ours).unwrap().together(elsewhere.items.seen_token(&again).unwrap());
    assert_eq!(more.epoch, EpochId::UNKNOWN, "of a batch, too");
}

#[tokio::test(start_paused = true)]
async fn p4_absent_is_an_answer_like_any_other() {
    let world = World::usual().await;
    assert!(world.get(1).await.is_absent());
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(world.items.stats().counts().absent, 1);
    let token = world.database.commit(&[(1, Some("a"))]);
    let own = world.items.read(&1).token(token).run().await.unwrap();
    assert_eq!(text(&own), Some("a"), "P2 for what was absent");
    world.write(2, "x");
    world.get(2).await;
    world.database.commit(&[(2, None)]);
    world.database.pump();
    assert!(world.get(2).await.is_absent(), "P1 for what was deleted");
}

#[tokio::test(start_paused = true)]
async fn p4_an_insert_ends_a_known_absence_through_the_feed() {
    let world = World::usual().await;
    world.get(1).await;
    world.write(1, "a");
    assert_eq!(text(&world.get(1).await), Some("a"));
    assert_eq!(world.missed("invalidated"), 1);
}

#[tokio::test(start_paused = true)]
async fn p5_an_epoch_change_drops_everything() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    world.get(2).await;
    world.database.new_epoch();
    world.database.pump();
    for key in [1, 2] {
        assert_eq!(world.items.peek(&key).unwrap().map(|_| ()), None);
        assert_eq!(by(&world.get(key).await), ServedBy::Source);
        assert_eq!(by(&world.get(key).await), ServedBy::L1, "kept in the new epoch");
    }
    assert_eq!(world.missed("unproven"), 2);
}

#[tokio::test(start_paused = true)]
async fn p5_a_load_that_began_in_an_older_epoch_is_not_kept() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let reading = world.start_get(1);
    world.database.until_waiting(1).await;
    world.database.new_epoch();
    world.database.pump();
    world.database.open_gate();
    assert_eq!(text(&reading.end().await.unwrap()), Some("a"), "its own reader has it");
    assert!(world.items.peek(&1).unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn p8_a_transfer_is_never_seen_half_done() {
    let world = World::usual().await;
    world.database.commit(&[(1, Some("100")), (2, Some("0"))]);
    world.database.pump();
    world.get(1).await;
    world.database.commit(&[(1, Some("60")), (2, Some("40"))]);
    // Key 2 is loaded after the transfer, key 1 was before: each is proven within its bound, together they lie.
    world.get(2).await;
    let each = world.items.get_many(&[1, 2]).await.unwrap();
    assert_eq!(each.iter().map(text).collect::<Vec<_>>(), [Some("100"), Some("40")], "the trap is set");
    let read = || async { world.items.read_many(&[1, 2]).consistent().run().await.unwrap() };
    let together = read().await;
    assert_eq!(together.iter().map(text).collect::<Vec<_>>(), [Some("60"), Some("40")]);
    world.database.pump();
    let loads = world.database.loads();
    let again = read().await;
    assert_eq!(again.iter().map(text).collect::<Vec<_>>(), [Some("60"), Some("40")]);
    assert!(again.iter().all(|answer| by(answer) == ServedBy::L1), "settled at one position");
    assert_eq!(world.database.loads(), loads);
}

#[tokio::test(start_paused = true)]
async fn p8_entries_of_different_states_are_not_one_state() {
    let world = World::new(Kind::Xids, items()).await;
    world.database.commit(&[(1, Some("100")), (2, Some("0"))]);
    world.database.pump();
    world.get(1).await;
    world.get(2).await;
    world.database.commit(&[(1, Some("60")), (2, Some("40"))]);
    world.database.pump();
    world.get(2).await;
    let together = world.items.read_many(&[1, 2]).consistent().run().await.unwrap();
    assert_eq!(together.iter().map(text).collect::<Vec<_>>(), [Some("60"), Some("40")]);
}

#[tokio::test(start_paused = true)]
async fn explicit_invalidation_travels_by_the_feed() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await;
    let token = world.cache.invalidate(&[row_tag(1)]).await.unwrap();
    let own = world.items.read(&1).token(token).run().await.unwrap();
    assert_eq!(by(&own), ServedBy::Source, "whoever invalidated sees it done");
    world.database.pump();
    assert_eq!(by(&world.get(1).await), ServedBy::L1, "the load above saw the invalidation");
    world.cache.invalidate(&[row_tag(1)]).await.unwrap();
    world.database.pump();
    assert_eq!(by(&world.get(1).await), ServedBy::Source);
}

/// The source is asked about a token that nothing but its answer can confirm, and about no other.
#[tokio::test(start_paused = true)]
async fn p2_a_reader_ahead_of_the_feed_has_its_token_confirmed_for_those_who_come_after() {
    let world = World::usual().await;
    let wished = || world.cache.feed().wished();
    world.write(1, "a");
    let reached = world.database.token_at(110);
    world.items.read(&1).token(reached).run().await.unwrap();
    assert_eq!(wished(), Position::ZERO, "memory had nothing: no answer of the source would have helped");
    let other = Token { epoch: EpochId::from_bytes([9; 16]), position: Position(1) };
    world.items.read(&1).token(other).run().await.unwrap();
    assert_eq!(wished(), Position::ZERO, "of another epoch nothing here is ever confirmed");
    let token = world.database.commit(&[(2, Some("x"))]);
    world.items.read(&1).token(token).run().await.unwrap();
    assert_eq!(wished(), token.position);
}
