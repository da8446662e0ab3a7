//! Classes whose values come from a source that Trueup cannot load: its clients load them, and fill them under a lease.

use trueup_core::{
    class::ClassPlan,
    entry::Raw,
    env::BoxFuture,
    key::{ColumnForm, Key, KeyForm},
    source::{LoadError, Loaded, LoadedMany, Loader},
};

use super::{CatalogError, form::key_form};

/// Stands where other classes have a loader, and loads nothing.
#[derive(Clone, Copy, Debug)]
pub struct Outside;

impl Outside {
    /// The answer to who reads and locks a value of the class in a transaction.
    pub(super) fn not_in_the_database() -> LoadError {
        LoadError::Refused(
            "the class is filled by its clients: the database holds no such value to lock".into(),
        )
    }
}

impl Loader<Key, Raw> for Outside {
    fn load<'a>(&'a self, _key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Unfilled) })
    }

    fn load_many<'a>(&'a self, _keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Unfilled) })
    }
}

/// The normal form of the keys: no column tells their types, so they are compared as they are written.
pub(super) fn form_of(plan: &ClassPlan) -> Result<KeyForm, CatalogError> {
    key_form(plan, |_| Some(ColumnForm::Opaque))
}
