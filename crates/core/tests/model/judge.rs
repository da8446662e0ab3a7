//! What is wrong with an answer, judged by one who knows everything; and what has been seen to happen.

use crate::{
    db::{Commits, WIDE},
    read::Answer,
    world::{State, World},
};

/// Something that must have happened somewhere, lest a model hold because it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Witness {
    ServedSettled,
    ServedUnsettled,
    ServedAbsent,
    ServedWithToken,
    RefusedToken,
    RefusedTooOld,
    SettledLater,
    MissedChange,
    ChangedSince,
    Interrupted,
    NoFloor,
    OtherEpoch,
    Gap,
    OldMessage,
    OtherEpochMessage,
    Overflow,
    Adopted,
    ServedAdopted,
    ServedInLaterEpoch,
    BarrierPassed,
    ClassEpochMoved,
    SessionRead,
    JoinedBeforeQuery,
    JoinedAndChecked,
    JoinedInVain,
    HungWriter,
    XidAboveXmax,
}

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// P1, P4.
    MissesAcknowledged,
    /// P2.
    MissesOwnWrite,
    /// P3.
    GoesBack,
    /// P5, P6.
    ShowsLost,
    /// P5.
    OtherSchema,
}

impl World {
    /// What is wrong with an answer given now, if anything.
    pub(crate) fn judge(&self, s: &State, answer: &Answer, must: Commits) -> Option<Wrong> {
        let relevant = s.db.commits.iter().enumerate().filter(|(_, c)| c.row == 0 || c.row == WIDE);
        let relevant: Commits = relevant.fold(0, |set, (id, _)| set | 1 << id);
        let surviving = relevant & !s.db.lost_before(u64::MAX);
        let by_now = s.now.saturating_sub(self.max_staleness);
        let owed = s.db.acknowledged_before(answer.moment) | s.db.acknowledged_before(by_now);
        let altered_before = s.db.catalogue.1 < answer.moment && s.db.catalogue.0 > 1;
        if owed & surviving & !answer.saw != 0 {
            Some(Wrong::MissesAcknowledged)
        } else if must & surviving & !answer.saw != 0 {
            Some(Wrong::MissesOwnWrite)
        } else if !self.forgives_lost && answer.saw & relevant & s.db.lost_before(answer.moment) != 0 {
            Some(Wrong::ShowsLost)
        } else if altered_before && answer.schema < s.db.catalogue.0 {
            Some(Wrong::OtherSchema)
        } else {
            None
        }
    }

    /// Every read that could be made in this state, all steps at once.
    pub(crate) fn judge_reads(&self, s: &State) -> Option<Wrong> {
        let mut probe = s.clone();
        for n in 0..s.nodes.len() {
            // What a client may demand that has just written: everything acknowledged.
            let own = s.db.acknowledged_before(u64::MAX);
            let session = self.budget.session > 0 && s.session.0 != 0;
            // A token of another epoch goes to the source.
            let same_epoch = s.nodes[n].source_epoch == s.db.epoch;
            let reads = [
                (None, 0),
                if same_epoch { (Some(s.db.insert), own) } else { (None, 0) },
                if session { (Some(s.session.1), s.session.0) } else { (None, 0) },
            ];
            for (i, (token, must)) in reads.into_iter().enumerate() {
                let Some(answer) = self.read(&mut probe, n, token, must) else {
                    self.witness_refusal(s, n, token);
                    continue;
                };
                self.witness_answer(s, &answer, token.is_some());
                match self.judge(s, &answer, must) {
                    Some(Wrong::MissesOwnWrite) if i == 2 => return Some(Wrong::GoesBack),
                    Some(wrong) => return Some(wrong),
                    None => {}
                }
            }
        }
        None
    }

    pub(crate) fn witness_answer(&self, s: &State, answer: &Answer, token: bool) {
        let settled = if answer.settled { Witness::ServedSettled } else { Witness::ServedUnsettled };
        self.witness(settled);
        let facts = [
            (s.db.is_absent(answer.saw), Witness::ServedAbsent),
            (token, Witness::ServedWithToken),
            (s.shared.is_some(), Witness::ServedAdopted),
            (s.nodes[0].hot.epoch > 1, Witness::ServedInLaterEpoch),
        ];
        facts.into_iter().filter(|(fact, _)| *fact).for_each(|(_, witness)| self.witness(witness));
    }

    pub(crate) fn witness_refusal(&self, s: &State, n: usize, token: Option<u64>) {
        if s.nodes[n].hot.moment != 0 && s.nodes[n].entry.is_some() {
            self.witness(if token.is_some() { Witness::RefusedToken } else { Witness::RefusedTooOld });
        }
    }
}
