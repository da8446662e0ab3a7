//! Generated histories: what an honest database and an honest cache may do passes, and each lie is found.

use std::time::Duration;

use proptest::{prelude::*, sample::Index};
use trueup_core::env::Nanos;

use super::{History, Judge, Object, Promise, Read, Rewind, Seen, ServedBy, Together, Write, judge};

const OBJECTS: u32 = 4;
const SUM: i64 = 2_000;
const BOUND: Duration = Duration::from_nanos(40);

/// One thing that happens, as raw numbers that [`honest`] gives a meaning.
#[derive(Clone, Debug)]
enum Step {
    Write { object: Object, pause: u64, takes: u64, present: bool, heard: bool },
    Read { object: Object, pause: u64, takes: u64, token: bool, session: Option<u32>, which: Index },
    Together { object: Object, pause: u64, which: Index },
    Rewind { pause: u64, kept: Vec<Index> },
}

fn step() -> impl Strategy<Value = Step> {
    let write =
        (0..OBJECTS, 0..30_u64, 1..20_u64, prop::bool::weighted(0.8), prop::bool::weighted(0.9)).prop_map(
            |(object, pause, takes, present, heard)| Step::Write { object, pause, takes, present, heard },
        );
    let read = (0..OBJECTS, 0..10_u64, 1..20_u64, any::<bool>(), prop::option::of(0..3_u32), any::<Index>())
        .prop_map(|(object, pause, takes, token, session, which)| Step::Read {
            object,
            pause,
            takes,
            token,
            session,
            which,
        });
    let together = (0..OBJECTS, 0..10_u64, any::<Index>())
        .prop_map(|(object, pause, which)| Step::Together { object, pause, which });
    let rewind = (0..10_u64, prop::collection::vec(any::<Index>(), OBJECTS as usize))
        .prop_map(|(pause, kept)| Step::Rewind { pause, kept });
    prop_oneof![8 => write, 16 => read, 4 => together, 1 => rewind]
}

/// A world in which everybody does what was promised: a plain list of states per object, searched from end to end.
#[derive(Default)]
struct Honest {
    history: History,
    now: u64,
    busy_until: [u64; OBJECTS as usize],
    era: u64,
    seen: std::collections::HashMap<(u32, Object), u64>,
}

impl Honest {
    fn states(&self, object: Object) -> Vec<Write> {
        self.history.writes.iter().filter(|write| write.object == object).copied().collect()
    }

    /// Whether a rewind that began before `by` has taken the state.
    fn is_lost(&self, write: &Write, by: u64) -> bool {
        self.history.rewinds.iter().any(|rewind| {
            rewind.start.0 <= by
                && write.start < rewind.end
                && write.version > rewind.survivors[write.object as usize]
        })
    }

