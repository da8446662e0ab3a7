//! Reads with demands of their own.

use std::time::Duration;

use super::{Class, many::let_others_run};
use crate::{
    entry::CacheValue,
    error::ReadError,
    key::{CacheKey, Key, KeyName},
    proof::Token,
    receipt::Cached,
    source::LoadError,
};

/// A read of one key. Made by [`Class::read`].
#[must_use = "a read does nothing until it is run"]
pub struct Read<'a, K, V: CacheValue> {
    pub(super) class: &'a Class<K, V>,
    pub(super) key: &'a K,
    pub(super) token: Option<Token>,
    pub(super) max_staleness: Option<Duration>,
}

impl<K, V: CacheValue> Read<'_, K, V> {
    /// The answer must reflect the write that returned `token`.
    pub const fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The answer must reflect every commit acknowledged longer ago than this. Tightens the class's bound, and never
    /// loosens it.
    pub const fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Some(bound);
        self
    }
}

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> Read<'_, K, V> {
    /// Reads.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn run(self) -> Result<Cached<V>, ReadError> {
        let core = &self.class.core;
        let need = core.need_of(self.token, self.max_staleness);
        if let Some(found) = core.form.with_name(self.key, |name| core.hit(self.key, name, &need))? {
            return Ok(found.answer());
        }
        let canonical = core.form.key(self.key)?;
        match core.hit_or_missed(self.key, &canonical, &need) {
            Ok(found) => Ok(found.answer()),
            Err(missed) => core.miss(self.key, &canonical, &need, missed).await,
        }
    }
}

impl<V: CacheValue> Read<'_, Key, V> {
    /// Reads a key that is in normal form already.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn run(self) -> Result<Cached<V>, ReadError> {
        let core = &self.class.core;
        let need = core.need_of(self.token, self.max_staleness);
        if let Some(found) = core.hit(self.key, KeyName::of(self.key.as_str()), &need) {
            return Ok(found.answer());
        }
        match core.hit_or_missed(self.key, self.key, &need) {
            Ok(found) => Ok(found.answer()),
            Err(missed) => core.miss(self.key, self.key, &need, missed).await,
        }
    }
}

/// A read of several keys. Made by [`Class::read_many`].
#[must_use = "a read does nothing until it is run"]
pub struct ReadMany<'a, K, V: CacheValue> {
    pub(super) class: &'a Class<K, V>,
    pub(super) keys: &'a [K],
    pub(super) token: Option<Token>,
    pub(super) max_staleness: Option<Duration>,
    pub(super) consistent: bool,
}

impl<K, V: CacheValue> ReadMany<'_, K, V> {
    /// The answers must reflect the write that returned `token`.
    pub const fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The answers must reflect every commit acknowledged longer ago than this. Tightens the class's bound, and never
    /// loosens it.
    pub const fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Some(bound);
        self
    }

    /// The answers must show one state of the database: a transfer between two of the keys is never seen half done.
    pub const fn consistent(mut self) -> Self {
        self.consistent = true;
        self
    }
}

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> ReadMany<'_, K, V> {
    /// Reads.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn run(self) -> Result<Vec<Cached<V>>, ReadError> {
        let form = &self.class.core.form;
        let canonical = self.keys.iter().map(|key| form.key(key)).collect::<Result<Vec<_>, _>>()?;
        self.run_under(&canonical).await
    }

    /// Reads keys of a class that its clients fill: `None` where none has.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn run_filled(self) -> Result<Vec<Option<Cached<V>>>, ReadError> {
        let form = &self.class.core.form;
        let canonical = self.keys.iter().map(|key| form.key(key)).collect::<Result<Vec<_>, _>>()?;
        self.filled_under(&canonical).await
    }
}

impl<V: CacheValue> ReadMany<'_, Key, V> {
    /// Reads keys that are in normal form already, of a class that its clients fill: `None` where none has.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn run_filled(self) -> Result<Vec<Option<Cached<V>>>, ReadError> {
        self.filled_under(self.keys).await
    }

    /// Reads keys that are in normal form already.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn run(self) -> Result<Vec<Cached<V>>, ReadError> {
        self.run_under(self.keys).await
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ReadMany<'_, K, V> {
    async fn filled_under(&self, canonical: &[Key]) -> Result<Vec<Option<Cached<V>>>, ReadError> {
        let_others_run(canonical.len()).await;
        let core = &self.class.core;
        let need = core.need_of(self.token, self.max_staleness);
        let filled = |answer| match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(ReadError::Load(LoadError::Unfilled)) => Ok(None),
            Err(error) => Err(error),
        };
        let answers = core.each(self.keys, canonical, &need).await;
        core.lay_over_each(canonical, answers).into_iter().map(filled).collect()
    }

    async fn run_under(&self, canonical: &[Key]) -> Result<Vec<Cached<V>>, ReadError> {
        let_others_run(canonical.len()).await;
        let core = &self.class.core;
        let need = core.need_of(self.token, self.max_staleness);
        if self.consistent {
            core.one_state(self.keys, canonical, &need).await
        } else {
            let answers = core.each(self.keys, canonical, &need).await;
            core.lay_over_each(canonical, answers).into_iter().collect()
        }
    }
}
