//! What a database fails with, sorted by what the caller can do.

/// What the caller can do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The database cannot be reached, or not in time. Nothing was committed; answer 503 and let the client repeat.
    Unavailable,
    /// A lock could not be had in time, or a deadlock or a race was resolved against this transaction. Nothing was committed;
    /// run the whole transaction again.
    Busy,
    /// The connection broke while COMMIT was under way: it may have happened. Look (by the key, by the row) before anything
    /// is repeated.
    Unknown,
    /// A UNIQUE or PRIMARY KEY constraint refused the row.
    Unique,
    /// Another constraint (CHECK, FOREIGN KEY, NOT NULL) refused the row.
    Constraint,
    /// The statement is wrong, or asked of the wrong schema: a mistake in the program, or a migration that has not run.
    Usage,
}

/// The database refused, or could not be asked. Says neither keys nor values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StoreError {
    kind: StoreErrorKind,
    reason: String,
    constraint: Option<String>,
}

impl StoreError {
    /// An error of this kind. `reason` must name no key and no value.
    #[must_use]
    pub fn new(kind: StoreErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), constraint: None }
    }

    /// The same, of a constraint by this name.
    #[must_use]
    pub fn of_constraint(mut self, name: Option<&str>) -> Self {
        self.constraint = name.map(str::to_owned);
        self
    }

    /// What can be done about it.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The constraint that refused: its name on PostgreSQL, `table.column, ...` on SQLite.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    /// Whether the same transaction, run again from its beginning, may succeed, and may be run again without harm.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Busy)
    }
}
