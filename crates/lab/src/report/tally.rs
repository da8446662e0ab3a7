//! What readers were answered, counted part by part so that the reads themselves need not be kept.

use trueup_core::env::Nanos;

use super::{Reads, timeline::Timeline};
use crate::{
    history::Seen,
    load::{Aged, Log},
};

/// The counts of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(super) reads: Reads,
    pub(super) timeline: Timeline,
    pub(super) aged: Vec<Aged>,
}

impl Tally {
    pub(crate) fn new(origin: Nanos) -> Self {
        Self { reads: Reads::default(), timeline: Timeline::new(origin), aged: Vec::new() }
    }

    /// Counts what was written down since the last call.
    pub(crate) fn add(&mut self, log: &Log) {
        let reads = &mut self.reads;
        reads.together += log.together.len() as u64;
        for read in log.reads.iter().chain(log.together.iter().flat_map(|together| &together.reads)) {
            reads.answered += 1;
            *reads.served_by.entry(read.served_by).or_default() += 1;
            reads.with_token += u64::from(read.covers > Nanos::ZERO);
            reads.of_sessions += u64::from(read.session.is_some());
            reads.absent += u64::from(read.seen == Seen::Absent);
            self.timeline.answered(read);
        }
        for failure in &log.failures {
            reads.failed += u64::from(failure.reads);
            self.timeline.failed(failure);
        }
        self.aged.extend_from_slice(&log.aged);
    }
}
