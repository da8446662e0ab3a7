//! The proof that an entry carries.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Position, Tags};
use crate::env::Nanos;

/// `proven_at` of an entry that is not settled yet.
const UNSETTLED: u64 = 0;
/// `proven_at` of an entry that failed its check: it can never be proven again.
const DISCARDED: u64 = u64::MAX;

/// The proof that travels with an entry: what it depends on, and when it was last known to be true.
///
/// In this order: what each hit reads comes first.
#[derive(Debug)]
#[repr(C)]
pub struct Proof {
    proven_at: AtomicU64,
    epoch: u64,
    class_epoch: u64,
    proven_moment: AtomicU64,
    tags: Tags,
    upper: Position,
    number: u64,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The feed has not reached what the load may have seen.
    Unsettled,
    /// Proven at this position.
    Settled(Position),
    /// Failed its check.
    Discarded,
}

impl Proof {
    /// A proof that waits to be settled, under `number` of the ledger.
    pub(super) fn unsettled(
        tags: Tags,
        upper: Position,
        epochs: Epochs,
        number: u64,
        started: Nanos,
    ) -> Self {
        Self {
            proven_at: AtomicU64::new(UNSETTLED),
            proven_moment: AtomicU64::new(started.0),
            tags,
            upper,
            epoch: epochs.source,
            class_epoch: epochs.class,
            number,
        }
    }

    /// No proof: of a value that the source never told, which can never be proven.
    pub(crate) fn none() -> Self {
        let no_epoch = Epochs { source: 0, class: 0 };
        let proof = Self::unsettled(Tags::new(), Position::ZERO, no_epoch, 0, Nanos::ZERO);
        proof.discard();
        proof
    }

    /// A proof settled at `proven_at`, elsewhere or before.
    pub(super) fn settled(
        tags: Tags,
        upper: Position,
        epochs: Epochs,
        proven_at: Position,
        moment: Nanos,
    ) -> Self {
        let proof = Self::unsettled(tags, upper, epochs, 0, moment);
        proof.proven_at.store(proven_at.0, Ordering::Release);
        proof
    }

    /// The proof of an absence that was shown at `at`, which is all that it reflects.
    pub(crate) fn absent(tags: Tags, epochs: Epochs, at: Position, moment: Nanos) -> Self {
        Self::settled(tags, at, epochs, at, moment)
    }

    /// Where the entry stands.
    #[inline]
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.proven_at.load(Ordering::Acquire) {
            UNSETTLED => Standing::Unsettled,
            DISCARDED => Standing::Discarded,
            position => Standing::Settled(Position(position)),
        }
    }

    /// What the entry depends on.
    #[inline]
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// A position read after the load: an upper bound of what it can have seen.
    #[must_use]
    pub const fn upper(&self) -> Position {
        self.upper
    }

    /// The epoch numbers (of this process) under which the entry was loaded.
    #[inline]
    #[must_use]
    pub const fn epochs(&self) -> Epochs {
        Epochs { source: self.epoch, class: self.class_epoch }
    }

    /// A moment, at most 50 ms too early, at which the entry was known to be true.
    #[must_use]
    pub fn proven_moment(&self) -> Nanos {
        Nanos(self.proven_moment.load(Ordering::Relaxed))
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether a check at `moment` is to be noted: whether the moment it was last proven at is that much earlier.
    #[inline]
    pub(super) fn lags(&self, moment: Nanos) -> bool {
        self.proven_moment.load(Ordering::Relaxed).saturating_add(MOMENT_RESOLUTION_NS) < moment.0
    }

    /// Notes that the check passed at `applied`: never lowers, never revives.
    #[inline]
    pub(super) fn raise(&self, from: Position, applied: Position, moment: Nanos) {
        if from < applied {
            self.proven_at.fetch_max(applied.0, Ordering::AcqRel);
        }
        if self.lags(moment) {
            self.proven_moment.fetch_max(moment.0, Ordering::Relaxed);
        }
    }

    /// The source has shown the same content at `at`.
    pub(crate) fn seen_true(&self, at: Nanos) {
        self.proven_moment.fetch_max(at.0, Ordering::Relaxed);
    }

    pub(super) fn settle(&self, applied: Position) {
        // Only from unsettled: a discarded entry stays discarded.
        let _ = self.proven_at.compare_exchange(UNSETTLED, applied.0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ends the proof for good.
    pub(crate) fn discard(&self) {
        self.proven_at.store(DISCARDED, Ordering::Release);
    }
}

/// How coarsely [`Proof::proven_moment`] is kept, so that a hot entry's cache line is not written on each hit.
pub(super) const MOMENT_RESOLUTION_NS: u64 = 50_000_000;

/// Numbers, counted by this process, of the source's epoch and of the class's catalogue digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epochs {
    /// Of the source.
    pub source: u64,
    /// Of the relations that the class reads.
    pub class: u64,
}

impl Epochs {
    /// The number of the source's epoch where that is none that this process has been in.
    pub(super) const ELSEWHERE: u64 = u64::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof::unsettled(Tags::new(), Position(5), Epochs { source: 1, class: 1 }, 7, Nanos(1))
    }

    #[test]
    fn raising_never_lowers_and_never_revives() {
        let proof = proof();
        proof.settle(Position(10));
        proof.raise(Position(10), Position(20), Nanos(1));
        proof.raise(Position(10), Position(15), Nanos(1));
        assert_eq!(proof.standing(), Standing::Settled(Position(20)));
        proof.discard();
        proof.raise(Position(10), Position(30), Nanos(1));
        proof.settle(Position(30));
        assert_eq!(proof.standing(), Standing::Discarded);
    }

    #[test]
    fn settling_twice_keeps_the_first() {
        let proof = proof();
        assert_eq!(proof.standing(), Standing::Unsettled);
        proof.settle(Position(10));
        proof.settle(Position(11));
        assert_eq!(proof.standing(), Standing::Settled(Position(10)));
    }
}
