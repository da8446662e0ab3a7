//! Keys that do not exist, where the keys there are are known.

use std::{num::NonZeroU64, sync::Arc};

use trueup_core::{
    FilterState,
    class::{Bloom, ClassPlanBuilder},
    env::Clock,
    proof::Tag,
    read::WarmRules,
    receipt::ServedBy,
    stats::{CheckVerdict, WarmedFrom},
};

use super::{
    source::{Database, Kind, row_tag, wide_tag},
    world::{BOUND, World, by, items, ms, secs, text},
};

fn filtered() -> ClassPlanBuilder {
    // Nothing is kept of an absence, so that memory hides nothing.
    items().no_negative().bloom(Bloom::new(NonZeroU64::new(20_000).unwrap()))
}

impl World {
    async fn filtered(kind: Kind) -> Self {
        let world = Self::new(kind, filtered()).await;
        world.until_known().await;
        world
    }

    /// Waits until the keys there are are known, while the feed is healthy.
    async fn until_known(&self) {
        for _ in 0..200 {
            if self.items.filter().unwrap().answers {
                return;
            }
            self.pass_healthily(ms(50)).await;
            tokio::time::sleep(ms(1)).await;
        }
        panic!("the filter was never complete: {:?}", self.items.filter());
    }

    fn knows(&self) -> bool {
        self.items.filter().unwrap().answers
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_row_has_is_absent_without_a_load_and_proven() {
    let world = World::new(Kind::Sequence, filtered()).await;
    world.write(1, "a");
    world.until_known().await;
    let answer = world.get(7).await;
    assert_eq!((text(&answer), by(&answer)), (None, ServedBy::Filter));
    assert!(answer.receipt().proven && answer.receipt().age <= BOUND);
    assert_eq!(world.database.loads(), 0);
    assert_eq!(text(&world.get(1).await), Some("a"));
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    let status = world.items.filter().unwrap();
    assert_eq!((status.state, status.rejected, status.builds), (FilterState::Answering, 1, 1));
    assert_eq!(world.served(ServedBy::Filter), 1);
    assert_eq!(world.items.stats().counts().absent, 1);
    let verdict = world.items.verify(&7, &answer).await.unwrap();
    assert_eq!(verdict, CheckVerdict::Fresh);
}

#[tokio::test(start_paused = true)]
async fn several_keys_are_judged_one_by_one() {
    let world = World::new(Kind::Sequence, filtered()).await;
    world.write(2, "b");
    world.until_known().await;
    let answers = world.items.get_many(&[1, 2, 3]).await.unwrap();
    let found: Vec<_> = answers.iter().map(|answer| (text(answer), by(answer))).collect();
    assert_eq!(found, [(None, ServedBy::Filter), (Some("b"), ServedBy::Source), (None, ServedBy::Filter)]);
    assert_eq!(world.database.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_is_found_as_soon_as_the_feed_has_told_of_it() {
    let world = World::filtered(Kind::Sequence).await;
    for key in 1..100 {
        assert_eq!(by(&world.get(key).await), ServedBy::Filter);
        world.write(key, "new");
        assert_eq!(text(&world.get(key).await), Some("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_beyond_the_feed_and_a_bound_that_has_passed_go_to_the_source() {
    let world = World::filtered(Kind::Sequence).await;
    let token = world.database.commit(&[(5, Some("own"))]);
    let own = world.items.read(&5).token(token).run().await.unwrap();
    assert_eq!((text(&own), by(&own)), (Some("own"), ServedBy::Source));
    // Not told yet, and within the bound.
    assert_eq!(by(&world.get(6).await), ServedBy::Filter);
    world.pass(BOUND + ms(1)).await;
    assert_eq!(by(&world.get(6).await), ServedBy::Source, "nobody knows what was written in the meantime");
    let tight = world.items.read(&6).max_staleness(ms(1)).run().await.unwrap();
    assert_eq!(by(&tight), ServedBy::Source);
    world.pass_healthily(ms(1)).await;
    let token = world.database.token_at(110);
    let confirmed = world.items.read(&6).token(token).run().await.unwrap();
    assert_eq!(by(&confirmed), ServedBy::Filter, "the feed has reached this token");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_saw_an_absence_does_not_go_back() {
    let world = World::filtered(Kind::Sequence).await;
    let absent = world.get(5).await;
    let token = world.items.seen_token(&absent).unwrap();
    assert_eq!(token.position, absent.receipt().watermark);
    let again = world.items.read(&5).token(token).run().await.unwrap();
    assert_eq!(by(&again), ServedBy::Filter);
}

/// The trap: a commit that was delivered before the filter listened, and that no reader saw when it could have been read.
#[tokio::test(start_paused = true)]
async fn a_commit_told_before_the_filter_listened_and_seen_after_is_not_forgotten() {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Xids, clock.clone());
    let hidden = database.commit_hidden(&[(5, Some("late"))]);
    let world = World::on(database, clock, filtered(), None).await;
    for _ in 0..40 {
        world.pass_healthily(ms(50)).await;
        tokio::time::sleep(ms(1)).await;
    }
    assert!(!world.knows(), "a row that is told of and hidden is in no page");
    assert_eq!(world.database.pages(), 0);
    assert_eq!(by(&world.get(5).await), ServedBy::Source);
    world.database.show(hidden);
    world.until_known().await;
    assert_eq!(text(&world.get(5).await), Some("late"));
    assert_eq!(by(&world.get(6).await), ServedBy::Filter);
}

/// A page may see a deletion before the feed tells it: until then readers are told of a state in which the row is there.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_only_the_enumeration_saw_is_no_absence_before_it_is_told() {
    let world = World::new(Kind::Sequence, filtered()).await;
    world.write(5, "a");
    world.until_known().await;
    world.database.commit(&[(5, None)]);
    let before = world.database.pages();
    world.database.catalogue.altered([1; 16]);
    for _ in 0..20 {
        world.pass(ms(40)).await;
        world.database.ask();
        tokio::time::sleep(ms(1)).await;
    }
    assert!(world.database.pages() > before, "read again, for another shape");
    assert!(!world.knows(), "the feed has not told all that the pages saw");
    assert_eq!(by(&world.get(6).await), ServedBy::Source);
    world.until_known().await;
    assert_eq!(text(&world.get(5).await), None);
    assert_eq!(by(&world.get(6).await), ServedBy::Filter);
}

#[tokio::test(start_paused = true)]
async fn pages_read_on_a_connection_that_was_lost_are_read_again() {
    let world = World::new(Kind::Sequence, filtered()).await;
    world.write(1, "a");
    world.database.close_gate();
    for _ in 0..3 {
        world.pass_healthily(ms(100)).await;
    }
    world.database.until_waiting(1).await;
    let pages = world.database.pages();
    world.database.reconnect();
    world.write(2, "b");
    world.database.open_gate();
    world.until_known().await;
    assert!(world.database.pages() > pages, "what they saw may have been taken back");
    assert_eq!(by(&world.get(3).await), ServedBy::Filter);
}

#[tokio::test(start_paused = true)]
async fn whatever_hides_rows_has_everything_let_through_until_the_keys_are_read_again() {
    type Hides = fn(&World);
    let hides: [(&str, Hides); 4] = [
        ("a bulk change", |world| {
            world.database.commit_in_bulk(&[(5, Some("x"))]);
            world.database.pump();
        }),
        ("a new epoch", |world| {
            world.database.commit(&[(5, Some("x"))]);
            world.database.new_epoch();
            world.database.pump();
        }),
        ("another shape", |world| {
            world.write(5, "x");
            world.database.catalogue.altered([7; 16]);
        }),
        ("changes that may have gone untold", |world| {
            world.write(5, "x");
            world.database.freeze();
            world.database.pump();
        }),
    ];
    for (what, hide) in hides {
        let world = World::filtered(Kind::Sequence).await;
        assert_eq!(by(&world.get(5).await), ServedBy::Filter);
        hide(&world);
        assert!(!world.knows(), "{what}");
        assert_eq!(by(&world.get(6).await), ServedBy::Source, "{what}");
        assert_eq!(text(&world.get(5).await), Some("x"), "{what}");
        world.until_known().await;
        assert_eq!(by(&world.get(6).await), ServedBy::Filter, "{what}");
        assert_eq!(text(&world.get(5).await), Some("x"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_or_a_class_invalidated_by_name_is_asked_for() {
    let world = World::filtered(Kind::Sequence).await;
    for tags in [vec![row_tag(5)], vec![row_tag(6), row_tag(7), Tag::by_name()]] {
        world.cache.invalidate(&tags).await.unwrap();
    }
    world.database.pump();
    for key in 5..8 {
        assert_eq!(by(&world.get(key).await), ServedBy::Source, "{key}");
    }
    assert_eq!(by(&world.get(8).await), ServedBy::Filter);
    world.cache.invalidate(&[wide_tag()]).await.unwrap();
    world.database.pump();
    assert_eq!(by(&world.get(8).await), ServedBy::Source);
}

#[tokio::test(start_paused = true)]
async fn changes_of_other_tables_do_not_fill_it() {
    let world = World::filtered(Kind::Sequence).await;
    let entries = || world.items.filter().unwrap().entries.unwrap();
    let before = entries();
    for row in 0..50 {
        let other = Tag::row("other", [row.to_string().as_str()]);
        world.cache.invalidate(&[other, Tag::any("other")]).await.unwrap();
    }
    world.database.pump();
    assert_eq!(entries(), before);
}

#[tokio::test(start_paused = true)]
async fn it_is_built_again_when_too_many_of_its_rows_are_gone() {
    const GONE: i64 = 1_200;
    let world = World::new(Kind::Sequence, filtered()).await;
    let rows: Vec<(i64, Option<&str>)> = (0..GONE).map(|key| (key, Some("x"))).collect();
    world.database.commit(&rows);
    world.database.pump();
    world.until_known().await;
    let deleted: Vec<(i64, Option<&str>)> = (0..GONE).map(|key| (key, None)).collect();
    world.database.commit(&deleted);
    world.database.pump();
    for key in 0..GONE {
        assert_eq!(by(&world.get(key).await), ServedBy::Source);
    }
    assert_eq!(world.items.filter().unwrap().passed_absent, GONE as u64);
    for _ in 0..30 {
        world.pass_healthily(secs(5)).await;
        tokio::time::sleep(ms(1)).await;
    }
    world.until_known().await;
    assert_eq!(world.items.filter().unwrap().builds, 2);
    assert_eq!(by(&world.get(7).await), ServedBy::Filter);
}

#[tokio::test(start_paused = true)]
async fn many_pages_are_read_and_a_source_that_is_down_is_asked_again() {
    const ROWS: i64 = 25_000;
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let keys: Vec<(i64, Option<&str>)> = (0..ROWS).map(|key| (key * 2, Some("x"))).collect();
    database.commit(&keys);
    let plan = items().no_negative().bloom(Bloom::new(NonZeroU64::new(ROWS as u64).unwrap()));
    let world = World::on(Arc::clone(&database), clock, plan, None).await;
    database.go_down();
    for _ in 0..20 {
        world.pass_healthily(ms(100)).await;
        tokio::time::sleep(ms(1)).await;
    }
    assert!(!world.knows());
    database.come_back();
    world.until_known().await;
    assert!(world.database.pages() > 3);
    for key in 0..200 {
        let even = world.get(key * 2).await;
        assert_eq!((text(&even), by(&even)), (Some("x"), ServedBy::Source));
        assert_eq!(by(&world.get(key * 2 + 1).await), ServedBy::Filter);
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_without_memory_for_it_is_refused_with_the_fix() {
    let world = World::usual().await;
    let plan = super::world::plan(items().bloom(Bloom::new(NonZeroU64::new(1_000_000_000).unwrap())));
    let form = super::world::form();
    let refused = world.cache.class::<i64, String>(plan, form, Arc::clone(&world.database) as _);
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("2348 MiB") && why.contains("bloom_max"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_surely_absent_is_warm_without_a_load() {
    let world = World::filtered(Kind::Sequence).await;
    let warmed = world.items.warm(&[7], &WarmRules::within(secs(10)), |_| ()).await.unwrap();
    assert_eq!((warmed.of(WarmedFrom::Memory), warmed.total(), world.database.loads()), (1, 1, 0));
}
