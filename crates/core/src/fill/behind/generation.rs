//! Writes on their way to the source: all changes of one key as one, cut where a transaction is large enough.

use std::collections::HashMap;

use super::record::Record;
use crate::{change::RowChange, env::Nanos};

/// Keys after which the next write begins another transaction.
pub(super) const KEYS_MAX: usize = 1_000;

/// What one transaction brings to the source.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The journal holds nothing older that the source does not have.
    pub after: u64,
    /// The last sequence in it.
    pub through: u64,
    /// One change for each key, in the order in which the keys came up.
    pub changes: Vec<Change>,
    /// How many writes these are.
    pub(super) writes: u64,
    /// When the first of them was accepted.
    pub(super) since: Nanos,
}

/// All that was written to one row.
#[derive(Clone, Debug)]
pub struct Change {
    /// The class.
    pub class: String,
    /// The key in normal form.
    pub key: String,
    /// What is done to the row.
    pub change: RowChange,
    /// The last sequence of it.
    pub sequence: u64,
}

/// A batch that writes are still added to.
#[derive(Debug)]
pub(super) struct Generation {
    batch: Batch,
    places: HashMap<(String, String), usize>,
}

impl Generation {
    pub(super) fn new(sequence: u64, now: Nanos) -> Self {
        let batch = Batch {
            after: sequence.saturating_sub(1),
            through: sequence,
            changes: Vec::new(),
            writes: 0,
            since: now,
        };
        Self { batch, places: HashMap::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.changes.len() >= KEYS_MAX
    }

    pub(super) fn add(&mut self, sequence: u64, record: Record) {
        let batch = &mut self.batch;
        (batch.through, batch.writes) = (sequence, batch.writes + 1);
        let Record { class, key, change } = record;
        match self.places.get(&(class.clone(), key.clone())).and_then(|place| batch.changes.get_mut(*place)) {
            Some(held) => {
                let before = std::mem::replace(&mut held.change, RowChange::Delete);
                (held.change, held.sequence) = (before.then(change), sequence);
            }
            None => {
                self.places.insert((class.clone(), key.clone()), batch.changes.len());
                batch.changes.push(Change { class, key, change, sequence });
            }
        }
    }

    pub(super) const fn writes(&self) -> u64 {
        self.batch.writes
    }

    pub(super) const fn since(&self) -> Nanos {
        self.batch.since
    }

    /// What is to be applied, after everything through `after`.
    pub(super) fn seal(self, after: u64) -> Batch {
        Batch { after, ..self.batch }
    }
}
