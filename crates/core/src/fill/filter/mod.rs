//! The keys there are, by class: what is surely absent is answered without asking anybody.
//!
//! A class with a filter has a keeper, which reads all keys of its table in the background, and again when the filter can no
//! longer be relied on, or lets too much through. Until the filter is complete, and whenever it is not proven, it lets
//! everything through.

mod budget;
mod build;
mod keeper;
mod status;
mod store;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

use self::status::Notes;
pub use self::{
    budget::FILTER_BYTES_MAX_DEFAULT,
    status::{FilterState, FilterStatus},
    store::FilterStart,
};
pub(crate) use self::{
    budget::{FilterBudget, Share},
    keeper::KeeperParts,
    store::{FilterStore, Saved},
};
use crate::{
    class::Bloom,
    env::Clock,
    proof::{Doubt, Ledger, Need, Proven, RowFilter, Tag},
    source::KeySet,
};

/// The filter of a class, if one is complete, and what is counted.
pub(crate) struct Absence<K> {
    plan: Bloom,
    current: ArcSwapOption<Built<K>>,
    notes: Notes,
}

/// A filter, and the shape of the table whose rows are in it.
struct Built<K> {
    filter: Arc<RowFilter>,
    /// Makes the tags of keys as those of the rows were made, even if the table has another shape by now.
    keys: Arc<dyn KeySet<K>>,
    /// Counters when it was complete, for the share of what it lets through in vain.
    since: Counts,
    /// The memory that it takes beside the class's own share, while there are two.
    _share: Option<Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rejected: u64,
    passed_absent: u64,
}

/// A key that surely has no row.
pub(crate) struct Absent {
    pub(crate) proven: Proven,
    pub(crate) row: Tag,
    pub(crate) wide: Tag,
    /// The numbers of the epochs under which that is proven.
    pub(crate) epoch: u64,
    pub(crate) class_epoch: u64,
}

impl<K> Absence<K> {
    pub(crate) fn new(plan: Bloom) -> Arc<Self> {
        Arc::new(Self { plan, current: ArcSwapOption::empty(), notes: Notes::new() })
    }

    /// Whether `key` surely has no row, by the reader's demands; none where that is not certain.
    pub(crate) fn look(
        &self,
        key: &K,
        ledger: &Ledger,
        class_epoch: &AtomicU64,
        need: &Need,
        clock: &Clock,
    ) -> Option<Absent> {
        match self.judge(key, ledger, class_epoch, need, clock)? {
            Ok(absent) => {
                Notes::add(&self.notes.rejected);
                Some(absent)
            }
            Err(doubt) => {
                if doubt == Doubt::MayExist {
                    Notes::add(&self.notes.passed);
                }
                None
            }
        }
    }

    /// As [`Absence::look`], counted nowhere; none while there is no filter, or for a key that names no row by itself.
    pub(crate) fn judge(
        &self,
        key: &K,
        ledger: &Ledger,
        class_epoch: &AtomicU64,
        need: &Need,
        clock: &Clock,
    ) -> Option<Result<Absent, Doubt>> {
        let built = self.current.load();
        let built = built.as_ref()?;
        let row = built.keys.tag(key)?;
        let epoch = built.filter.epoch();
        let judged = ledger.check_absent(&built.filter, row, class_epoch, need, clock);
        let (wide, class_epoch) = (built.filter.table().wide, built.filter.class_epoch());
        Some(judged.map(|proven| Absent { proven, row, wide, epoch, class_epoch }))
    }

    /// The source had no row for a key, although the filter, if it answers, has let it through.
    pub(crate) fn found_absent(&self, ledger: &Ledger, class_epoch: &AtomicU64) {
        if self.answers(ledger, class_epoch) {
            Notes::add(&self.notes.passed_absent);
        }
    }

    /// Whether it can say "surely absent" at the moment, apart from what readers demand.
    fn answers(&self, ledger: &Ledger, class_epoch: &AtomicU64) -> bool {
        let built = self.current.load();
        built.as_ref().is_some_and(|built| {
            built.filter.epoch() == ledger.epoch_number()
                && built.filter.class_epoch() == class_epoch.load(Ordering::Acquire)
                && built.filter.answers_at(ledger.applied())
        })
    }

    pub(crate) fn status(&self, ledger: &Ledger, class_epoch: &AtomicU64) -> FilterStatus {
        let built = self.current.load();
        let filter = built.as_ref().map(|built| &built.filter);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FilterStatus {
            state: self.notes.state(),
            answers: self.answers(ledger, class_epoch),
            entries_declared: self.plan.entries.get(),
            entries: filter.map(|filter| filter.entries()),
            bytes: filter.map_or(0, |filter| filter.bytes() as u64),
            rejected: read(&self.notes.rejected),
            passed: read(&self.notes.passed),
            passed_absent: read(&self.notes.passed_absent),
            builds: read(&self.notes.builds),
            start: self.notes.start(),
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            rejected: self.notes.rejected.load(Ordering::Relaxed),
            passed_absent: self.notes.passed_absent.load(Ordering::Relaxed),
        }
    }
}
