//! Small histories with one mistake each, and the same without it.

use std::time::Duration;

use trueup_core::env::Nanos;

use super::{History, Promise, Read, Rewind, Seen, ServedBy, Together, Verdict, Write, judge};

const SUM: i64 = 200;
const BOUND: Duration = Duration::from_millis(100);

const fn ms(time: u64) -> Nanos {
    Nanos(time * 1_000_000)
}

const fn write(version: u64, start: u64, acked: u64) -> Write {
    Write { object: 0, version, present: true, start: ms(start), acked: Some(ms(acked)) }
}

const fn read(version: u64, start: u64) -> Read {
    Read {
        object: 0,
        seen: Seen::Version(version),
        start: ms(start),
        end: ms(start + 5),
        bound: Some(BOUND),
        covers: Nanos::ZERO,
        session: None,
        served_by: ServedBy::L1,
        node: 0,
    }
}

/// A row of version 1, written at once; version 2 from 1,000 to 1,010 ms; version 3 from 2,000 to 2,010 ms.
fn of(reads: Vec<Read>) -> History {
    let writes = vec![write(1, 0, 0), write(2, 1_000, 1_010), write(3, 2_000, 2_010)];
    History { writes, reads, sum: SUM, ..History::default() }
}

#[track_caller]
fn finds(history: &History, promise: Promise) -> Verdict {
    let verdict = judge(history);
    assert_eq!(verdict.counts.keys().collect::<Vec<_>>(), [&promise], "{verdict:?}");
    verdict
}

#[track_caller]
fn passes(history: &History) {
    let verdict = judge(history);
    assert!(verdict.counts.is_empty(), "{verdict:?}");
}

#[test]
fn an_old_answer_is_right_within_its_bound_and_wrong_beyond_it() {
    passes(&of(vec![read(1, 1_109), read(2, 1_109)]));
    let verdict = finds(&of(vec![read(1, 1_111)]), Promise::P1);
    assert_eq!(verdict.violations[0].write.unwrap().version, 2);
    let evidence = verdict.violations[0].evidence(Nanos::ZERO);
    assert!(evidence.contains("acknowledged 1.010 s") && evidence.contains("version 1"), "{evidence}");
}

#[test]
fn a_state_may_be_seen_before_its_writer_knows_and_not_before_it_is_written() {
    passes(&of(vec![read(2, 1_001), read(2, 996)]));
    finds(&of(vec![read(2, 900)]), Promise::P5);
}

#[test]
fn an_unproven_answer_may_be_old_but_not_invented() {
    passes(&of(vec![Read { bound: None, ..read(1, 9_000) }]));
    finds(&of(vec![Read { bound: None, ..read(7, 9_000) }]), Promise::P5);
}

#[test]
fn a_token_is_stricter_than_the_bound() {
    let with = |version, covers| Read { covers: ms(covers), ..read(version, 1_050) };
    passes(&of(vec![with(2, 1_020), with(1, 1_009)]));
    finds(&of(vec![with(1, 1_020)]), Promise::P2);
}

#[test]
fn a_session_never_goes_back() {
    let session = |version, start, session| Read { session: Some(session), ..read(version, start) };
    passes(&of(vec![session(1, 1_020, 1), session(2, 1_030, 1), session(1, 1_040, 2)]));
    finds(&of(vec![session(2, 1_030, 1), session(1, 1_040, 1)]), Promise::P3);
}

#[test]
fn absence_obeys_bounds_and_sessions_too() {
    let gone = Write { present: false, ..write(2, 1_000, 1_010) };
    let absent = |start| Read { seen: Seen::Absent, ..read(0, start) };
    let history = |reads| History { writes: vec![write(1, 0, 0), gone, write(3, 2_000, 2_010)], ..of(reads) };
    passes(&history(vec![absent(1_500), absent(2_105), read(1, 1_100)]));
    finds(&history(vec![absent(500)]), Promise::P4);
    finds(&history(vec![absent(2_200)]), Promise::P4);
    finds(&history(vec![read(2, 1_500)]), Promise::P5);
    let session = |read| Read { session: Some(1), ..read };
    passes(&history(vec![session(absent(1_500)), session(read(3, 2_005))]));
    finds(&history(vec![session(read(3, 2_005)), session(absent(2_050))]), Promise::P4);
}

#[test]
fn a_write_whose_answer_was_lost_may_have_happened() {
    let maybe = Write { acked: None, ..write(4, 3_000, 0) };
    let mut history = of(vec![read(3, 9_000), read(4, 9_000)]);
    history.writes.push(maybe);
    passes(&history);
}

#[test]
fn what_a_restore_took_back_may_be_shown_until_it_is_noticed_and_is_no_longer_owed() {
    let rewind = Rewind { start: ms(3_000), end: ms(3_050), survivors: vec![1] };
    let after = write(1_000_001, 4_000, 4_010);
    let with = |reads| {
        let mut history = of(reads);
        history.writes.push(after);
        History { rewinds: vec![rewind.clone()], ..history }
    };
    passes(&with(vec![
        read(3, 2_900),
        read(3, 3_100),
        read(1, 3_020),
        read(1, 3_500),
        read(1_000_001, 4_200),
    ]));
    finds(&with(vec![read(1, 2_900)]), Promise::P1);
    finds(&with(vec![read(3, 3_500)]), Promise::P5);
    finds(&with(vec![read(1, 4_200)]), Promise::P1);
    // A session may fall back to what the database fell back to.
    let session = |read| Read { session: Some(1), ..read };
    passes(&with(vec![session(read(3, 2_900)), session(read(1, 3_500))]));
    // Nor does a token stand for what was taken back.
    passes(&with(vec![Read { covers: ms(2_500), ..read(1, 3_500) }]));
}

#[test]
fn rows_of_one_state_are_of_one_version_and_add_up() {
    let together = |reads: Vec<Read>, sum| History {
        together: vec![Together { reads, sums: vec![(0, sum)] }],
        ..of(Vec::new())
    };
    passes(&together(vec![read(1, 1_020), read(1, 1_020)], SUM));
    finds(&together(vec![read(1, 1_020), read(2, 1_020)], SUM), Promise::P8);
    finds(&together(vec![read(1, 1_020), read(1, 1_020)], SUM - 1), Promise::P8);
}

#[test]
fn a_row_of_another_key_or_of_nobody_is_foreign() {
    finds(&of(vec![Read { seen: Seen::Foreign, ..read(0, 10) }]), Promise::P5);
    finds(&of(vec![Read { object: 9, ..read(1, 10) }]), Promise::P5);
}
