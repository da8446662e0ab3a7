//! Putting a catalogue together.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use trueup_core::{
    cache::Cache,
    class::{ClassName, ClassPlan},
    entry::Raw,
    key::{Key, KeyForm},
    proof::{Tag, Tags},
    source::Loader,
};

use super::{
    Catalog, CatalogClass, CatalogError,
    class::{SourceOfAnswers, is_filled},
    uncached::Uncached,
};
use crate::plan::Skipped;

/// One class, ready to be opened.
pub struct CatalogEntry {
    /// The plan.
    pub plan: ClassPlan,
    /// The normal form of the keys.
    pub form: KeyForm,
    /// Loads a value as it is served: a JSON object for a row.
    pub loader: Arc<dyn Loader<Key, Raw>>,
    /// What every value of the class depends on, for invalidating the class as a whole; empty where nothing is known
    /// that all share.
    pub whole: Tags,
}

/// Puts a [`Catalog`] together.
pub struct CatalogBuilder {
    cache: Cache,
    classes: BTreeMap<ClassName, Arc<CatalogClass>>,
    left_out: Vec<Skipped>,
}

impl CatalogBuilder {
    /// An empty catalogue in front of `cache`.
    #[must_use]
    pub const fn new(cache: Cache) -> Self {
        Self { cache, classes: BTreeMap::new(), left_out: Vec::new() }
    }

    /// Tables that have no class, with the reason: told to whoever asks for one.
    #[must_use]
    pub fn left_out(mut self, tables: Vec<Skipped>) -> Self {
        self.left_out = tables;
        self
    }

    /// Adds a class. One whose purpose forbids caching is read from the source each time.
    ///
    /// # Errors
    /// [`CatalogError`] when the engine refuses the class or its name is taken.
    pub fn class(mut self, entry: CatalogEntry) -> Result<Self, CatalogError> {
        let CatalogEntry { plan, form, loader, mut whole } = entry;
        if is_filled(&plan) {
            // Nothing of the database: only its name is there to be raised.
            whole = std::iter::once(Tag::named(plan.name().as_str())).collect();
        }
        let answers = match &plan {
            ClassPlan::Cacheable(cacheable) => SourceOfAnswers::Cached(self.cache.class_by_text(
                cacheable.clone(),
                form.clone(),
                Arc::clone(&loader),
            )?),
            ClassPlan::Decision(decision) => SourceOfAnswers::Uncached(Uncached::new(
                Arc::clone(&loader),
                self.cache.feed().clock().clone(),
                Arc::clone(self.cache.source_guard()),
                decision.hard_timeout,
            )),
        };
        match self.classes.entry(plan.name().clone()) {
            btree_map::Entry::Vacant(place) => {
                place.insert(Arc::new(CatalogClass { plan, form, loader, whole, answers }));
            }
            btree_map::Entry::Occupied(taken) => {
                return Err(CatalogError::Twice { class: taken.key().clone() });
            }
        }
        Ok(self)
    }

    /// The catalogue.
    #[must_use]
    pub fn build(self) -> Catalog {
        Catalog { cache: self.cache, classes: Arc::new(self.classes), left_out: self.left_out.into() }
    }
}
