//! `[write_behind]`: the journal of accepted writes.

use std::{path::PathBuf, time::Duration};

use trueup_core::{
    behind::{BehindConfig, FLUSH_EVERY_DEFAULT, JOURNAL_BYTES_MAX_DEFAULT},
    class::{ClassPlan, Origin, Pattern},
};

use super::section::Section;

/// Smallest journal that is of use, in bytes.
const JOURNAL_BYTES_MIN: usize = 1 << 20;

/// Where writes are kept until the database has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBehindSettings {
    /// The folder of the journal; each process needs one of its own.
    pub journal: PathBuf,
    /// The most that it may take, in bytes.
    pub journal_bytes_max: usize,
    /// How long a write may wait for others of the same row before it goes to the database.
    pub flush_every: Duration,
}

impl WriteBehindSettings {
    /// The journal in that folder, with the defaults of the section.
    #[must_use]
    pub fn new(journal: impl Into<PathBuf>) -> Self {
        Self {
            journal: journal.into(),
            journal_bytes_max: JOURNAL_BYTES_MAX_DEFAULT,
            flush_every: FLUSH_EVERY_DEFAULT,
        }
    }

    pub(super) fn read(section: Section<'_>) -> Option<Self> {
        let journal = section.text("journal").filter(|path| !path.is_empty()).map(PathBuf::from);
        if section.is_present() && section.place_of("journal").is_none() {
            let fix = "write `journal = \"/var/lib/trueup/journal\"`, a folder that no other process uses";
            section.conflict("journal", "accepted writes need a folder to be kept in", fix);
        }
        let journal_bytes_max = section.bytes("journal_bytes_max").unwrap_or(JOURNAL_BYTES_MAX_DEFAULT);
        if journal_bytes_max < JOURNAL_BYTES_MIN {
            section.conflict("journal_bytes_max", "a journal has 1 MiB at least", "write \"64MiB\"");
        }
        let flush_every = section.duration("flush_every").unwrap_or(FLUSH_EVERY_DEFAULT);
        section.finish("key");
        Some(Self { journal: journal?, journal_bytes_max, flush_every })
    }

    /// The same for the engine.
    #[must_use]
    pub fn config(&self) -> BehindConfig {
        BehindConfig {
            bytes_max: self.journal_bytes_max,
            flush_every: self.flush_every,
            ..BehindConfig::new(&self.journal)
        }
    }
}

/// Whether the class is a table whose rows are written behind.
pub(crate) fn is_written_behind(plan: &ClassPlan) -> bool {
    let behind = plan.cacheable().is_ok_and(|plan| matches!(plan.pattern, Pattern::WriteBehind { .. }));
    behind && matches!(plan.origin(), Origin::Table(_))
}
