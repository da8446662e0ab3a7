//! One class of a catalogue.

use std::sync::Arc;

use trueup_core::{
    class::{ClassName, ClassPlan},
    entry::Raw,
    error::ReadError,
    key::{Key, KeyForm},
    proof::{Tags, Token},
    read::Class,
    receipt::Cached,
    source::{LoadError, Loader},
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

    /// The token of a session that has seen `answer`: with it the session never goes back in time.
    #[must_use]
    pub fn seen_token(&self, answer: &Answer) -> Option<Token> {
        match answer {
            Answer::Cached(cached) => Some(self.cached()?.seen_token(cached)),
            Answer::Direct(direct) => Some(direct.seen),
        }
    }

    /// What the value under `key` depends on, the narrowest first: asked of the source, because no entry need exist here
    /// for one to exist on another node.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn tags_of(&self, key: &Key) -> Result<Tags, LoadError> {
        Ok(self.loader.load(key).await?.tags)
    }

    /// What every value of the class depends on; empty where nothing is known that all share.
    #[must_use]
    pub const fn whole(&self) -> &Tags {
        &self.whole
    }
}

impl std::fmt::Debug for CatalogClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogClass").field("name", self.name()).finish_non_exhaustive()
    }
}
