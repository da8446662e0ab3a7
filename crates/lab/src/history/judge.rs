//! Compares each read with the states that it may have shown.
//!
//! One look at each operation: a read costs two binary searches in its object's own list, so the whole is linear in the
//! history but for a logarithm of the writes to one object.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use trueup_core::env::Nanos;

use super::{History, Object, Promise, Read, Seen, Together, Violation, Write, chain::Chain};

/// Most violations that are kept with their evidence; all are counted.
const KEPT_MAX: usize = 10_000;

/// What the judge found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) reads: u64,
    pub(crate) together: u64,
    /// How often each promise was broken.
    pub(crate) counts: BTreeMap<Promise, u64>,
    /// The first of them.
    pub(crate) violations: Vec<Violation>,
}

impl Verdict {
    fn add(&mut self, violation: Violation) {
        *self.counts.entry(violation.promise).or_default() += 1;
        if self.violations.len() < KEPT_MAX {
            self.violations.push(violation);
        }
    }
}

/// Judges `history`.
pub(crate) fn judge(history: &History) -> Verdict {
    let mut judge = Judge { chains: chains(history), seen: HashMap::new(), verdict: Verdict::default() };
    for read in &history.reads {
        judge.read(read);
    }
    for together in &history.together {
        judge.together(together, history.sum);
    }
    judge.verdict
}

fn chains(history: &History) -> HashMap<Object, Chain> {
    let mut writes: HashMap<Object, Vec<Write>> = HashMap::new();
    for write in &history.writes {
        writes.entry(write.object).or_default().push(*write);
    }
    writes.into_iter().map(|(object, writes)| (object, Chain::new(writes, &history.rewinds))).collect()
}

struct Judge {
    chains: HashMap<Object, Chain>,
    /// The last state that each session has seen of each object.
    seen: HashMap<(u32, Object), usize>,
    verdict: Verdict,
}

impl Judge {
    fn read(&mut self, read: &Read) {
        self.verdict.reads += 1;
        let Some(chain) = self.chains.get(&read.object) else {
            let why = "a row of an object that nobody has written".to_owned();
            return self.blame(Promise::P5, read, None, why);
        };
        let fresh = read.bound.map_or(0, |bound| chain.oldest(before(read.start, bound), read.end));
        let own = if read.covers > Nanos::ZERO { chain.oldest(read.covers, read.end) } else { 0 };
        let session = read.session.map(|session| (session, read.object));
        let before = session.and_then(|session| self.seen.get(&session));
        let before = before.map_or(0, |index| chain.surviving(*index, read.end));
        let grace = read.bound.unwrap_or(Duration::MAX);
        let found = match read.seen {
            Seen::Foreign => {
                return self.blame(
                    Promise::P5,
                    read,
                    None,
                    "a row that is none of this key's states".to_owned(),
                );
            }
            Seen::Version(version) => match chain.index_of(version) {
                Some(index) => index,
                None => {
                    let why = format!("version {version} was never written");
                    return self.blame(Promise::P5, read, None, why);
                }
            },
            Seen::Absent => {
                let oldest = fresh.max(own).max(before);
                match chain.absence(oldest, read.start, read.end, grace) {
                    Some(index) => index,
                    None => {
                        let write = chain.write(oldest).copied();
                        let why = "told as absent, and a row is there".to_owned();
                        return self.blame(Promise::P4, read, write, why);
                    }
                }
            }
        };
        let state = chain.write(found).copied();
        let complaint = if state.is_some_and(|write| write.present != matches!(read.seen, Seen::Version(_))) {
            Some((Promise::P5, found, "a row of a version at which there was none"))
        } else if state.is_some_and(|write| write.start > read.end) {
            Some((Promise::P5, found, "a state from the future"))
        } else if chain.is_past(found, read.start, grace) {
            Some((Promise::P5, found, "a state that the database has lost"))
        } else if found < fresh {
            Some((Promise::P1, fresh, "older than its bound allows"))
        } else if found < own {
            Some((Promise::P2, own, "without the write that its token stands for"))
        } else if found < before {
            Some((Promise::P3, before, "older than what the session had seen"))
        } else {
            None
        };
        if let Some(session) = session {
            self.seen.insert(session, found);
        }
        if let Some((promise, index, why)) = complaint {
            let write = self.chains.get(&read.object).and_then(|chain| chain.write(index)).copied();
            self.blame(promise, read, write, why.to_owned());
        }
    }

    /// Rows of one state: each right by itself, those of one object of one version, and amounts that add up.
    fn together(&mut self, together: &Together, sum: i64) {
        self.verdict.together += 1;
        let mut versions: HashMap<Object, Seen> = HashMap::new();
        for read in &together.reads {
            self.read(read);
            let first = *versions.entry(read.object).or_insert(read.seen);
            if first != read.seen {
                let why = format!("rows of one state show versions {first:?} and {:?}", read.seen);
                self.blame(Promise::P8, read, None, why);
            }
        }
        for (object, found) in together.sums.iter().filter(|(_, found)| *found != sum) {
            if let Some(read) = together.reads.iter().find(|read| read.object == *object) {
                let why = format!("amounts of one state add up to {found}, always {sum}");
                self.blame(Promise::P8, read, None, why);
            }
        }
    }

    fn blame(&mut self, promise: Promise, read: &Read, write: Option<Write>, why: String) {
        self.verdict.add(Violation { promise, read: *read, write, why });
    }
}

/// `span` before `time`.
fn before(time: Nanos, span: Duration) -> Nanos {
    let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Nanos(time.0.saturating_sub(span_ns))
}
