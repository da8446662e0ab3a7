//! One node: load, settle, change, visibility; bounded memory; the steps of reading and applying; the catalogue.

use crate::{
    breaks,
    db::WIDE,
    holds,
    judge::Witness,
    node::Broken,
    world::{Budget, World},
};

fn settling() -> World {
    World { budget: Budget { commits: 2, loads: 2, asks: 2, ..Budget::default() }, ..World::default() }
}

fn settling_with_wide() -> World {
    World { rows: &[0, WIDE], budget: Budget { loads: 1, ..settling().budget }, ..settling() }
}

/// Two changes, and room for one.
fn overflowing() -> World {
    let budget = Budget { commits: 2, loads: 2, asks: 2, ..Budget::default() };
    World { rows: &[1, 0], in_turn: true, recent_max: 1, budget, ..World::default() }
}

/// Everything that a reader without a lock can see, step by step.
fn reading() -> World {
    let budget = Budget { commits: 1, loads: 1, asks: 2, reads: 2, ..Budget::default() };
    World { fine: true, budget, ..World::default() }
}

fn reading_within_a_bound() -> World {
    let budget = Budget { commits: 1, loads: 1, asks: 2, reads: 1, ticks: 3, ..Budget::default() };
    World { fine: true, max_staleness: 1, budget, ..World::default() }
}

fn altering() -> World {
    let budget = Budget { commits: 1, loads: 2, asks: 2, alterations: 1, ..Budget::default() };
    World { budget, ..World::default() }
}

#[test]
fn load_settle_and_change_hold() {
    holds(
        settling(),
        &[
            Witness::ServedSettled,
            Witness::ServedUnsettled,
            Witness::ServedAbsent,
            Witness::ServedWithToken,
            Witness::RefusedToken,
            Witness::SettledLater,
            Witness::MissedChange,
            Witness::HungWriter,
            Witness::XidAboveXmax,
        ],
    );
    holds(settling_with_wide(), &[Witness::ServedSettled, Witness::MissedChange]);
}

#[test]
fn bounded_memory_holds() {
    holds(
        overflowing(),
        &[
            Witness::Overflow,
            Witness::NoFloor,
            Witness::BarrierPassed,
            Witness::Interrupted,
            Witness::ServedSettled,
            Witness::ServedUnsettled,
        ],
    );
}

#[test]
fn reading_in_steps_holds() {
    holds(reading(), &[Witness::ServedSettled, Witness::ServedWithToken]);
    holds(reading_within_a_bound(), &[Witness::ServedSettled]);
}

#[test]
fn altering_the_catalogue_holds() {
    holds(altering(), &[Witness::ServedSettled, Witness::ClassEpochMoved, Witness::Interrupted]);
}

#[test]
fn sqlite_sequences_hold() {
    let world = World { sequence: true, ..settling() };
    holds(world, &[Witness::ServedSettled, Witness::ServedUnsettled, Witness::SettledLater]);
}

#[test]
fn without_the_visibility_test() {
    breaks(World { broken: Some(Broken::Visibility), ..settling() }, "P1 P2");
}

#[test]
fn without_the_visibility_test_in_sqlite() {
    breaks(World { broken: Some(Broken::Visibility), sequence: true, ..settling() }, "P1 P2");
}

#[test]
fn without_the_floor_of_the_loads_start() {
    breaks(World { broken: Some(Broken::FloorAtLoadStart), ..settling() }, "P1 P2");
}

#[test]
fn without_the_wide_tag() {
    breaks(World { broken: Some(Broken::WideTag), ..settling_with_wide() }, "P1 P2");
}

#[test]
fn without_the_token() {
    breaks(World { broken: Some(Broken::Token), ..settling() }, "P2");
}

#[test]
fn without_the_moment_of_the_question() {
    breaks(World { broken: Some(Broken::MomentIsTheQuestions), ..settling() }, "P1");
}

#[test]
fn without_the_barrier_of_an_overflow() {
    breaks(World { broken: Some(Broken::OverflowBarrier), ..overflowing() }, "P1 P2");
}

#[test]
fn without_the_discards_of_an_overflow() {
    breaks(World { broken: Some(Broken::OverflowDiscards), ..overflowing() }, "P1 P2");
}

#[test]
fn with_the_moment_taken_last() {
    breaks(World { broken: Some(Broken::MomentFirst), ..reading() }, "P1");
}

#[test]
fn with_the_applied_position_taken_after_the_tags() {
    breaks(World { broken: Some(Broken::AppliedBeforeTags), ..reading() }, "P1 P2");
}

#[test]
fn with_proofs_raised_beyond_what_was_checked() {
    breaks(World { broken: Some(Broken::RaiseNotBeyondApplied), ..reading() }, "P1 P2");
}

#[test]
fn with_tags_raised_after_the_applied_position() {
    breaks(World { broken: Some(Broken::TagsBeforeApplied), ..reading() }, "P1 P2");
}

#[test]
fn with_the_moment_published_before_the_tags() {
    breaks(World { broken: Some(Broken::AppliedBeforeMoment), ..reading() }, "P1 P2");
}

#[test]
fn with_the_clock_read_first() {
    breaks(World { broken: Some(Broken::ClockLast), ..reading_within_a_bound() }, "P1");
}

#[test]
fn without_the_catalogues_digest() {
    breaks(World { broken: Some(Broken::Digest), ..altering() }, "P5");
}
