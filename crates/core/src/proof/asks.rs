//! Moments: what the node knows about "every commit acknowledged before T is applied here".

use std::collections::VecDeque;

use super::Position;
use crate::env::Nanos;

/// Asks that wait for the feed to reach the position they were told.
///
/// While the feed stalls, asks beyond the bound replace the newest waiting one: that costs resolution, not truth.
const ASKS_WAITING_MAX: usize = 64;

/// The node asked the source, at `at` on the node's own clock, how far it is; the answer was `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The clock read BEFORE the question was sent.
    pub at: Nanos,
    /// Every commit acknowledged before the question was sent ends at or below this.
    pub position: Position,
    /// [`Ledger::discards`](super::Ledger::discards), read BEFORE the question was sent. If it has moved when the
    /// answer is there, so may have the source's incarnation, and with it the meaning of a snapshot's ids.
    pub discards: u64,
}

/// What the asks have proven so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// T: every commit acknowledged before this is at or below the applied position.
    pub moment: Nanos,
    /// The highest position that an answered and reached ask has told: tokens up to here may be honoured.
    pub confirmed: Position,
}

/// Bookkeeping of asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asks {
    waiting: VecDeque<Ask>,
    known: Known,
    told: Position,
}

impl Asks {
    /// Takes the answer to an ask. Answers may arrive out of order.
    pub fn answered(&mut self, ask: Ask) {
        self.told = self.told.max(ask.position);
        if self.waiting.len() >= ASKS_WAITING_MAX {
            self.waiting.pop_back();
        }
        self.waiting.push_back(ask);
    }

    /// The feed has been applied through `applied`: settles the asks that waited for it.
    pub fn reached(&mut self, applied: Position) -> Known {
        let known = &mut self.known;
        self.waiting.retain(|ask| {
            let reached = ask.position <= applied;
            if reached {
                known.moment = known.moment.max(ask.at);
                known.confirmed = known.confirmed.max(ask.position);
            }
            !reached
        });
        *known
    }

    /// Raises what the source is known to hold, from any other answer that tells a position.
    pub fn heard(&mut self, position: Position) {
        self.told = self.told.max(position);
    }

    /// The highest position the source has told: a proof or a token beyond it is not of this source.
    #[must_use]
    pub const fn told(&self) -> Position {
        self.told
    }

    /// What has been proven so far.
    #[must_use]
    pub const fn known(&self) -> Known {
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(at: u64, position: u64) -> Ask {
        Ask { at: Nanos(at), position: Position(position), discards: 0 }
    }

    #[test]
    fn a_moment_counts_only_once_the_feed_has_reached_its_position() {
        let mut asks = Asks::default();
        asks.answered(ask(10, 100));
        asks.answered(ask(20, 200));
        assert_eq!(asks.reached(Position(99)), Known::default());
        assert_eq!(asks.reached(Position(150)), Known { moment: Nanos(10), confirmed: Position(100) });
        assert_eq!(asks.reached(Position(200)), Known { moment: Nanos(20), confirmed: Position(200) });
        assert_eq!(asks.told(), Position(200));
    }

    #[test]
    fn late_answers_never_take_the_moment_back() {
        let mut asks = Asks::default();
        asks.answered(ask(20, 100));
        asks.reached(Position(100));
        asks.answered(ask(10, 90));
        assert_eq!(asks.reached(Position(100)).moment, Nanos(20));
    }

    #[test]
    fn a_stalled_feed_does_not_grow_the_list() {
        let mut asks = Asks::default();
        for i in 0..10_000 {
            asks.answered(ask(i, 100 + i));
        }
        assert_eq!(asks.waiting.len(), ASKS_WAITING_MAX);
        assert_eq!(asks.reached(Position(20_000)).moment, Nanos(9_999));
    }
}
