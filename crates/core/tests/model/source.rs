//! What happens to the source: start-up in its midst, crash, failover; and to the feed: gaps.

use crate::{
    breaks, holds,
    judge::Witness,
    node::Broken,
    world::{Budget, World},
};

/// A new slot while two writers are at work, one of them on the entry's row.
fn starting_up() -> World {
    let budget = Budget { commits: 2, loads: 1, asks: 1, ..Budget::default() };
    World { starts_up: true, rows: &[1, 0], in_turn: true, budget, ..World::default() }
}

/// Commits are acknowledged before they are flushed; a crash takes them back, and their ids are used again.
fn crashing() -> World {
    let budget = Budget { commits: 2, loads: 1, asks: 1, crashes: 1, ..Budget::default() };
    World { asynchronous: true, budget, ..World::default() }
}

/// The same, but the connection's number tells nothing, and positions are not used again. What the crash takes back
/// is seen then; what comes after it must not be missed.
fn crashing_unnoticed() -> World {
    World {
        rows: &[1, 0],
        in_turn: true,
        keep_positions: true,
        connection_kept: true,
        forgives_lost: true,
        ..crashing()
    }
}

/// A standby without the last commit is promoted, and nobody stops the old primary.
fn failing_over() -> World {
    let budget = Budget { commits: 2, loads: 1, asks: 1, fail_overs: 1, ..Budget::default() };
    World { budget, ..World::default() }
}

fn failing_over_while_reading() -> World {
    let budget = Budget { commits: 1, loads: 1, asks: 1, fail_overs: 1, reads: 1, ..Budget::default() };
    World { fine: true, standby_is_behind: false, budget, ..World::default() }
}

fn losing_messages() -> World {
    let budget = Budget { commits: 2, loads: 1, asks: 2, losses: 1, ..Budget::default() };
    World { rows: &[0, 1], in_turn: true, budget, ..World::default() }
}

#[test]
fn start_up_holds() {
    holds(
        starting_up(),
        &[
            Witness::NoFloor,
            Witness::BarrierPassed,
            Witness::HungWriter,
            Witness::XidAboveXmax,
            Witness::ServedSettled,
        ],
    );
}

#[test]
fn a_crash_holds() {
    holds(crashing(), &[Witness::Interrupted, Witness::ServedSettled, Witness::ServedUnsettled]);
    holds(crashing_unnoticed(), &[Witness::ServedSettled]);
}

#[test]
fn a_failover_holds() {
    holds(
        failing_over(),
        &[
            Witness::OtherEpoch,
            Witness::OtherEpochMessage,
            Witness::ServedInLaterEpoch,
            Witness::ServedSettled,
        ],
    );
    holds(failing_over_while_reading(), &[Witness::ServedSettled]);
}

#[test]
fn a_gap_holds() {
    holds(losing_messages(), &[Witness::Gap, Witness::ServedSettled]);
}

#[test]
fn without_the_wait_at_start_up() {
    breaks(World { broken: Some(Broken::StartBarrier), ..starting_up() }, "P1 P2");
}

/// `docs/rfc/0001-start-up-barrier.md` tells the story.
#[test]
fn with_a_barrier_taken_from_a_snapshot() {
    breaks(World { broken: Some(Broken::StartBarrierOfItsOwn), ..starting_up() }, "P1 P2");
}

#[test]
fn without_the_connections_number() {
    breaks(World { broken: Some(Broken::Connection), ..crashing() }, "P1 P2 P5");
}

#[test]
fn with_a_snapshot_kept_across_a_crash() {
    let world = World { budget: Budget { asks: 2, ..crashing().budget }, ..crashing() };
    breaks(World { broken: Some(Broken::KeptSnapshots), ..world }, "P1 P2");
}

#[test]
fn with_entries_settled_before_the_feed_reached_them() {
    breaks(World { broken: Some(Broken::SettleWaitsForUpper), ..crashing() }, "P5");
}

/// A second line behind the connection's number: no change later than what a load can have seen counts as seen.
#[test]
fn without_settles_upper_test() {
    breaks(World { broken: Some(Broken::SettleUpperTest), ..crashing_unnoticed() }, "P1 P2");
}

#[test]
fn without_the_epoch_in_messages() {
    breaks(World { broken: Some(Broken::EpochInMessages), ..failing_over() }, "P1 P2 P5");
}

#[test]
fn without_the_epoch_in_answers() {
    breaks(World { broken: Some(Broken::EpochInAnswers), ..failing_over() }, "P1 P2 P5");
}

#[test]
fn without_the_timeline_of_a_load() {
    breaks(World { broken: Some(Broken::EpochOfLoad), ..failing_over() }, "P1 P2 P5");
}

#[test]
fn without_the_epoch_of_an_entry() {
    breaks(World { broken: Some(Broken::EpochOfEntry), ..failing_over() }, "P1 P2 P5");
}

#[test]
fn without_the_epoch_checked_again() {
    breaks(World { broken: Some(Broken::EpochCheckedLast), ..failing_over_while_reading() }, "P1 P2 P5");
}

#[test]
fn without_the_gap_test() {
    breaks(World { broken: Some(Broken::Gap), ..losing_messages() }, "P1 P2");
}
