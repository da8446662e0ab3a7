//! The process killed -9 at each point, and started again: a card is charged once at most, the ledger sums to zero, no hold is left,
//! a repeat gets one answer, each message is told once, and nothing is stuck.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ask;
mod crashed;
mod draw;
mod support;

use crashed::Crashed;
use support::{Place, World};

/// Points at which the process dies, and what goes wrong at the gateway meanwhile.
const POINTS: &[(&str, &str, &str)] = &[
    ("before T1", "before-t1", "none"),
    ("after T1, before the call", "after-t1", "none"),
    ("the request was lost", "after-unanswered", "lose-request"),
    ("charged, and the reply lost", "after-unanswered", "lose-reply"),
    ("the reply held, before T2", "before-t2", "none"),
    ("between the effects of T2", "between-effects", "none"),
    ("inside T2, all but committed", "inside-t2", "none"),
    ("T2 committed, its acknowledgement lost", "after-t2", "none"),
    ("the response lost", "before-response", "none"),
    ("the consumer committed, not acknowledged", "consumer-committed", "none"),
    ("published, not marked", "published", "none"),
    ("the webhook before the reply", "after-unanswered", "webhook-only"),
    ("garbage for a reply", "after-unanswered", "garbage"),
];

fn every_point(place: impl Fn() -> Place) {
    for (name, point, fault) in POINTS {
        let mut world = World::start(place());
        Crashed::charge(&mut world, point, fault).assert_once(name);
    }
    for point in ["before-t1", "inside-t2", "before-response"] {
        let mut world = World::start(place());
        Crashed::transfer(&mut world, point).assert_once(point);
    }
    for (point, fault) in [
        ("after-t1", "none"),
        ("before-t2", "none"),
        ("inside-t2", "none"),
        ("after-unanswered", "lose-reply"),
    ] {
        let mut world = World::start(place());
        Crashed::refund(&mut world, point, fault).assert_once(point);
    }
}

#[test]
fn every_point_on_sqlite() {
    every_point(Place::sqlite);
}

#[test]
fn every_point_on_postgres() {
    every_point(Place::postgres);
}

/// The key is older than the gateway knows keys for before anybody comes back to it: looked up, never sent again.
#[test]
fn a_key_that_has_expired_is_looked_up() {
    for place in [Place::sqlite(), Place::postgres()] {
        let mut world = World::start_with(
            place,
            &["--key-window-ms", "1500", "--margin-ms", "300", "--in-flight-ms", "500"],
        );
        let crashed = Crashed::charge_and_stay_down(&mut world, "after-unanswered", "lose-reply");
        std::thread::sleep(std::time::Duration::from_millis(2_500));
        crashed.up_again(&mut world).assert_once("charged, and found by its reference");
        let mut world = World::start_with(
            world.place_again(),
            &["--key-window-ms", "1500", "--margin-ms", "300", "--in-flight-ms", "500"],
        );
        let crashed = Crashed::charge_and_stay_down(&mut world, "after-unanswered", "lose-request");
        std::thread::sleep(std::time::Duration::from_millis(2_500));
        crashed.up_again(&mut world).assert_once("never heard of, and attempted anew");
    }
}

/// A process that was stopped past its lease, and wakes after another instance has finished its work, changes nothing. On PostgreSQL: a
/// stopped process may hold SQLite's only write lock, and then nobody writes until it wakes.
#[test]
fn a_process_that_wakes_late_changes_nothing() {
    for point in ["after-t1", "before-t2"] {
        let mut world = World::start(Place::postgres());
        Crashed::stopped_and_woken(&mut world, point).assert_once(point);
    }
}

/// The same of a worker within its process, whose work the completer beside it has finished.
#[test]
fn a_worker_that_wakes_late_changes_nothing() {
    for place in [Place::sqlite(), Place::postgres()] {
        for point in ["after-t1", "before-t2", "after-unanswered"] {
            let mut world = World::start(place.again());
            Crashed::paused_and_woken(&mut world, point).assert_once(point);
        }
    }
}

/// The reaper runs while an operation is unfinished, with a retention of nothing: it forgets what is finished, and nothing else.
#[test]
fn the_reaper_forgets_nothing_unfinished() {
    let mut world = World::start_with(Place::sqlite(), &["--retention-ms", "0"]);
    Crashed::charge_without_replay(&mut world, "after-unanswered", "lose-reply").assert_once("reaped");
}

/// The settlement is killed within a chunk and between chunks, and run again.
#[test]
fn a_settlement_that_was_killed_is_gone_on_with() {
    for place in [Place::sqlite(), Place::postgres()] {
        for point in ["settlement-chunk", "settlement-saved"] {
            let world = World::start(place.again());
            world.settle_killed_at(point);
        }
    }
}

/// So are the standing orders of a day.
#[test]
fn standing_orders_that_were_killed_are_gone_on_with() {
    for place in [Place::sqlite(), Place::postgres()] {
        for point in ["standing-chunk", "standing-saved"] {
            let world = World::start(place.again());
            world.standing_orders_killed_at(point);
        }
    }
}

/// A job that was stopped past its lease, and wakes after another instance has gone on with it, is told so and changes nothing. On PostgreSQL, as above.
#[test]
fn a_job_that_wakes_late_changes_nothing() {
    for (job, point) in [("settle", "settlement-saved"), ("standing-orders", "standing-saved")] {
        World::start(Place::postgres()).job_stopped_and_woken(job, point);
    }
}
