//! How the filters of the keys there are do, for `explain`, status and health.

use serde::{Deserialize, Serialize};
use trueup::catalog::CatalogClass;
use trueup_core::FilterState;

use super::Node;

/// The filter of the keys there are, of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterFacts {
    /// `waiting`, `building` or `answering`.
    pub state: String,
    /// Whether it can say "surely absent" at the moment.
    pub answers: bool,
    /// The state in one sentence.
    pub what: String,
    /// Rows read so far; while it is being built.
    pub rows_read: Option<u64>,
    /// Rows that the plan declares.
    pub entries_declared: u64,
    /// Different rows in it, those included that are gone since.
    pub entries: Option<u64>,
    /// Bytes of its bits.
    pub bytes: u64,
    /// Reads answered with "surely absent".
    pub rejected: u64,
    /// Reads let through because the row may exist.
    pub passed: u64,
    /// Loads among those that found no row.
    pub passed_absent: u64,
    /// How often it has been built.
    pub builds: u64,
}

impl FilterFacts {
    /// Of `class`; none where it has no filter.
    #[must_use]
    pub fn of(class: &CatalogClass) -> Option<Self> {
        let status = class.cached()?.filter()?;
        let rows_read = match status.state {
            FilterState::Building { rows } => Some(rows),
            FilterState::Waiting(_) | FilterState::Answering => None,
        };
        Some(Self {
            state: status.state.as_str().to_owned(),
            answers: status.answers,
            what: status.sentence(),
            rows_read,
            entries_declared: status.entries_declared,
            entries: status.entries,
            bytes: status.bytes,
            rejected: status.rejected,
            passed: status.passed,
            passed_absent: status.passed_absent,
            builds: status.builds,
        })
    }
}

impl Node {
    /// A line for each class whose filter does not answer yet: it is ready all the same, and asks the source for every
    /// absent key.
    #[must_use]
    pub fn filters_in_the_making(&self) -> String {
        let line = |class: &CatalogClass| {
            let facts = FilterFacts::of(class).filter(|facts| !facts.answers)?;
            Some(format!("class {}: {}\n", class.name(), facts.what))
        };
        self.catalog().classes().filter_map(|class| line(class)).collect()
    }
}