    /// The states that a read may show.
    fn allowed(&self, object: Object, start: u64, end: u64, covers: u64, session: Option<u32>) -> Vec<Write> {
        let states = self.states(object);
        let fresh = start.saturating_sub(BOUND.as_nanos() as u64);
        let alive: Vec<Write> = states.iter().filter(|write| !self.is_lost(write, end)).copied().collect();
        // What was committed before something that was acknowledged is owed too, also where that was taken back.
        let left_of = |last: u64| {
            alive.iter().map(|write| write.version).filter(|version| *version <= last).max().unwrap_or(0)
        };
        let owed = |moment: u64| {
            let acked = states.iter().filter(|write| write.acked.is_some_and(|acked| acked.0 < moment));
            left_of(acked.map(|write| write.version).max().unwrap_or(0))
        };
        let session = session.and_then(|session| self.seen.get(&(session, object))).copied().unwrap_or(0);
        // Who has seen a state that was taken back has seen those before it, too.
        let oldest = owed(fresh).max(owed(covers)).max(left_of(session));
        alive.into_iter().filter(|write| write.version >= oldest && write.start.0 <= end).collect()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { object, pause, takes, present, heard } => {
                self.now += pause;
                let start = self.now.max(self.busy_until[*object as usize]);
                self.busy_until[*object as usize] = start + takes + 1;
                let last = self.states(*object).iter().map(|write| write.version).max().unwrap_or(0);
                let version = last.max(self.era * 1_000) + 1;
                self.history.writes.push(Write {
                    object: *object,
                    version,
                    present: *present,
                    start: Nanos(start),
                    acked: heard.then_some(Nanos(start + takes)),
                });
            }
            Step::Read { object, pause, takes, token, session, which } => {
                self.now += pause;
                let (start, end) = (self.now, self.now + takes);
                let covers = if *token { start.saturating_sub(1) } else { 0 };
                let allowed = self.allowed(*object, start, end, covers, *session);
                let Some(write) = allowed.get(which.index(allowed.len().max(1))) else { return };
                if let Some(session) = session {
                    // An absence is remembered as the oldest that it can have been.
                    let same = allowed.iter().find(|other| !write.present && !other.present).unwrap_or(write);
                    self.seen.insert((*session, *object), same.version);
                }
                let read = Self::read(write, start, end, covers, *session);
                self.history.reads.push(read);
            }
            Step::Together { object, pause, which } => {
                self.now += pause;
                let (start, end) = (self.now, self.now + 3);
                let allowed = self.allowed(*object, start, end, 0, None);
                let Some(write) = allowed.get(which.index(allowed.len().max(1))) else { return };
                let read = Self::read(write, start, end, 0, None);
                let sums = if write.present { vec![(*object, SUM)] } else { Vec::new() };
                self.history.together.push(Together { reads: vec![read, read], sums });
            }
            Step::Rewind { pause, kept } => {
                self.now += pause + 30;
                let start = self.now.max(self.busy_until.iter().copied().max().unwrap_or(0));
                self.now = start + 5;
                let survivors = (0..OBJECTS).map(|object| {
                    let states = self.states(object);
                    let alive: Vec<_> =
                        states.iter().filter(|write| !self.is_lost(write, u64::MAX)).collect();
                    alive[kept[object as usize].index(alive.len())].version
                });
                let survivors = survivors.collect();
                let rewind = Rewind { start: Nanos(start), end: Nanos(self.now), survivors };
                self.history.rewinds.push(rewind);
                self.now += BOUND.as_nanos() as u64;
                self.era += 1;
            }
        }
    }

    fn read(write: &Write, start: u64, end: u64, covers: u64, session: Option<u32>) -> Read {
        Read {
            object: write.object,
            seen: if write.present { Seen::Version(write.version) } else { Seen::Absent },
            start: Nanos(start),
            end: Nanos(end),
            bound: Some(BOUND),
            covers: Nanos(covers),
            session,
            served_by: ServedBy::L1,
            node: 0,
        }
    }
}

fn honest() -> impl Strategy<Value = History> {
    prop::collection::vec(step(), 20..200).prop_map(|steps| {
        let mut world = Honest { now: 100, ..Honest::default() };
        world.history.sum = SUM;
        for object in 0..OBJECTS {
            let acked = Some(Nanos::ZERO);
            world.history.writes.push(Write { object, version: 1, present: true, start: Nanos::ZERO, acked });
        }
        steps.iter().for_each(|step| world.step(step));
        world.history
    })
}

/// A present row of `object` that was acknowledged over for longer than the bound before the end of time, and one that
/// is newer: between them a lie can be told.
fn overwritten(history: &History) -> Option<(Write, Write)> {
    let calm = history.rewinds.is_empty();
    history.writes.iter().filter(|_| calm).find_map(|newer| {
        let older = history.writes.iter().find(|w| w.object == newer.object && w.version < newer.version)?;
        (older.present && newer.present && newer.acked.is_some()).then_some((*older, *newer))
    })
}

fn late(history: &History) -> u64 {
    let writes = history.writes.iter().map(|write| write.start.0.max(write.acked.map_or(0, |acked| acked.0)));
    writes.max().unwrap_or(0) + 1_000
}

