//! Where accepted writes go.

use super::{Batch, JournalId};
use crate::{env::BoxFuture, proof::Token, source::LoadError};

/// Takes accepted writes. Implemented by adapters.
pub trait Sink: Send + Sync + 'static {
    /// Makes room for what the source remembers of journals, where there is none, and tells through which sequence it has the
    /// writes of this one; 0 for none.
    ///
    /// # Errors
    /// [`LoadError`].
    fn prepare<'a>(&'a self, journal: &'a JournalId) -> BoxFuture<'a, Result<u64, LoadError>>;

    /// Applies a batch in one transaction, together with the note that the source now has everything through
    /// [`Batch::through`]. Nothing is applied unless what it has had ends at [`Batch::after`] or before.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is known then of whether the batch was applied, and it is offered again.
    fn apply<'a>(
        &'a self,
        journal: &'a JournalId,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Applied, ApplyError>>;
}

/// A batch is in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// At or after the commit.
    pub token: Token,
    /// Places, in the batch, of the rows that the source has refused for what they hold. They lie in a table of the source, with
    /// the reason.
    pub refused: Vec<usize>,
}

/// A batch is not in the source, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The source does not take it now.
    #[error(transparent)]
    Source(#[from] LoadError),
    /// The source has writes of this journal beyond what it was told, through this sequence.
    #[error("the source has writes of this journal through {0}, which this process has not sent")]
    Moved(u64),
}
