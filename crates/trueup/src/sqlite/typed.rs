//! Loaders written in Rust.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rusqlite::Connection;
use trueup_core::{
    env::BoxFuture,
    source::{LoadError, Loaded, LoadedMany, Loader},
};

use super::{
    handle::Sqlite,
    load::{Fault, LoadNow, dispatch, only},
    watched::{Narrow, Watched},
};

/// A closure that loads one value in the read transaction that it is given.
type Load<K, V> = dyn Fn(&Connection, &K) -> rusqlite::Result<Option<V>> + Send + Sync;
/// A closure that says which rows of a table a key's value depends on.
type NarrowBy<K> = dyn Fn(&K) -> Narrow + Send + Sync;

/// Loads values by a closure. What it depends on is not asked: SQLite tells which tables each statement reads as it is
/// compiled, and a value carries the `any` tag of each of them.
///
/// The list only grows: a table that one branch of the closure reads counts for every key once that branch has run.
pub struct FnLoader<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    watched: Watched,
    limit: Duration,
    load: Box<Load<K, V>>,
    narrow: Vec<(String, Box<NarrowBy<K>>)>,
}

/// Sets up an [`FnLoader`].
pub struct FnLoaderBuilder<K, V> {
    sqlite: Sqlite,
    limit: Duration,
    age_bounded: bool,
    load: Box<Load<K, V>>,
    narrow: Vec<(String, Box<NarrowBy<K>>)>,
}

impl Sqlite {
    /// A loader that runs `load` in a read transaction, interrupted after `limit`. Several keys are loaded in one
    /// transaction. The closure can only read: a statement that does more fails.
    pub fn loader<K, V>(
        &self,
        limit: Duration,
        load: impl Fn(&Connection, &K) -> rusqlite::Result<Option<V>> + Send + Sync + 'static,
    ) -> FnLoaderBuilder<K, V> {
        let (sqlite, load) = (self.clone(), Box::new(load));
        FnLoaderBuilder { sqlite, limit, age_bounded: false, load, narrow: Vec::new() }
    }
}

impl<K, V> FnLoaderBuilder<K, V> {
    /// The value depends on these rows of `table` alone, not on all of them. This is taken on trust: a value that depends on
    /// other rows of the table as well would be served stale.
    #[must_use]
    pub fn narrow(
        mut self,
        table: impl Into<String>,
        rows: impl Fn(&K) -> Narrow + Send + Sync + 'static,
    ) -> Self {
        self.narrow.push((table.into(), Box::new(rows)));
        self
    }

    /// The answer may change without a change of the tables (it calls `date('now')`, say). The class must be bounded by age.
    #[must_use]
    pub const fn age_bounded(mut self) -> Self {
        self.age_bounded = true;
        self
    }

    /// The loader.
    #[must_use]
    pub fn build(self) -> FnLoader<K, V> {
        let watched = Watched::new(&self.sqlite, self.age_bounded, None);
        FnLoader {
            inner: Arc::new(Inner { watched, limit: self.limit, load: self.load, narrow: self.narrow }),
        }
    }
}

impl<K: Send + Sync + 'static, V: Send + 'static> LoadNow<K, V> for Inner<K, V> {
    fn load_now(&self, keys: &[K]) -> Result<LoadedMany<V>, LoadError> {
        let (values, seen, found) = self.watched.read(self.limit, |conn| {
            keys.iter().map(|key| Ok((self.load)(conn, key)?)).collect::<Result<Vec<_>, Fault>>()
        })?;
        let tags = |key: &K| {
            let narrow: BTreeMap<_, _> =
                self.narrow.iter().map(|(table, rows)| (table.clone(), rows(key))).collect();
            found.tags(&narrow)
        };
        let tags = keys.iter().map(tags).collect::<Result<Vec<_>, _>>()?;
        Ok(LoadedMany { values: values.into_iter().zip(tags).collect(), seen })
    }
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static> Loader<K, V> for FnLoader<K, V> {
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Loaded<V>, LoadError>> {
        let mode = self.inner.watched.sqlite().options().load_mode;
        let many = dispatch(mode, &self.inner, std::slice::from_ref(key));
        Box::pin(async move { only(many.await?) })
    }

    fn load_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Result<LoadedMany<V>, LoadError>> {
        dispatch(self.inner.watched.sqlite().options().load_mode, &self.inner, keys)
    }
}

impl<K, V> FnLoader<K, V> {
    /// Runs the closure on the connection of a transaction.
    pub(super) fn read_on(&self, conn: &Connection, key: &K) -> Result<Option<V>, LoadError> {
        let shared = &self.inner.watched.sqlite().shared;
        (self.inner.load)(conn, key).map_err(|error| shared.load_error(error.into(), self.inner.limit))
    }
}

impl<K, V> std::fmt::Debug for FnLoader<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FnLoader").finish_non_exhaustive()
    }
}
