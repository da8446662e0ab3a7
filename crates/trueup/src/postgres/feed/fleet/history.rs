//! Which commits a node has applied last, and whether a log that is told again is the log that it had: pure.
//!
//! Files that are put back from an older copy make a server that has lost the end of its log and writes another one in its
//! place. Once that has grown past where the lost one ended, positions alone tell no difference; the commits do. Compared
//! are end, id and commit time of each transaction that raised something: what else differs has changed no entry.

use std::collections::VecDeque;

use trueup_core::{
    entry::EpochId,
    proof::{Message, Position, Xid},
};

/// How many commits are remembered. One that is met again vouches for all before it.
pub(super) const COMMITS_MAX: usize = 1024;

/// A commit, as no other history has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    end: Position,
    xid: Xid,
    committed_at_us: u64,
}

/// The commits of one epoch that were applied last.
#[derive(Debug, Default)]
pub(super) struct History {
    epoch: Option<EpochId>,
    /// All commits that end after this, and at or before `until`, are held.
    since: Position,
    /// Through where messages were noted.
    until: Position,
    commits: VecDeque<Commit>,
}

/// What a log that is told from some position on has to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing: it was told from behind everything that was applied.
    None,
    /// What was applied, again.
    Replay(Replay),
    /// It cannot be shown: too little is known.
    Impossible,
}

impl History {
    /// The node begins at `start`, and knows nothing of what ended before.
    pub(super) fn begin(&mut self, epoch: EpochId, start: Position) {
        *self = Self { epoch: Some(epoch), since: start, until: start, commits: VecDeque::new() };
    }

    /// A message was applied, now or before.
    pub(super) fn note(&mut self, message: &Message, committed_at_us: &[u64]) {
        if self.epoch != Some(message.epoch) || message.previous > self.until {
            self.begin(message.epoch, message.previous);
        }
        let until = self.until;
        self.commits.extend(commits(message, committed_at_us).filter(|commit| commit.end > until));
        self.until = until.max(message.end);
        while self.commits.len() > COMMITS_MAX {
            self.since = self.commits.pop_front().map_or(self.since, |oldest| oldest.end);
        }
    }

    /// What has to be shown by a log that is told from `confirmed` on, before anything in it continues what was applied
    /// through `applied` in `epoch`.
    ///
    /// A slot is confirmed to what its server had told: its log is the same up to there, whatever copy it comes from.
    pub(super) fn proof(&self, epoch: EpochId, applied: Position, confirmed: Position) -> Proof {
        if self.epoch != Some(epoch) || self.until != applied {
            return Proof::Impossible;
        }
        if applied <= confirmed {
            return Proof::None;
        }
        let from = self.since.max(confirmed);
        let expected: VecDeque<_> = self.commits.iter().copied().filter(|commit| commit.end > from).collect();
        if expected.is_empty() && confirmed < self.since {
            // What ended before the node began may have been lost.
            return Proof::Impossible;
        }
        Proof::Replay(Replay { from, until: applied, expected })
    }
}

/// Whether the log that is told again is the one that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgres::feed) enum Verdict {
    /// Nothing speaks against it so far; what was applied has not been met again as a whole.
    Pending,
    /// It is.
    Same,
    /// It is not.
    Other,
}

/// A log that is told again, compared with what was applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replay {
    from: Position,
    until: Position,
    expected: VecDeque<Commit>,
}

impl Replay {
    /// Compares the next message of the log.
    pub(super) fn take(&mut self, message: &Message, committed_at_us: &[u64]) -> Verdict {
        for commit in commits(message, committed_at_us) {
            // One that ends beyond is new, wherever it begins.
            let is_old = commit.end > self.from && commit.end <= self.until;
            if is_old && self.expected.pop_front() != Some(commit) {
                return Verdict::Other;
            }
        }
        match self.expected.front() {
            Some(missed) if missed.end <= message.end => Verdict::Other,
            None if message.end >= self.until => Verdict::Same,
            _ => Verdict::Pending,
        }
    }
}

