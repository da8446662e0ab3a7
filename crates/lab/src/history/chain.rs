//! The states of one object in their order, and where in it a moment stands.

use std::time::Duration;

use trueup_core::env::Nanos;

use super::{Rewind, Write};

/// A state, and how long it was one.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) write: Write,
    lost: Option<Lost>,
}

/// How a state was taken back.
#[derive(Clone, Copy, Debug)]
struct Lost {
    start: Nanos,
    end: Nanos,
    /// The last state that was not taken back with it.
    survivor: usize,
}

/// All states of one object, by version.
#[derive(Debug)]
pub(super) struct Chain {
    states: Vec<State>,
    /// Times of acknowledgement, ascending, each with the last state that was acknowledged by then.
    acks: Vec<(Nanos, usize)>,
    /// States without a row.
    absences: Vec<usize>,
}

impl Chain {
    /// The chain of `writes`, which are all of one object; no row is there before the first.
    pub(super) fn new(mut writes: Vec<Write>, rewinds: &[Rewind]) -> Self {
        writes.sort_by_key(|write| write.version);
        let mut states: Vec<State> = writes.into_iter().map(|write| State { write, lost: None }).collect();
        for rewind in rewinds {
            take_back(&mut states, rewind);
        }
        let mut acks: Vec<(Nanos, usize)> = states
            .iter()
            .enumerate()
            .filter_map(|(index, state)| Some((state.write.acked?, index)))
            .collect();
        acks.sort_unstable();
        let mut last = 0;
        for (_, index) in &mut acks {
            last = last.max(*index);
            *index = last;
        }
        let without = |(index, state): (usize, &State)| (!state.write.present).then_some(index);
        let absences = states.iter().enumerate().filter_map(without).collect();
        Self { states, acks, absences }
    }

    pub(super) fn write(&self, index: usize) -> Option<&Write> {
        self.states.get(index).map(|state| &state.write)
    }

    /// The state of `version`.
    pub(super) fn index_of(&self, version: u64) -> Option<usize> {
        self.states.binary_search_by_key(&version, |state| state.write.version).ok()
    }

    /// The oldest state that may still be shown by a read that ends at `end` and must reflect everything acknowledged
    /// before `moment`.
    pub(super) fn oldest(&self, moment: Nanos, end: Nanos) -> usize {
        let acked = self.acks.partition_point(|(time, _)| *time < moment);
        let index = acked.checked_sub(1).and_then(|last| self.acks.get(last)).map_or(0, |(_, index)| *index);
        self.surviving(index, end)
    }

    /// The state itself, or the one that the database went back to, if it began to go back before `end`.
    pub(super) fn surviving(&self, mut index: usize, end: Nanos) -> usize {
        while let Some(lost) = self.states.get(index).and_then(|state| state.lost)
            && lost.start <= end
            && lost.survivor < index
        {
            index = lost.survivor;
        }
        index
    }

    /// Whether the state had been taken back for longer than `grace` when a read began at `start`.
    pub(super) fn is_past(&self, index: usize, start: Nanos, grace: Duration) -> bool {
        let lost = self.states.get(index).and_then(|state| state.lost);
        lost.is_some_and(|lost| lost.end.after(grace) < start)
    }

    /// The first state without a row from `oldest` on that a read from `start` to `end` can have seen.
    pub(super) fn absence(&self, oldest: usize, start: Nanos, end: Nanos, grace: Duration) -> Option<usize> {
        let first = self.absences.partition_point(|index| *index < oldest);
        let mut later = self.absences.iter().skip(first).copied();
        later
            .by_ref()
            .take_while(|index| self.write(*index).is_some_and(|write| write.start <= end))
            .find(|index| !self.is_past(*index, start, grace))
    }
}

/// Marks the states that `rewind` took with it.
fn take_back(states: &mut [State], rewind: &Rewind) {
    let Some(object) = states.first().map(|state| state.write.object) else { return };
    let Some(kept) = rewind.survivors.get(object as usize).copied() else { return };
    let mut survivor = states.partition_point(|state| state.write.version <= kept).saturating_sub(1);
    // Versions are never used twice, so a number may lie beyond states that an earlier rewind took.
    while let Some(lost) = states.get(survivor).and_then(|state| state.lost)
        && lost.survivor < survivor
    {
        survivor = lost.survivor;
    }
    // A state that began after the rewind is of the time after it, whatever its number.
    let later = states.iter_mut().skip(survivor + 1).filter(|state| state.write.start < rewind.end);
    for state in later.filter(|state| state.lost.is_none()) {
        state.lost = Some(Lost { start: rewind.start, end: rewind.end, survivor });
    }
}
