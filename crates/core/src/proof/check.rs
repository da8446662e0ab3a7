//! The check that each hit passes, and the named reasons for which it fails.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{Ledger, Position, Proof, RowFilter, Standing, Tag};
use crate::env::{Clock, Nanos};

/// What a reader asks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The answer must reflect every commit acknowledged longer than this before the read.
    pub max_staleness: Duration,
    /// The answer must reflect every commit that ends at or below this.
    pub token: Option<Position>,
}

/// An entry passed the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The applied position at which it was checked.
    pub at: Position,
    /// Every commit acknowledged before this is reflected.
    pub moment: Nanos,
    /// The clock, read after everything else.
    pub now: Nanos,
}

impl Proven {
    /// How old the answer can be at most.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.now.since(self.moment)
    }

    #[inline]
    pub(crate) const fn age_ns(&self) -> u64 {
        self.now.ns_since(self.moment)
    }
}

/// Why an entry cannot be served as proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unproven {
    /// The source's epoch has moved since, or the node is in none.
    #[error("it was proven in an earlier epoch of the source")]
    OtherEpoch,
    /// The relations that the class reads were altered since.
    #[error("the schema its class reads was altered since")]
    OtherCatalogue,
    /// Something it depends on (or something that shares a bucket with it) changed since it was proven.
    #[error("something it depends on changed since it was proven")]
    Changed,
    /// It was loaded lately, and a change that its load did not see has been delivered since.
    #[error("its load did not see a change that has been delivered since")]
    MissedChange,
    /// Its check failed when the feed reached it, or the feed was interrupted before.
    #[error("it failed the check made when the feed reached it")]
    Discarded,
    /// The node does not know recently enough how far the source is.
    #[error("the node last knew the source's position longer ago than the reader allows")]
    TooOld,
    /// The reader's token lies beyond what the node has applied and confirmed.
    #[error("the feed has not reached the reader's token")]
    TokenAhead,
    /// It is the end of its life, or of the hard age that bounds the unknown.
    #[error("its life is over")]
    Expired,
}

impl Unproven {
    /// A short stable name, for metrics and receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherEpoch => "other_epoch",
            Self::OtherCatalogue => "other_catalogue",
            Self::Changed => "changed",
            Self::MissedChange => "missed_change",
            Self::Discarded => "discarded",
            Self::TooOld => "too_old",
            Self::TokenAhead => "token_ahead",
            Self::Expired => "expired",
        }
    }
}

/// Why a row may exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is among those that the table may have.
    MayExist,
    /// The rows that the table may have are not all known, or not recently enough for the reader.
    Unproven,
}

impl Ledger {
    /// Whether there is surely no row with `tag`, by the rows that its table may have: under the rules, and in the order, of
    /// [`Ledger::check`].
    ///
    /// # Errors
    /// [`Doubt`]; nothing is known of the row then.
    pub fn check_absent(
        &self,
        filter: &RowFilter,
        tag: Tag,
        class_epoch: &AtomicU64,
        need: &Need,
        clock: &Clock,
    ) -> Result<Proven, Doubt> {
        let epoch = self.hot.epoch.load(Ordering::Acquire);
        if filter.epoch() != epoch {
            return Err(Doubt::Unproven);
        }
        let confirmed = self.hot.confirmed.load(Ordering::Acquire);
        let moment = Nanos(self.hot.moment.load(Ordering::Acquire));
        let applied = Position(self.hot.applied.load(Ordering::Acquire));
        // After the applied position: whatever it covers, the filter has been told before.
        if class_epoch.load(Ordering::Acquire) != filter.class_epoch() || !filter.answers_at(applied) {
            return Err(Doubt::Unproven);
        }
        if filter.may_hold(tag) {
            return Err(Doubt::MayExist);
        }
        if self.hot.epoch.load(Ordering::Acquire) != epoch {
            return Err(Doubt::Unproven);
        }
        self.check_fresh(need, applied, confirmed, moment, clock).map_err(|_| Doubt::Unproven)
    }

    /// Whether an entry reflects every change that this node has applied, and how fresh that knowledge is.
    ///
    /// The order is the rule: moment first, then the applied position, then the tags, then the clock. A moment taken
    /// later could promise a commit that the check has not looked at; a clock read earlier could hide a pause.
    ///
    /// # Errors
    /// The reason why it is not proven.
    #[inline]
    pub fn check(
        &self,
        proof: &Proof,
        class_epoch: &AtomicU64,
        need: &Need,
        clock: &Clock,
    ) -> Result<Proven, Unproven> {
        let epochs = proof.epochs();
        if self.hot.epoch.load(Ordering::Acquire) != epochs.source {
            return Err(Unproven::OtherEpoch);
        }
        let confirmed = self.hot.confirmed.load(Ordering::Acquire);
        let moment = Nanos(self.hot.moment.load(Ordering::Acquire));
        let mut applied = Position(self.hot.applied.load(Ordering::Acquire));
        if class_epoch.load(Ordering::Acquire) != epochs.class {
            return Err(Unproven::OtherCatalogue);
        }
        match proof.standing() {
            Standing::Settled(proven_at) => {
                // Proven at or after the applied position: every change up to it has been looked at already. On a hot
                // key that is nearly every hit, and it spares a read of memory that is nowhere near.
                if proven_at < applied || proof.lags(moment) {
                    self.catch_up(proof, proven_at, applied, moment)?;
                }
            }
            Standing::Unsettled => applied = self.check_waiting(proof, applied)?,
            Standing::Discarded => return Err(Unproven::Discarded),
        }
        if self.hot.epoch.load(Ordering::Acquire) != epochs.source {
            return Err(Unproven::OtherEpoch);
        }
        self.check_fresh(need, applied, confirmed, moment, clock)
    }

