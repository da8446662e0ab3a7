//! Compares each read with the states that it may have shown.
//!
//! One look at each operation: a read costs two binary searches in its object's own list, so the whole is linear in the
//! history but for a logarithm of the writes to one object.
//!
//! A long history comes in parts, so that what was read need not be held until the end. A part is judged when everything is
//! known that was written before it ends; nothing that is written later can change what its reads may have shown.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use trueup_core::env::Nanos;

#[cfg(test)]
use super::History;
use super::{Object, Promise, Read, Rewind, Seen, Together, Violation, Write, chain::Chain};

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

/// Judges `history` as a whole.
#[cfg(test)]
pub(crate) fn judge(history: &History) -> Verdict {
    let mut judge = Judge::new(history.sum);
    judge.hear(&history.writes, &history.rewinds, &history.reads, &history.together);
    judge.verdict
}

fn chains(writes: &[Write], rewinds: &[Rewind]) -> HashMap<Object, Chain> {
    let mut of_objects: HashMap<Object, Vec<Write>> = HashMap::new();
    for write in writes {
        of_objects.entry(write.object).or_default().push(*write);
    }
    of_objects.into_iter().map(|(object, writes)| (object, Chain::new(writes, rewinds))).collect()
}

/// Hears a history part by part.
#[derive(Debug)]
pub(crate) struct Judge {
    /// What the amounts of each object's rows always add up to.
    sum: i64,
    chains: HashMap<Object, Chain>,
    /// The version of the last state that each session has seen of each object.
    seen: HashMap<(u32, Object), u64>,
    verdict: Verdict,
}

impl Judge {
    /// A judge of objects whose rows' amounts add up to `sum`.
    pub(crate) fn new(sum: i64) -> Self {
        Self { sum, chains: HashMap::new(), seen: HashMap::new(), verdict: Verdict::default() }
    }

    /// Judges what was read since the last call, in the order of time for each session. `writes` and `rewinds` are all since
    /// the beginning; whatever was begun before the last of these reads ended must be among them.
    pub(crate) fn hear(
        &mut self,
        writes: &[Write],
        rewinds: &[Rewind],
        reads: &[Read],
        together: &[Together],
    ) {
        self.chains = chains(writes, rewinds);
        reads.iter().for_each(|read| self.read(read));
        together.iter().for_each(|together| self.together(together));
    }

    /// What was found in all parts.
    pub(crate) fn verdict(self) -> Verdict {
        self.verdict
    }

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
        let before = before.and_then(|version| chain.index_of(*version));
        let before = before.map_or(0, |index| chain.surviving(index, read.end));
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
        if let (Some(session), Some(state)) = (session, state) {
            self.seen.insert(session, state.version);
        }
        if let Some((promise, index, why)) = complaint {
            let write = self.chains.get(&read.object).and_then(|chain| chain.write(index)).copied();
            self.blame(promise, read, write, why.to_owned());
        }
    }

    /// Rows of one state: each right by itself, those of one object of one version, and amounts that add up.
    fn together(&mut self, together: &Together) {
        let sum = self.sum;
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