/// The message's commits. Tags that were raised outside of a transaction have none: where they stand is no property of the
/// log.
fn commits(message: &Message, committed_at_us: &[u64]) -> impl Iterator<Item = Commit> {
    let timed = message.transactions.iter().zip(committed_at_us);
    timed.filter(|(transaction, _)| transaction.xid > Xid(0)).map(|(transaction, &committed_at_us)| Commit {
        end: transaction.end,
        xid: transaction.xid,
        committed_at_us,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trueup_core::proof::{Tag, Transaction};

    use super::*;

    const EPOCH: EpochId = EpochId::from_bytes([3; 16]);

    /// A log: commits by (end, id, time), and where it ends.
    type Log = Vec<(u64, u64, u64)>;

    /// What a connection tells of the log after `from` and through `until`, in messages that end at the given places too.
    fn told(log: &Log, from: u64, until: u64, cuts: &[u64]) -> Vec<(Message, Vec<u64>)> {
        let mut ends: Vec<u64> = cuts.iter().copied().filter(|end| *end > from && *end < until).collect();
        ends.push(until);
        ends.sort_unstable();
        ends.dedup();
        let mut previous = from;
        let mut messages = Vec::new();
        for end in ends {
            let within: Vec<_> = log.iter().filter(|c| c.0 > previous && c.0 <= end).collect();
            let transactions = within
                .iter()
                .map(|c| Transaction { xid: Xid(c.1), end: Position(c.0), tags: vec![Tag(1)] })
                .collect();
            let (connection, previous_end) = (1, Position(previous));
            let message = Message {
                epoch: EPOCH,
                connection,
                previous: previous_end,
                end: Position(end),
                transactions,
            };
            messages.push((message, within.iter().map(|c| c.2).collect()));
            previous = end;
        }
        messages
    }

    fn applied(log: &Log, start: u64, until: u64, cuts: &[u64]) -> History {
        let mut history = History::default();
        history.begin(EPOCH, Position(start));
        if until > start {
            for (message, times) in told(log, start, until, cuts) {
                history.note(&message, &times);
            }
        }
        history
    }

    fn verdict(mut replay: Replay, messages: &[(Message, Vec<u64>)]) -> Verdict {
        for (message, times) in messages {
            let verdict = replay.take(message, times);
            if verdict != Verdict::Pending {
                return verdict;
            }
        }
        Verdict::Pending
    }

    fn log(steps: &[(u64, bool)], mut end: u64, xid: u64, time: u64) -> Log {
        let mut log = Vec::new();
        for (i, (step, raises)) in steps.iter().enumerate() {
            end += step;
            if *raises {
                log.push((end, xid + i as u64, time + i as u64));
            }
        }
        log
    }

    proptest! {
        /// The promise: a log that is told again is taken for the same exactly if no commit that was applied is missing in
        /// it and none stands between them that was not, wherever it was copied, confirmed and cut into messages.
        #[test]
        fn another_history_is_told_by_its_commits_at_every_cut(
            common in proptest::collection::vec((1_u64..5, any::<bool>()), 1..12),
            lost in proptest::collection::vec((1_u64..5, any::<bool>()), 0..12),
            instead in proptest::collection::vec((1_u64..5, any::<bool>()), 0..12),
            start in 0_u64..20, beyond in 1_u64..30, confirmed in 0_u64..40,
            cuts in proptest::collection::vec(0_u64..120, 0..10),
            again in proptest::collection::vec(0_u64..120, 0..10),
            seen in 0_u64..60,
        ) {
            let parted = 10 + common.iter().map(|step| step.0).sum::<u64>();
            let mut before = log(&common, 10, 1, 1);
            let mut after = before.clone();
            before.extend(log(&lost, parted, 100, 100));
            // The same ids and maybe the same ends again, later.
            after.extend(log(&instead, parted, 100, 1000));
            let until = start.max(10) + seen;
            let start = start.max(10).min(until);
            // A slot is never confirmed beyond its own copy.
            let confirmed = (10 + confirmed).min(parted);
            let history = applied(&before, start, until, &cuts);
            let within = |log: &Log, from: u64| -> Log {
                log.iter().copied().filter(|c| c.0 > from && c.0 <= until).collect()
            };
            let is_same = within(&before, 10) == within(&after, 10);
            let end = until + beyond;
            match history.proof(EPOCH, Position(until), Position(confirmed)) {
                Proof::None => prop_assert!(until <= confirmed && is_same),
                Proof::Impossible => prop_assert!(start > confirmed && within(&before, start).is_empty()),
                Proof::Replay(replay) => {
                    let messages = told(&after, confirmed, end, &again);
                    let expected = if is_same { Verdict::Same } else { Verdict::Other };
                    prop_assert_eq!(verdict(replay, &messages), expected);
                }
            }
        }

        /// Nothing is decided before everything that was applied has been met.
        #[test]
        fn a_part_of_the_same_history_is_not_enough(
            steps in proptest::collection::vec((1_u64..5, any::<bool>()), 2..20), short in 1_u64..40, cuts in proptest::collection::vec(0_u64..80, 0..8),
        ) {
            let log = log(&steps, 10, 1, 1);
            let until = 10 + steps.iter().map(|step| step.0).sum::<u64>();
            let history = applied(&log, 10, until, &[]);
            let Proof::Replay(replay) = history.proof(EPOCH, Position(until), Position(10)) else {
                return Err(TestCaseError::fail("there is something to show"));
            };
            let partly = until.saturating_sub(short).max(11);
            let expected = if partly >= until { Verdict::Same } else { Verdict::Pending };
            prop_assert_eq!(verdict(replay, &told(&log, 10, partly, &cuts)), expected);
        }
    }

    #[test]
    fn one_remembered_commit_vouches_for_those_that_were_forgotten() {
        let long: Log = (0..3 * COMMITS_MAX as u64).map(|i| (20 + 2 * i, i + 1, i)).collect();
        let until = long.last().unwrap().0;
        let history = applied(&long, 10, until, &[]);
        assert_eq!(history.commits.len(), COMMITS_MAX);
        let replay = |history: &History| match history.proof(EPOCH, Position(until), Position(12)) {
            Proof::Replay(replay) => replay,
            other => panic!("{other:?}"),
        };
        assert_eq!(verdict(replay(&history), &told(&long, 12, until + 9, &[])), Verdict::Same);
        let mut other = long.clone();
        other.last_mut().unwrap().2 += 1;
        assert_eq!(verdict(replay(&history), &told(&other, 12, until + 9, &[])), Verdict::Other);
    }

    #[test]
    fn an_unknown_past_shows_nothing() {
        let history = applied(&vec![(20, 1, 1)], 10, 30, &[]);
        let proof = |epoch, applied, confirmed| history.proof(epoch, Position(applied), Position(confirmed));
        assert_eq!(proof(EpochId::from_bytes([4; 16]), 30, 12), Proof::Impossible);
        assert_eq!(proof(EPOCH, 31, 12), Proof::Impossible, "something was applied that was not noted");
        assert_eq!(proof(EPOCH, 30, 30), Proof::None);
        let begun = applied(&Vec::new(), 25, 25, &[]);
        assert_eq!(begun.proof(EPOCH, Position(25), Position(12)), Proof::Impossible);
    }

    #[test]
    fn tags_raised_outside_of_transactions_are_no_commits() {
        let told = |end| {
            let transactions = vec![Transaction { xid: Xid(0), end: Position(end), tags: vec![Tag(1)] }];
            Message { epoch: EPOCH, connection: 1, previous: Position(10), end: Position(end), transactions }
        };
        let mut history = History::default();
        history.begin(EPOCH, Position(10));
        history.note(&told(30), &[0]);
        let Proof::Replay(mut replay) = history.proof(EPOCH, Position(30), Position(10)) else { panic!() };
        assert_eq!(replay.take(&told(25), &[0]), Verdict::Pending);
        assert_eq!(replay.take(&told(35), &[0]), Verdict::Same);
    }
}
