//! The classes of one source that are read by keys written as text: what a server serves.
//!
//! A [`Catalog`] holds, under their names, classes that are cached and classes that must never be: a decision class is
//! read from the source each time. Which of the two a class is, its [`CatalogClass::source_of_answers`] says; there is no
//! way from one to the other.

mod answer;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod behind;
mod builder;
mod class;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod common;
mod error;
mod form;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod outside;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod uncached;

use std::{collections::BTreeMap, sync::Arc};

use trueup_core::{
    cache::Cache,
    class::ClassName,
    proof::{Tags, Token},
    source::LoadError,
};

pub use self::{
    answer::{Answer, Demand},
    builder::{CatalogBuilder, CatalogEntry},
    class::{CatalogClass, SourceOfAnswers},
    error::{CatalogError, UnknownClass},
    form::key_form,
    uncached::{Uncached, UncachedCounts},
};

use crate::plan::Skipped;

/// Classes by name, in front of one source.
#[derive(Clone)]
pub struct Catalog {
    cache: Cache,
    classes: Arc<BTreeMap<ClassName, Arc<CatalogClass>>>,
    left_out: Arc<[Skipped]>,
}

impl Catalog {
    /// The cache behind all classes.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The class called `name`; allocates nothing.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<CatalogClass>> {
        self.classes.get(name)
    }

    /// The class called `name`.
    ///
    /// # Errors
    /// [`UnknownClass`], with the nearest name; where a table of that name was left out, with the reason.
    pub fn class(&self, name: &str) -> Result<&Arc<CatalogClass>, UnknownClass> {
        self.get(name).ok_or_else(|| {
            let known = self.classes.keys().map(ClassName::as_str);
            UnknownClass::new(name, known).explained(name, &self.left_out)
        })
    }

    /// All classes, by name.
    pub fn classes(&self) -> impl ExactSizeIterator<Item = &Arc<CatalogClass>> {
        self.classes.values()
    }

    /// Invalidates `tags` on every node, by way of the source.
    ///
    /// # Errors
    /// [`LoadError`] when the source does not take it; nothing was invalidated then.
    pub async fn invalidate(&self, tags: &Tags) -> Result<Token, LoadError> {
        self.cache.invalidate(tags).await
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("classes", &self.classes.keys()).finish_non_exhaustive()
    }
}
