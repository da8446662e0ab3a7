//! A read as `Ledger::check` makes it: five steps, with anything in between.

use crate::{
    db::Commits,
    node::{Broken, Busy, Node, Standing, tags},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    step: u8,
    pub(crate) token: Option<u64>,
    /// What the token promises.
    pub(crate) must: Commits,
    bound: u64,
    epoch: u8,
    confirmed: u64,
    moment: u64,
    applied: u64,
    now: u64,
}

/// What was answered from memory as proven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) saw: Commits,
    pub(crate) schema: u8,
    pub(crate) upper: u64,
    pub(crate) moment: u64,
    pub(crate) settled: bool,
}

pub(crate) enum Progress {
    /// Another step is needed.
    Reading,
    /// The lock is taken.
    Waiting,
    Unproven,
    Proven(Answer),
}

impl Reader {
    pub(crate) fn new(token: Option<u64>, must: Commits, bound: u64) -> Self {
        Self { step: 0, token, must, bound, epoch: 0, confirmed: 0, moment: 0, applied: 0, now: 0 }
    }

    /// All steps at once.
    pub(crate) fn read(mut self, node: &mut Node, now: u64, broken: Option<Broken>) -> Option<Answer> {
        loop {
            match self.step(node, now, broken) {
                Progress::Reading => {}
                Progress::Proven(answer) => return Some(answer),
                Progress::Waiting | Progress::Unproven => return None,
            }
        }
    }

    pub(crate) fn step(&mut self, node: &mut Node, now: u64, broken: Option<Broken>) -> Progress {
        let Some(entry) = &node.entry else { return Progress::Unproven };
        let same_epoch = node.hot.epoch == entry.epoch || broken == Some(Broken::EpochOfEntry);
        match self.step {
            0 => {
                if !same_epoch {
                    return Progress::Unproven;
                }
                (self.epoch, self.now) = (node.hot.epoch, now);
                (self.confirmed, self.moment) = (node.hot.confirmed, node.hot.moment);
            }
            1 => self.applied = node.hot.applied,
            2 => {
                if node.class_epoch != entry.class_epoch {
                    return Progress::Unproven;
                }
                match &entry.standing {
                    Standing::Discarded => return Progress::Unproven,
                    Standing::Settled(proven_at) => {
                        if tags(broken).iter().any(|t| node.hot.last[t.0 as usize] > *proven_at) {
                            return Progress::Unproven;
                        }
                    }
                    Standing::Unsettled { hold, snapshot } => {
                        if matches!(node.busy, Some(Busy::Applying(..) | Busy::Beginning { .. })) {
                            return Progress::Waiting;
                        }
                        if node.book.check_unsettled(&tags(broken), *hold, snapshot).is_err() {
                            return Progress::Unproven;
                        }
                        self.applied = node.book.applied().0;
                    }
                }
            }
            3 => {
                if broken == Some(Broken::AppliedBeforeTags) {
                    self.applied = node.hot.applied;
                }
                if !same_epoch && broken != Some(Broken::EpochCheckedLast) {
                    return Progress::Unproven;
                }
                if let Some(entry) = &mut node.entry
                    && let Standing::Settled(proven_at) = &mut entry.standing
                {
                    let beyond = broken == Some(Broken::RaiseNotBeyondApplied);
                    let raised = if beyond { node.hot.applied } else { self.applied };
                    *proven_at = (*proven_at).max(raised);
                }
            }
            _ => return self.end(node, now, broken),
        }
        self.step += 1;
        Progress::Reading
    }

    fn end(&mut self, node: &Node, now: u64, broken: Option<Broken>) -> Progress {
        let Some(entry) = &node.entry else { return Progress::Unproven };
        if broken == Some(Broken::MomentFirst) {
            self.moment = node.hot.moment;
        }
        let reached = |token: u64| self.applied >= token && self.confirmed >= token;
        if self.token.is_some_and(|token| !reached(token)) && broken != Some(Broken::Token) {
            return Progress::Unproven;
        }
        let now = if broken == Some(Broken::ClockLast) { self.now } else { now };
        if self.moment == 0 || now.saturating_sub(self.moment) > self.bound {
            return Progress::Unproven;
        }
        Progress::Proven(Answer {
            saw: entry.saw,
            schema: entry.schema,
            upper: entry.upper,
            moment: self.moment,
            settled: matches!(entry.standing, Standing::Settled(_)),
        })
    }
}