proptest! {
    #[test]
    fn an_honest_history_passes(history in honest()) {
        let verdict = judge(&history);
        prop_assert!(verdict.counts.is_empty(), "{:?}\n{history:#?}", verdict.violations.first());
        prop_assert_eq!(verdict.reads as usize, history.reads.len() + 2 * history.together.len());
    }

    /// Whatever is written later changes nothing about what was read before.
    #[test]
    fn part_by_part_the_same_is_found(mut history in honest(), cuts: [Index; 3], lie: bool) {
        if let (true, Some((older, _))) = (lie, overwritten(&history)) {
            let end = late(&history);
            history.reads.push(Honest::read(&older, end, end + 1, 0, None));
        }
        let whole = judge(&history);
        // In the order in which they were written down, as the lab hands them over.
        let count = history.reads.len();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(count + 1)).collect();
        cuts.push(count);
        cuts.sort_unstable();
        let (mut parts, mut from, mut known) = (Judge::new(SUM), 0, Nanos::ZERO);
        for (number, to) in cuts.iter().enumerate() {
            let reads = &history.reads[from..*to];
            let is_last = number + 1 == cuts.len();
            let end = if is_last { Nanos(u64::MAX) } else { reads.iter().map(|read| read.end).fold(known, Nanos::max) };
            let writes: Vec<_> = history.writes.iter().filter(|write| write.start <= end).copied().collect();
            let rewinds: Vec<_> = history.rewinds.iter().filter(|rewind| rewind.start <= end).cloned().collect();
            let is_now = |together: &&Together| together.reads[0].end > known && together.reads[0].end <= end;
            let together: Vec<_> = history.together.iter().filter(is_now).cloned().collect();
            parts.hear(&writes, &rewinds, reads, &together);
            (from, known) = (*to, end);
        }
        let parts = parts.verdict();
        prop_assert_eq!((parts.reads, parts.together, parts.counts), (whole.reads, whole.together, whole.counts));
    }

    #[test]
    fn a_stale_read_is_found(mut history in honest()) {
        let Some((older, _)) = overwritten(&history) else { return Ok(()) };
        let end = late(&history);
        history.reads.push(Honest::read(&older, end, end + 1, 0, None));
        prop_assert_eq!(judge(&history).counts.get(&Promise::P1).copied(), Some(1));
    }

    #[test]
    fn an_ignored_token_is_found(mut history in honest()) {
        let Some((older, newer)) = overwritten(&history) else { return Ok(()) };
        let Some(acked) = newer.acked else { return Ok(()) };
        let lie = Honest::read(&older, acked.0 + 2, acked.0 + 3, acked.0 + 1, None);
        history.reads.push(Read { bound: None, ..lie });
        prop_assert_eq!(judge(&history).counts.get(&Promise::P2).copied(), Some(1));
    }

    #[test]
    fn a_session_that_goes_back_is_found(mut history in honest()) {
        let Some((older, newer)) = overwritten(&history) else { return Ok(()) };
        let end = late(&history);
        for write in [newer, older] {
            let read = Honest::read(&write, end, end + 1, 0, Some(77));
            history.reads.push(Read { bound: None, ..read });
        }
        prop_assert_eq!(judge(&history).counts.get(&Promise::P3).copied(), Some(1));
    }

    #[test]
    fn a_row_told_as_absent_is_found(mut history in honest()) {
        let Some((_, newer)) = overwritten(&history) else { return Ok(()) };
        let newest = history.writes.iter().filter(|w| w.object == newer.object).max_by_key(|w| w.version);
        let Some(newest) = newest.filter(|write| write.present && write.acked.is_some()).copied() else {
            return Ok(());
        };
        let end = late(&history);
        history.reads.push(Read { seen: Seen::Absent, ..Honest::read(&newest, end, end + 1, 0, None) });
        prop_assert_eq!(judge(&history).counts.get(&Promise::P4).copied(), Some(1));
    }

    #[test]
    fn a_write_that_was_taken_back_is_found_when_it_is_shown(mut history in honest()) {
        let Some(rewind) = history.rewinds.first() else { return Ok(()) };
        let lost = history.writes.iter().find(|write| {
            write.start < rewind.start && write.present && write.version > rewind.survivors[write.object as usize]
        });
        let Some(lost) = lost.copied() else { return Ok(()) };
        let end = late(&history).max(rewind.end.0 + 1_000);
        history.reads.push(Honest::read(&lost, end, end + 1, 0, None));
        prop_assert_eq!(judge(&history).counts.get(&Promise::P5).copied(), Some(1));
    }

    #[test]
    fn half_a_transfer_is_found(mut history in honest()) {
        let Some((older, newer)) = overwritten(&history) else { return Ok(()) };
        let at = newer.start.0;
        let mut half = Honest::read(&newer, at, at + 1, 0, None);
        half.bound = None;
        let other = Read { seen: Seen::Version(older.version), ..half };
        history.together.push(Together { reads: vec![half, other], sums: vec![(newer.object, SUM - 7)] });
        prop_assert_eq!(judge(&history).counts.get(&Promise::P8).copied(), Some(2));
    }
}
