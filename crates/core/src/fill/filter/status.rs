//! How a class's filter is, for people and metrics.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::FilterStart;

/// What a class's filter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterState {
    /// Nothing yet, or it waits: for what.
    Waiting(Arc<str>),
    /// The rows are being read: how many so far. Absences go to the source meanwhile, unless an older filter answers.
    Building {
        /// Rows read so far.
        rows: u64,
    },
    /// It answers.
    Answering,
}

impl FilterState {
    /// The name in metrics and JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Building { .. } => "building",
            Self::Answering => "answering",
        }
    }
}

/// How a class's filter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterStatus {
    /// What it does.
    pub state: FilterState,
    /// Whether it can say "surely absent" at the moment.
    pub answers: bool,
    /// Rows that the plan declares.
    pub entries_declared: u64,
    /// Different tags in it; none while there is no filter.
    pub entries: Option<u64>,
    /// Bytes of its bits; zero while there is no filter.
    pub bytes: u64,
    /// Reads that it answered with "surely absent".
    pub rejected: u64,
    /// Reads that it let through because the row may exist.
    pub passed: u64,
    /// Loads among those that found no row.
    pub passed_absent: u64,
    /// How often it has been built.
    pub builds: u64,
    /// How it began, where one could have been saved, as soon as that is known.
    pub start: Option<FilterStart>,
}

impl FilterStatus {
    /// In one sentence, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.state {
            FilterState::Waiting(why) => format!("its filter is not built: {why}"),
            FilterState::Building { rows } => {
                format!("its filter is being built: {rows} of about {} rows read", self.entries_declared)
            }
            FilterState::Answering => "its filter answers for rows that do not exist".to_owned(),
        }
    }
}

/// Counters, and the state as the keeper notes it.
#[derive(Debug)]
pub(super) struct Notes {
    state: Mutex<FilterState>,
    pub(super) rejected: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) passed_absent: AtomicU64,
    pub(super) builds: AtomicU64,
    start: OnceLock<FilterStart>,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(FilterState::Waiting("the feed has not caught up yet".into())),
            rejected: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            passed_absent: AtomicU64::new(0),
            builds: AtomicU64::new(0),
            start: OnceLock::new(),
        }
    }

    pub(super) fn start(&self) -> Option<FilterStart> {
        self.start.get().copied()
    }

    pub(super) fn started(&self, how: FilterStart) {
        self.start.get_or_init(|| how);
    }

    pub(super) fn state(&self) -> FilterState {
        self.state.lock().clone()
    }

    pub(super) fn set(&self, state: FilterState) {
        *self.state.lock() = state;
    }

    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
