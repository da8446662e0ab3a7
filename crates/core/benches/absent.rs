//! The filter of the keys there are, at 100 million rows: memory, false positives, time of a look-up; beside it a set of the same
//! tags, at a tenth of the rows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use trueup_core::proof::{RowFilter, TableTags, Tag, filter_bytes};

const ROWS: u64 = 100_000_000;
const ERROR: f64 = 0.0001;
/// Keys that do not exist, of which the false positives are counted.
const ABSENT: u64 = 20_000_000;
/// Look-ups timed together.
const TIMED: u64 = 5_000_000;
const ROUNDS: u64 = 2;

/// As tags are: hashes.
fn tag(number: u64) -> Tag {
    Tag(xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes()))
}

/// What this thread has used of a processor: the machine may be shared.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds of one of `TIMED` look-ups, the median of some rounds. The tags are made beforehand.
fn time(first: u64, step: u64, mut look: impl FnMut(Tag) -> bool) -> f64 {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let tags: Vec<Tag> = (0..TIMED).map(|i| tag(first + (round * TIMED + i) * step)).collect();
            let started = used();
            let found = tags.iter().filter(|tag| look(**tag)).count();
            black_box(found);
            used() - started
        })
        .collect();
    rounds.sort();
    rounds[rounds.len() / 2].as_nanos() as f64 / TIMED as f64
}

fn main() {
    let started = used();
    let filter = RowFilter::new(TableTags::of("item"), 1, ROWS, ERROR);
    (0..ROWS).for_each(|row| filter.insert(tag(row)));
    let took = used() - started;
    assert_eq!(filter.bytes(), filter_bytes(ROWS, ERROR));
    let missing = (0..ROWS).step_by(997).filter(|row| !filter.may_hold(tag(*row))).count();
    assert_eq!(missing, 0, "a row that is there is never called absent");
    let mistaken = (ROWS..ROWS + ABSENT).filter(|key| filter.may_hold(tag(*key))).count();
    println!(
        "| | rows | MiB | bytes a row | false positives | look-up, there, CPU ns | look-up, absent, CPU ns |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!(
        "| filter | {ROWS} | {:.1} | {:.2} | {:.4} % | {:.0} | {:.0} |",
        filter.bytes() as f64 / f64::from(1 << 20),
        filter.bytes() as f64 / ROWS as f64,
        100.0 * mistaken as f64 / ABSENT as f64,
        time(0, 3, |tag| filter.may_hold(tag)),
        time(2 * ROWS, 3, |tag| filter.may_hold(tag)),
    );
    println!(
        "(built in {:.1} s of a processor: {:.0} ns a row)",
        took.as_secs_f64(),
        took.as_nanos() as f64 / ROWS as f64
    );
    drop(filter);
    let rows = ROWS / 10;
    let mut set: hashbrown::HashSet<u64, foldhash::fast::FixedState> = hashbrown::HashSet::default();
    set.extend((0..rows).map(|row| tag(row).0));
    // As the library lays it out: a slot of 8 bytes and a control byte for each place.
    let places = (set.capacity() as f64 * 8.0 / 7.0).round();
    println!(
        "| set of tags | {rows} | {:.1} | {:.2} | 0 | {:.0} | {:.0} |",
        places * 9.0 / f64::from(1 << 20),
        places * 9.0 / rows as f64,
        time(0, 1, |tag| set.contains(&tag.0)),
        time(2 * ROWS, 3, |tag| set.contains(&tag.0)),
    );
}
