//! Loads on a standby: answered only once they are proven here, and once the primary shows all that they may show.

use trueup_core::{proof::Token, receipt::ServedBy, source::LoadError};

use super::{
    source::{Act, Kind},
    world::{World, by, items, ms, secs, start, text},
};

async fn world() -> World {
    let world = World::new(Kind::Xids, items()).await;
    world.write(1, "old");
    world.database.replay();
    world
}

#[tokio::test(start_paused = true)]
async fn a_value_of_a_standby_is_answered_with_the_age_that_the_check_has_shown_and_kept() {
    let world = world().await;
    world.clock.advance(ms(300));
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("old"), ServedBy::Source));
    assert!(answer.receipt().proven);
    assert_eq!(answer.receipt().age, ms(300), "the last question, not the load, says how fresh it is");
    assert_eq!((world.database.standby_loads(), world.database.loads()), (1, 0));
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(text(&world.get(2).await), None, "absent values too");
    assert_eq!(world.database.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_primary_still_hides_is_not_shown_to_anyone() {
    let world = world().await;
    let hidden = world.database.commit_hidden(&[(1, Some("new"))]);
    world.database.replay();
    world.database.pump();
    let mut waiting = world.start_get(1);
    world.turns().await;
    assert_eq!(world.database.standby_loads(), 1);
    assert!(!waiting.has_ended() && world.items.peek(&1).unwrap().is_none(), "nobody sees it yet");
    world.pass_healthily(secs(1)).await;
    world.turns().await;
    let answer = waiting.end().await.unwrap();
    assert_eq!(text(&answer), Some("old"), "the primary was asked, and hides it");
    assert_eq!(world.database.loads(), 1);
    world.database.show(hidden);
    world.database.pump();
    assert_eq!(text(&world.get(1).await), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn what_the_primary_has_come_to_show_is_released() {
    let world = world().await;
    let hidden = world.database.commit_hidden(&[(1, Some("new"))]);
    world.database.replay();
    world.database.pump();
    let mut waiting = world.start_get(1);
    world.turns().await;
    assert!(!waiting.has_ended());
    world.database.show(hidden);
    world.database.ask();
    let answer = waiting.end().await.unwrap();
    assert_eq!((text(&answer), world.database.loads()), (Some("new"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_lags_behind_a_change_is_passed_over() {
    for deliver_during_the_load in [false, true] {
        let world = world().await;
        world.database.commit(&[(1, Some("new"))]);
        if deliver_during_the_load {
            let reading = world.start_get(1);
            world.turns().await;
            world.database.pump();
            assert_eq!(text(&reading.end().await.unwrap()), Some("new"));
        } else {
            world.database.pump();
            assert_eq!(text(&world.get(1).await), Some("new"));
        }
        assert_eq!((world.database.standby_loads(), world.database.loads()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_of_the_feed_is_answered_by_the_primary() {
    let world = world().await;
    world.get(1).await;
    let token: Token = world.database.commit(&[(1, Some("own"))]);
    let items = world.items.clone();
    let own = start(async move { items.read(&1).token(token).run().await }).end().await.unwrap();
    assert_eq!(text(&own), Some("own"));
    assert_eq!((world.database.standby_loads(), world.database.loads()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_joins_with_a_token_is_not_given_what_a_standby_brought() {
    let world = world().await;
    // Never visible, so that the standby's value waits.
    let open = world.database.commit_hidden(&[(9, Some("open"))]);
    world.database.pump();
    let first = world.start_get(1);
    world.turns().await;
    let token = world.database.commit(&[(1, Some("own"))]);
    let items = world.items.clone();
    let own = start(async move { items.read(&1).token(token).run().await });
    world.turns().await;
    world.database.show(open);
    world.database.ask();
    world.turns().await;
    assert_eq!(text(&own.end().await.unwrap()), Some("own"));
    first.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_fails_or_hangs_costs_a_wait_and_no_answer() {
    let world = world().await;
    world.database.script_standby([Act::Fail(LoadError::Unavailable("gone".into())), Act::Hang]);
    assert_eq!(text(&world.get(1).await), Some("old"));
    assert_eq!(world.database.loads(), 1);
    let hanging = world.start_get(2);
    world.turns().await;
    tokio::time::advance(secs(1)).await;
    assert_eq!(text(&hanging.end().await.unwrap()), None);
    assert_eq!(world.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_from_a_standby_is_as_old_as_its_check_has_shown() {
    let world = World::new(Kind::Xids, items().serve_stale(secs(60))).await;
    world.write(1, "old");
    world.database.replay();
    world.clock.advance(ms(900));
    assert_eq!(text(&world.get(1).await), Some("old"));
    world.database.go_down();
    world.clock.advance(secs(2));
    world.database.script_standby([Act::Fail(LoadError::Unavailable("gone".into()))]);
    let stale = world.get(1).await;
    assert_eq!(by(&stale), ServedBy::Stale);
    assert_eq!(stale.receipt().age, ms(2_900), "not counted from the load, which was later");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_know_how_fresh_it_is_asks_the_primary() {
    let world = world().await;
    world.clock.advance(secs(5));
    let answer = world.get(1).await;
    assert_eq!(text(&answer), Some("old"));
    assert_eq!(world.database.loads(), 1, "whatever the standby said could not be checked");
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_no_more_than_half_of_the_time_that_a_load_may_take() {
    let world = World::new(Kind::Xids, items().hard_timeout(ms(600))).await;
    world.write(1, "old");
    world.database.replay();
    world.database.script_standby([Act::Hang]);
    let mut hanging = world.start_get(1);
    world.turns().await;
    world.pass(ms(299)).await;
    assert!(!hanging.has_ended());
    world.pass(ms(1)).await;
    assert_eq!((world.database.standby_loads(), world.database.loads()), (1, 1));
    assert!(hanging.has_ended());
    assert_eq!(text(&hanging.end().await.unwrap()), Some("old"));
}
