//! What a receipt says is true, and what is counted is what happened.

use trueup_core::{
    proof::Position,
    receipt::{Miss, ServedBy},
    source::LoadError,
};

use super::{
    source::{Act, Kind},
    world::{BOUND, World, by, items, ms, start, text},
};

#[tokio::test(start_paused = true)]
async fn a_reader_who_joined_a_load_gets_the_age_of_the_load_and_not_of_its_own_arrival() {
    let world = World::usual().await;
    world.write(1, "old");
    world.database.close_gate();
    let early = world.start_get(1);
    world.database.until_waiting(1).await;
    world.clock.advance(ms(50));
    // Acknowledged before the late reader comes, unseen by the load and untold by the feed.
    world.database.commit(&[(1, Some("new"))]);
    world.clock.advance(ms(50));
    let late = world.start_get(1);
    world.turns().await;
    world.clock.advance(ms(100));
    world.database.open_gate();
    early.end().await.unwrap();
    let late = late.end().await.unwrap();
    assert_eq!(text(&late), Some("old"), "within its bound");
    assert_eq!(late.receipt().age, ms(200), "a commit of 150 ms ago is not reflected");
    assert_eq!((late.receipt().served_by, late.receipt().miss), (ServedBy::Source, Some(Miss::Cold)));
}

#[tokio::test(start_paused = true)]
async fn a_load_is_as_old_as_its_start_and_a_hit_as_its_moment() {
    let world = World::usual().await;
    world.write(1, "a");
    world.database.close_gate();
    let reading = world.start_get(1);
    world.database.until_waiting(1).await;
    world.clock.advance(ms(30));
    world.database.open_gate();
    let loaded = reading.end().await.unwrap();
    assert_eq!(
        (by(&loaded), loaded.receipt().age, loaded.receipt().proven),
        (ServedBy::Source, ms(30), true)
    );
    world.clock.advance(ms(70));
    let hit = world.get(1).await;
    assert_eq!((by(&hit), hit.receipt().age, hit.receipt().miss), (ServedBy::L1, ms(100), None));
    world.database.ask();
    assert_eq!(world.get(1).await.receipt().age, ms(0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_not_be_kept_names_no_position_at_which_it_was_checked() {
    let world = World::new(Kind::Xids, items()).await;
    world.write(1, "old");
    world.database.commit_hidden(&[(1, Some("new"))]);
    world.database.pump();
    let answer = world.get(1).await;
    assert_eq!((text(&answer), answer.receipt().watermark), (Some("old"), Position::ZERO));
    world.write(2, "x");
    assert_ne!(world.get(2).await.receipt().watermark, Position::ZERO);
}

#[tokio::test(start_paused = true)]
async fn every_read_is_counted_once_as_served_or_failed_and_every_miss_by_its_reason() {
    let world = World::usual().await;
    world.write(1, "a");
    world.get(1).await; // cold
    world.get(1).await; // hit
    world.get(2).await; // cold, absent
    world.get(2).await; // hit, absent
    world.write(1, "b");
    world.get(1).await; // invalidated
    world.pass(BOUND + ms(1)).await;
    world.get(1).await; // unproven
    world.database.pump();
    let token = world.database.commit(&[(1, Some("c"))]);
    world.items.read(&1).token(token).run().await.unwrap(); // bypass
    world.items.read_many(&[1, 2]).consistent().run().await.unwrap(); // unsettled: twice bypass
    world.database.script([Act::Fail(LoadError::Lost)]);
    assert!(world.get_err(3).await); // cold
    world.items.get_many(&[4, 5, 1]).await.unwrap(); // cold, cold, hit
    let counts = world.items.stats().counts();
    assert_eq!(counts.served.map(|(_, count)| count), [3, 0, 9, 0, 0, 0, 0]);
    assert_eq!(
        counts.misses,
        [("cold", 5), ("evicted", 0), ("expired", 0), ("invalidated", 1), ("unproven", 1), ("bypass", 3)]
    );
    assert_eq!((counts.failures, counts.absent), (1, 1));
    assert_eq!(counts.served.iter().map(|(_, n)| n).sum::<u64>() + counts.failures, 13);
}

#[tokio::test(start_paused = true)]
async fn peek_never_waits() {
    let world = World::usual().await;
    world.write(1, "a");
    assert!(world.items.peek(&1).unwrap().is_none());
    assert_eq!((world.database.loads(), world.items.memory().len()), (0, 0));
    world.get(1).await;
    assert_eq!(world.items.peek(&1).unwrap().as_ref().and_then(text), Some("a"));
    world.database.close_gate();
    world.write(1, "b");
    let items = world.items.clone();
    let reading = start(async move { items.get(&1).await });
    world.database.until_waiting(1).await;
    assert!(world.items.peek(&1).unwrap().is_none(), "while a load is under way, too");
    world.database.open_gate();
    reading.end().await.unwrap();
}