    /// Whether several entries show one state of the database: each settled, none of them able to have seen more than the
    /// applied position, and all unchanged up to it.
    ///
    /// # Errors
    /// The reason why one of them, or all together, are not proven.
    pub fn check_together<'a>(
        &self,
        proofs: impl Iterator<Item = &'a Proof>,
        class_epoch: &AtomicU64,
        need: &Need,
        clock: &Clock,
    ) -> Result<Proven, Unproven> {
        let epoch = self.hot.epoch.load(Ordering::Acquire);
        let confirmed = self.hot.confirmed.load(Ordering::Acquire);
        let moment = Nanos(self.hot.moment.load(Ordering::Acquire));
        let applied = Position(self.hot.applied.load(Ordering::Acquire));
        let class = class_epoch.load(Ordering::Acquire);
        for proof in proofs {
            if proof.epochs() != (super::Epochs { source: epoch, class }) {
                return Err(Unproven::OtherEpoch);
            }
            match proof.standing() {
                Standing::Settled(proven_at) if proof.upper() <= applied => {
                    self.check_tags(proof, proven_at)?
                }
                Standing::Discarded => return Err(Unproven::Discarded),
                _ => return Err(Unproven::MissedChange),
            }
        }
        if self.hot.epoch.load(Ordering::Acquire) != epoch {
            return Err(Unproven::OtherEpoch);
        }
        self.check_fresh(need, applied, confirmed, moment, clock)
    }

    /// The reader's own demands, and the clock after everything else.
    #[inline]
    fn check_fresh(
        &self,
        need: &Need,
        applied: Position,
        confirmed: u64,
        moment: Nanos,
        clock: &Clock,
    ) -> Result<Proven, Unproven> {
        if let Some(token) = need.token
            && (applied < token || confirmed < token.0)
        {
            return Err(Unproven::TokenAhead);
        }
        let now = clock.now();
        if moment == Nanos::ZERO || u128::from(now.ns_since(moment)) > need.max_staleness.as_nanos() {
            return Err(Unproven::TooOld);
        }
        Ok(Proven { at: applied, moment, now })
    }

    /// Proves a settled entry at a later position than it was, and notes that. Apart, so that the rest of a check is short enough
    /// to be compiled into a hit.
    #[inline(never)]
    fn catch_up(
        &self,
        proof: &Proof,
        proven_at: Position,
        applied: Position,
        moment: Nanos,
    ) -> Result<(), Unproven> {
        if proven_at < applied {
            self.check_tags(proof, proven_at)?;
        }
        // The epoch again, before the raise: what was read above may belong to the next one.
        if self.hot.epoch.load(Ordering::Acquire) != proof.epochs().source {
            return Err(Unproven::OtherEpoch);
        }
        proof.raise(proven_at, applied, moment);
        Ok(())
    }

    #[inline]
    fn check_tags(&self, proof: &Proof, proven_at: Position) -> Result<(), Unproven> {
        for &tag in proof.tags() {
            if self.buckets.last(tag) > proven_at {
                return Err(Unproven::Changed);
            }
        }
        Ok(())
    }

    /// Not on the hot path: lasts the few milliseconds until the feed passes the load.
    #[cold]
    fn check_waiting(&self, proof: &Proof, applied: Position) -> Result<Position, Unproven> {
        match self.check_unsettled(proof) {
            Ok(Position::ZERO) => match proof.standing() {
                Standing::Settled(proven_at) => self.check_tags(proof, proven_at).map(|()| applied),
                _ => Err(Unproven::Discarded),
            },
            Ok(checked_at) => Ok(checked_at),
            Err(super::Rejected::MissedChange) => Err(Unproven::MissedChange),
            Err(_) => Err(Unproven::Discarded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Unproven;

    /// Dashboards and scripts read them.
    #[test]
    fn reasons_keep_their_names() {
        let names = [
            (Unproven::OtherEpoch, "other_epoch"),
            (Unproven::OtherCatalogue, "other_catalogue"),
            (Unproven::Changed, "changed"),
            (Unproven::MissedChange, "missed_change"),
            (Unproven::Discarded, "discarded"),
            (Unproven::TooOld, "too_old"),
            (Unproven::TokenAhead, "token_ahead"),
            (Unproven::Expired, "expired"),
        ];
        for (reason, name) in names {
            assert_eq!(reason.as_str(), name);
        }
    }
}
