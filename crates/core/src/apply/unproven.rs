//! How long a node could not prove its answers.

use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Nanos;

/// The time in which a node was in no epoch, or last knew how far the source was longer ago than its classes allow.
///
/// It is counted whenever what the node knows moves, and when somebody asks: exact, without a timer, also for a process
/// that stood still.
#[derive(Debug, Default)]
pub struct UnprovenTime(Mutex<Account>);

#[derive(Debug, Default)]
struct Account {
    /// The smallest bound of a class; none before a class is opened.
    bound: Option<Duration>,
    /// Counted through here.
    through: Option<Nanos>,
    /// What the node has known since: every commit acknowledged before it is applied. Zero where it knows nothing.
    moment: Nanos,
    total: Duration,
}

impl UnprovenTime {
    /// A class with this bound is served.
    pub(crate) fn serve(&self, bound: Duration) {
        let mut account = self.0.lock();
        account.bound = Some(account.bound.map_or(bound, |other| other.min(bound)));
    }

    /// From `now` on the node knows that much.
    pub(super) fn moved(&self, now: Nanos, moment: Nanos) {
        let mut account = self.0.lock();
        account.count(now);
        account.moment = moment;
    }

    /// All of it, until `now`.
    pub(crate) fn total(&self, now: Nanos) -> Duration {
        let mut account = self.0.lock();
        account.count(now);
        account.total
    }
}

impl Account {
    fn count(&mut self, now: Nanos) {
        let through = self.through.unwrap_or(now);
        let from = match (self.moment, self.bound) {
            (Nanos::ZERO, _) => through,
            // Nothing is served yet that could be too old.
            (_, None) => now,
            (moment, Some(bound)) => through.max(moment.after(bound)),
        };
        self.total += now.since(from);
        self.through = Some(through.max(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Nanos {
        Nanos((1_000 + ms) * 1_000_000)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_older_than_the_bound_is_unproven_until_something_newer_is_known() {
        let time = UnprovenTime::default();
        time.serve(ms(1_000));
        time.serve(ms(500));
        time.moved(at(0), Nanos::ZERO);
        assert_eq!(time.total(at(100)), ms(100), "it knows nothing yet");
        time.moved(at(100), at(90));
        assert_eq!(time.total(at(590)), ms(100), "within the bound");
        assert_eq!(time.total(at(700)), ms(210));
        time.moved(at(800), at(795));
        assert_eq!(time.total(at(1_295)), ms(310));
        time.moved(at(1_300), Nanos::ZERO);
        assert_eq!(time.total(at(1_400)), ms(415), "no epoch");
    }

    #[test]
    fn a_node_that_serves_nothing_is_not_late() {
        let time = UnprovenTime::default();
        time.moved(at(0), at(0));
        assert_eq!(time.total(at(10_000)), Duration::ZERO);
    }
}
