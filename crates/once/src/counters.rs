//! What is counted, for any exporter.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that is added to, or set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a figure of [`Counters::read`] only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One figure of [`Counters::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The name for a metric.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Its value.
    pub value: u64,
}

macro_rules! counters {
    ($($kind:ident $field:ident $name:literal $help:literal;)+) => {
        /// What has been counted since the process began. What a transaction did is counted when it is done, whether or not it is
        /// committed afterwards: for watching, not for accounts.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $field: Counter,)+
        }

        impl Counters {
            /// All of it, to be exported.
            #[must_use]
            pub fn read(&self) -> Vec<Figure> {
                vec![$(Figure { name: $name, help: $help, kind: Kind::$kind, value: self.$field.get() },)+]
            }
        }
    };
}

counters! {
    Counter claims_granted "once_claims_granted_total" "Keys that were new.";
    Counter claims_taken_over "once_claims_taken_over_total" "Keys taken over from a worker whose lease had ended, by a repeated request.";
    Counter replays "once_replays_total" "Requests that were answered from what was kept.";
    Counter in_flight "once_in_flight_total" "Requests that were told that another one is under way.";
    Counter mismatches "once_mismatches_total" "Requests that used a key for something else.";
    Counter business_ids_known "once_business_ids_known_total" "Requests with a new key for what was begun before.";
    Counter steps "once_steps_total" "Steps from one recovery point to another.";
    Counter finished "once_finished_total" "Keys that were finished.";
    Counter discarded "once_discarded_total" "Steps that came too late and were discarded.";
    Counter completer_taken "once_completer_taken_total" "Keys that the completer took over.";
    Counter completer_postponed "once_completer_postponed_total" "Keys that the completer left for later.";
    Counter completer_failed "once_completer_failed_total" "Attempts of the completer that failed.";
    Counter reviews "once_reviews_total" "Keys that were handed to people.";
    Gauge stuck "once_stuck" "Unfinished keys that are too old, tried too often or handed to people.";
    Counter reaped "once_reaped_total" "Finished keys that were forgotten.";
    Counter outbox_put "once_outbox_put_total" "Messages put into the outbox.";
    Counter outbox_published "once_outbox_published_total" "Messages that were published.";
    Counter outbox_failed "once_outbox_failed_total" "Attempts to publish that failed.";
    Gauge outbox_waiting "once_outbox_waiting" "Messages that wait to be published.";
    Gauge outbox_oldest_ms "once_outbox_oldest_milliseconds" "Age of the oldest message that waits.";
    Counter inbox_first "once_inbox_first_total" "Messages that arrived for the first time.";
    Counter inbox_repeated "once_inbox_repeated_total" "Messages that had arrived before.";
    Counter inbox_outdated "once_inbox_outdated_total" "Messages older than what was known.";
    Counter inbox_early "once_inbox_early_total" "Messages that came before their turn.";
    Counter leases_taken "once_leases_taken_total" "Leases that were had.";
    Counter leases_refused "once_leases_refused_total" "Leases that another holder had.";
    Counter leases_lost "once_leases_lost_total" "Transactions and renewals refused because the lease had ended.";
    Counter job_chunks "once_job_chunks_total" "Chunks of jobs that were committed.";
    Counter job_answers_asked "once_job_answers_asked_total" "Outside answers that were asked for.";
    Counter job_answers_reused "once_job_answers_reused_total" "Outside answers that were known already.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_names_of_their_own() {
        let counters = Counters::default();
        counters.steps.add(2);
        counters.stuck.set(7);
        let figures = counters.read();
        let names: std::collections::HashSet<_> = figures.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), figures.len());
        let value = |name| figures.iter().find(|figure| figure.name == name).unwrap().value;
        assert_eq!((value("once_steps_total"), value("once_stuck")), (2, 7));
        for figure in &figures {
            assert_eq!(figure.name.ends_with("_total"), figure.kind == Kind::Counter, "{}", figure.name);
        }
    }
}
