//! One class of a catalogue.

use std::sync::Arc;

use trueup_core::{
    LeaseId,
    class::{ClassName, ClassPlan, Pattern},
    entry::Raw,
    error::{FillError, PutError, ReadError},
    key::{Key, KeyForm},
    proof::{Tags, Token},
    read::{Class, Leased, tags_of_filled},
    receipt::Cached,
    source::{LoadError, Loader},
    write::{RowChange, Written},
};

use super::{
    answer::{Answer, Demand},
    uncached::Uncached,
};

/// Where a class's answers come from.
pub enum SourceOfAnswers {
    /// Tiers, where they are proven, else the source.
    Cached(Class<Key, Raw>),
    /// The source, each time.
    Uncached(Uncached),
}

/// One class, read by keys written as text.
pub struct CatalogClass {
    pub(super) plan: ClassPlan,
    pub(super) form: KeyForm,
    pub(super) loader: Arc<dyn Loader<Key, Raw>>,
    /// Raising these ends every entry of the class.
    pub(super) whole: Tags,
    pub(super) answers: SourceOfAnswers,
}

impl CatalogClass {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &ClassName {
        self.plan.name()
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &ClassPlan {
        &self.plan
    }

    /// The normal form of the keys.
    #[must_use]
    pub const fn form(&self) -> &KeyForm {
        &self.form
    }

    /// Where answers come from.
    #[must_use]
    pub const fn source_of_answers(&self) -> &SourceOfAnswers {
        &self.answers
    }

    /// The class in memory, unless it must never be held there.
    #[must_use]
    pub const fn cached(&self) -> Option<&Class<Key, Raw>> {
        match &self.answers {
            SourceOfAnswers::Cached(class) => Some(class),
            SourceOfAnswers::Uncached(_) => None,
        }
    }

    /// The answer that memory has, if it has one that fulfils `demand`. Allocates nothing, waits for nothing.
    #[inline]
    #[must_use]
    pub fn peek(&self, key: &Key, demand: Demand) -> Option<Cached<Raw>> {
        self.cached()?.peek_canonical(key, demand.token, demand.max_staleness)
    }

    /// Reads one key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, key: &Key, demand: Demand) -> Result<Answer, ReadError> {
        let class = match &self.answers {
            SourceOfAnswers::Cached(class) => class,
            SourceOfAnswers::Uncached(uncached) => return Ok(uncached.read(key).await?),
        };
        let mut read = class.read_canonical(key);
        if let Some(token) = demand.token {
            read = read.token(token);
        }
        if let Some(bound) = demand.max_staleness {
            read = read.max_staleness(bound);
        }
        Ok(read.run().await?.into())
    }

    /// Reads several keys; `consistent` demands that the answers show one state of the database.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn read_many(
        &self,
        keys: &[Key],
        demand: Demand,
        consistent: bool,
    ) -> Result<Vec<Answer>, ReadError> {
        let class = match &self.answers {
            SourceOfAnswers::Cached(class) => class,
            SourceOfAnswers::Uncached(uncached) => return Ok(uncached.read_many(keys).await?),
        };
        let mut read = class.read_many_canonical(keys);
        if let Some(token) = demand.token {
            read = read.token(token);
        }
        if let Some(bound) = demand.max_staleness {
            read = read.max_staleness(bound);
        }
        if consistent {
            read = read.consistent();
        }
        Ok(read.run().await?.into_iter().map(Answer::from).collect())
    }

    /// Whether its clients fill it, under leases.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        is_filled(&self.plan)
    }

    /// Reads several keys, as [`CatalogClass::read_many`] does; `None` where the class's clients have not filled one.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn read_filled(&self, keys: &[Key], demand: Demand) -> Result<Vec<Option<Answer>>, ReadError> {
        let Some(class) = self.cached().filter(|_| self.is_filled()) else {
            return Ok(self.read_many(keys, demand, false).await?.into_iter().map(Some).collect());
        };
        let mut read = class.read_many_canonical(keys);
        if let Some(token) = demand.token {
            read = read.token(token);
        }
        if let Some(bound) = demand.max_staleness {
            read = read.max_staleness(bound);
        }
        Ok(read.run_filled().await?.into_iter().map(|answer| answer.map(Answer::from)).collect())
    }

    /// The value under `key`, or the right to fill it.
    ///
    /// # Errors
    /// [`ReadError`]; [`LoadError::Refused`] for a class that is not filled by its clients.
    pub async fn lease(&self, key: &Key) -> Result<Leased<Raw>, ReadError> {
        match self.cached() {
            Some(class) => class.lease_canonical(key).await,
            None => Err(LoadError::Refused("the class is never cached, so nobody may fill it".into()).into()),
        }
    }

    /// Fills `key` with what the holder of `lease` has loaded; `None`: there is no such thing.
    ///
    /// # Errors
    /// [`FillError`]; nothing was kept then.
    pub fn fill(&self, key: &Key, lease: LeaseId, value: Option<Raw>) -> Result<(), FillError> {
        match self.cached().filter(|_| self.is_filled()) {
            Some(class) => class.fill_canonical(key, lease, value).map(drop),
            // No lease of it was ever given.
            None => Err(FillError::LeaseLost),
        }
    }

    /// Writes a row through the cache or behind it, by the class's pattern.
    ///
    /// # Errors
    /// [`PutError`]; of a class that nobody writes here, what to do instead.
    pub async fn write(&self, key: &Key, change: RowChange) -> Result<Written, PutError> {
        match self.cached() {
            Some(class) => class.write_canonical(key, change).await,
            None => Err(PutError::NotWritten { class: self.name().clone(), pattern: "never cached" }),
        }
    }

    /// The token of a session that has seen `answer`: with it the session never goes back in time.
    #[must_use]
    pub fn seen_token(&self, answer: &Answer) -> Option<Token> {
        match answer {
            Answer::Cached(cached) => self.cached()?.seen_token(cached),
            Answer::Direct(direct) => Some(direct.seen),
        }
    }

    /// What the value under `key` depends on, the narrowest first: asked of the source, because no entry need exist here
    /// for one to exist on another node.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn tags_of(&self, key: &Key) -> Result<Tags, LoadError> {
        if self.is_filled() {
            return Ok(tags_of_filled(self.name().as_str(), key));
        }
        Ok(self.loader.load(key).await?.tags)
    }

    /// What every value of the class depends on; empty where nothing is known that all share.
    #[must_use]
    pub const fn whole(&self) -> &Tags {
        &self.whole
    }
}

/// Whether clients fill the class of that plan.
pub(super) fn is_filled(plan: &ClassPlan) -> bool {
    matches!(plan, ClassPlan::Cacheable(plan) if plan.pattern == Pattern::CacheAside)
}

impl std::fmt::Debug for CatalogClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogClass").field("name", self.name()).finish_non_exhaustive()
    }
}
