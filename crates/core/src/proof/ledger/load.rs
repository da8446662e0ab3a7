//! A load in flight, and the judgement of what it brings.

use std::sync::{Arc, atomic::Ordering};

use super::{Carrier, Ledger, Pending, Seen, State, Waiting};
use crate::{
    env::Nanos,
    limits,
    proof::{Epochs, Hold, Position, Proof, Rejected, Snapshot, Tags},
};

enum Judged {
    Settled,
    Waits { hold: Hold, number: u64 },
}

/// A load in flight. Holds the changes it may have missed until it is admitted or dropped.
pub struct Load {
    pub(super) ledger: Arc<Ledger>,
    pub(super) hold: Result<Hold, Rejected>,
    pub(super) epochs: Epochs,
    pub(super) started: Nanos,
    pub(super) applied: Position,
}

impl Load {
    /// When the load started, on this node's clock: its value is true as of then.
    #[must_use]
    pub const fn started(&self) -> Nanos {
        self.started
    }

    /// What had been told when the load started: the position through which the feed was applied.
    #[must_use]
    pub const fn applied(&self) -> Position {
        self.applied
    }

    /// The number of the class's catalogue when the load started.
    #[must_use]
    pub const fn class_epoch(&self) -> u64 {
        self.epochs.class
    }

    /// Why the value cannot be kept, if that is known already.
    #[must_use]
    pub fn refused(&self) -> Option<Rejected> {
        self.hold.err()
    }

    /// Judges what was loaded and builds its carrier from the proof. If the feed still has to catch up, the carrier
    /// waits to be settled; if it is settled at once it hears so through [`Carrier::settled`].
    ///
    /// The second result says why the value must not be kept: its proof is discarded then. It may still be answered to
    /// the load's own caller: a value read on the primary is true as of the load's start.
    pub fn admit<C: Carrier + 'static>(
        mut self,
        tags: Tags,
        seen: Seen,
        build: impl FnOnce(Proof) -> Arc<C>,
    ) -> (Arc<C>, Result<(), Rejected>) {
        let ledger = Arc::clone(&self.ledger);
        // A standby was behind: when its value was last true, only the check can tell.
        let true_at = if matches!(seen.snapshot, Snapshot::Replayed(_)) { Nanos::ZERO } else { self.started };
        let mut state = ledger.state.lock();
        match self.judge(&mut state, &tags, &seen) {
            Ok(Judged::Settled) => {
                let applied = state.book.applied();
                let carrier = build(Proof::settled(tags, seen.upper, self.epochs, applied, true_at));
                drop(state);
                Arc::clone(&carrier).settled();
                (carrier, Ok(()))
            }
            Ok(Judged::Waits { hold, number }) => {
                let carrier = build(Proof::unsettled(tags, seen.upper, self.epochs, number, true_at));
                let pending = Pending { hold, saw: seen.snapshot };
                let waiting = Waiting { carrier: Arc::clone(&carrier) as Arc<dyn Carrier>, pending };
                state.unsettled.insert((seen.upper, number), waiting);
                // From here on the waiting entry holds the floor.
                self.hold = Err(Rejected::NoFloor);
                (carrier, Ok(()))
            }
            Err(why) => {
                // What another epoch holds has no place in this one, not even in a session's token.
                let elsewhere = ledger.epoch() != Some(seen.epoch);
                drop(state);
                let mut epochs = self.epochs;
                if elsewhere {
                    epochs.source = Epochs::ELSEWHERE;
                }
                let proof = Proof::unsettled(tags, seen.upper, epochs, 0, true_at);
                proof.discard();
                (build(proof), Err(why))
            }
        }
    }

    fn judge(&self, state: &mut State, tags: &Tags, seen: &Seen) -> Result<Judged, Rejected> {
        let hold = self.judge_epoch(seen)?;
        if let Snapshot::Replayed(through) = seen.snapshot
            && through < hold.floor
            && self.ledger.last_change(tags) > through
        {
            // Between what the standby had replayed and the floor, changes are no longer held one by one.
            return Err(Rejected::MissedChange);
        }
        state.book.heard(seen.upper);
        if seen.upper <= state.book.applied() {
            state.book.check_settle(tags, hold, seen.upper, &seen.snapshot)?;
            return Ok(Judged::Settled);
        }
        state.book.check_unsettled(tags, hold, &seen.snapshot)?;
        if state.unsettled.len() >= limits::UNSETTLED_ENTRIES_MAX {
            return Err(Rejected::TooMany);
        }
        let number = state.next_number;
        state.next_number += 1;
        Ok(Judged::Waits { hold, number })
    }

    fn judge_epoch(&self, seen: &Seen) -> Result<Hold, Rejected> {
        let hold = self.hold?;
        if self.ledger.epoch() != Some(seen.epoch) {
            return Err(Rejected::OtherEpoch);
        }
        if self.epochs.source != self.ledger.hot.epoch.load(Ordering::Acquire) {
            return Err(Rejected::Interrupted);
        }
        Ok(hold)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Ok(hold) = self.hold {
            self.ledger.state.lock().book.let_go(hold);
        }
    }
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("hold", &self.hold).finish_non_exhaustive()
    }
}
