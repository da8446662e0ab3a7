//! The way in for programs in Rust.

mod class;
mod database;
mod error;
mod rows;

use std::{sync::Arc, time::Duration};

use trueup_core::{
    cache::{Cache, CacheBuilder},
    class::ClassPlan,
    entry::CacheValue,
    guard::LoadLimits,
    key::CacheKey,
    proof::Token,
};

pub use self::{
    class::{Class, Decision},
    database::Database,
    error::TrueupError,
    rows::Transaction,
};
use self::{
    database::{Opened, OpenedClass},
    rows::Rows,
};
use crate::{
    noted::Committed,
    plan::Plan,
    postgres::{self, PgTx, Postgres},
    sqlite::{Sqlite, SqliteTx, WriteError},
};
#[cfg(feature = "redis")]
use {
    crate::redis::Redis,
    trueup_core::{entry::KeyRing, env::Clock},
};

/// How long [`Builder::build`] waits for the feed to catch up.
const READY_WAIT_MAX: Duration = Duration::from_secs(10);

/// Sets up a [`Trueup`]. Made by [`Trueup::builder`].
#[must_use]
pub struct Builder<S> {
    source: S,
    plan: Plan,
    #[cfg(feature = "redis")]
    l2: Option<Redis>,
    load_limits: Option<LoadLimits>,
    online_checks: bool,
    unproven_after: Option<Duration>,
}

/// A cache in front of a database. Cheap to clone; the last clone that is dropped stops following the feed.
#[derive(Clone)]
pub struct Trueup<D = Sqlite> {
    database: D,
    inner: Arc<Inner>,
}

struct Inner {
    cache: Cache,
    plan: Plan,
    opened: Opened,
}

impl Trueup {
    /// A cache that is set up step by step: its source first.
    pub fn builder() -> Builder<()> {
        Builder {
            source: (),
            plan: Plan::default(),
            #[cfg(feature = "redis")]
            l2: None,
            load_limits: None,
            online_checks: false,
            unproven_after: None,
        }
    }
}

impl<D: Database> Trueup<D> {
    /// Opens a class, whose rows are read as `V`: a field for each column that matters, by serde.
    ///
    /// A class that the plan does not name is a table, by primary key and with safe defaults. Entries and counters live as
    /// long as a handle does: open each class once, and clone the handle.
    ///
    /// # Errors
    /// [`TrueupError`] when there is no such class, when `K` is not what its keys consist of, or when the class must never
    /// be cached (see [`Trueup::decision`]).
    pub fn class<K, V>(&self, name: &str) -> Result<Class<K, V>, TrueupError>
    where
        K: CacheKey + Clone + Send + Sync + 'static,
        V: CacheValue,
    {
        let plan = self.plan(name)?;
        let cacheable = plan.cacheable().map_err(TrueupError::from)?.clone();
        let rows = Arc::new(self.rows(plan)?);
        let form = rows.form().clone();
        let class = self.inner.cache.class(cacheable, form, Arc::clone(&rows) as _)?;
        Ok(Class::new(class, rows))
    }

    /// Opens a class on which decisions rest: it is held nowhere, and can be read in a transaction only.
    ///
    /// # Errors
    /// [`TrueupError`] when there is no such class, or `K` is not what its keys consist of.
    pub fn decision<K, V>(&self, name: &str) -> Result<Decision<K, V>, TrueupError>
    where
        K: CacheKey + Clone + Send + Sync + 'static,
        V: CacheValue,
    {
        let plan = self.plan(name)?;
        let rows = self.rows(plan)?;
        let refused = |why| TrueupError::Key { class: plan.name().clone(), why };
        rows.form().accepts::<K>().map_err(refused)?;
        Ok(Decision::new(rows))
    }

    /// The cache behind all classes: its feed, tokens, invalidation.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    /// Stops following the feed. Loads under way are carried to their end.
    pub async fn shut_down(&self) {
        self.inner.cache.shut_down().await;
    }

    fn plan(&self, name: &str) -> Result<&ClassPlan, TrueupError> {
        Ok(self.inner.plan.class(name)?)
    }

    fn rows<K, V>(&self, plan: &ClassPlan) -> Result<Rows<K, V>, TrueupError> {
        let name = plan.name();
        match self.inner.opened.get(name) {
            Some(Ok(OpenedClass { form, rows })) => Ok(Rows::new(name.clone(), form.clone(), rows.clone())),
            Some(Err(why)) => Err(Arc::clone(why).into()),
            None => Err(self.inner.plan.unknown(name).into()),
        }
    }
}

impl Trueup<Sqlite> {
    /// Runs `work` in a transaction that holds the database's write lock, commits, and returns a token: a read that
    /// carries it reflects this write, on any node. On an error everything is rolled back.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write<T, E>(
        &self,
        work: impl AsyncFnOnce(&SqliteTx<'_>) -> Result<T, E>,
    ) -> Result<(T, Token), WriteError<E>> {
        self.database.write(work).await
    }

    /// [`Trueup::write`], and tells what became of the rows that the work has had published
    /// ([`Class::publish`]).
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write_through<T, E>(
        &self,
        work: impl AsyncFnOnce(&SqliteTx<'_>) -> Result<T, E>,
    ) -> Result<Committed<T>, WriteError<E>> {
        self.database.write_and_publish(work, None).await
    }
}

impl Trueup<Postgres> {
    /// Runs `work` in a transaction on the primary, commits, and returns a token: a read that carries it reflects this
    /// write, on any node. On an error everything is rolled back.
    ///
    /// # Errors
    /// [`postgres::WriteError`].
    pub async fn write<T, E>(
        &self,
        work: impl AsyncFnOnce(&PgTx) -> Result<T, E>,
    ) -> Result<(T, Token), postgres::WriteError<E>> {
        self.database.write(work).await
    }

    /// [`Trueup::write`], and tells what became of the rows that the work has had published
    /// ([`Class::publish`]). They are loaded behind the COMMIT, in the same round trip.
    ///
    /// # Errors
    /// [`postgres::WriteError`].
    pub async fn write_through<T, E>(
        &self,
        work: impl AsyncFnOnce(&PgTx) -> Result<T, E>,
    ) -> Result<Committed<T>, postgres::WriteError<E>> {
        self.database.write_and_publish(work, None).await
    }
}

impl Builder<()> {
    /// The database of record, in which a feed must be installed.
    pub fn source<D: Database>(self, source: D) -> Builder<D> {
        Builder {
            source,
            plan: self.plan,
            #[cfg(feature = "redis")]
            l2: self.l2,
            load_limits: self.load_limits,
            online_checks: self.online_checks,
            unproven_after: self.unproven_after,
        }
    }
}

impl<S> Builder<S> {
    /// What is decided about the classes. Without one, tables are classes with safe defaults.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Shares entries with other nodes through a remote tier. Classes take part, those that the plan's text names too, unless they say
    /// `l2 = false`; one that is built in Rust says [`ClassPlanBuilder::l2`](crate::engine::class::ClassPlanBuilder::l2). A tier that can't be reached is no error: until it answers, it holds nothing.
    #[cfg(feature = "redis")]
    pub fn l2(mut self, tier: Redis) -> Self {
        self.l2 = Some(tier);
        self
    }

    /// What this node may ask of the database, all classes together; unless stated, what the plan's `[source]` says.
    pub const fn load_limits(mut self, limits: LoadLimits) -> Self {
        self.load_limits = Some(limits);
        self
    }

    /// Compares a sample of answers with the database, all the time.
    pub const fn online_checks(mut self, on: bool) -> Self {
        self.online_checks = on;
        self
    }

    /// Where the feed has not caught up after `wait`, goes on all the same: until it has ([`Cache::ready`]), reads go to the source.
    /// Unless stated, [`Builder::build`] fails after 10 s.
    ///
    /// A feed of PostgreSQL begins only when every transaction of the server that writes has ended. A service that can do its work
    /// without a cache is not to stand still for a job of somebody else's.
    pub const fn start_unproven_after(mut self, wait: Duration) -> Self {
        self.unproven_after = Some(wait);
        self
    }
}

impl<D: Database> Builder<D> {
    /// Begins to follow the feed, and returns once it has caught up.
    ///
    /// # Errors
    /// [`TrueupError`] when the database cannot be read, or the feed does not catch up in 10 s
    /// ([`Builder::start_unproven_after`]).
    pub async fn build(self) -> Result<Trueup<D>, TrueupError> {
        let Self { source: database, mut plan, online_checks, .. } = self;
        #[cfg(feature = "redis")]
        if self.l2.is_some() {
            plan.use_l2();
        }
        let of_plan = plan.source.as_ref().map(|source| source.load_limits);
        let load_limits = self.load_limits.or(of_plan).unwrap_or_default();
        let opened = database.open_all(&mut plan).await?;
        // Before anything is served: what was accepted belongs into the database.
        let journal = database.write_behind(&plan).await.map_err(Arc::new)?;
        let cache = CacheBuilder::new(Arc::new(database.clone()))
            .buckets(plan.memory.buckets)
            .filter_bytes_max(plan.memory.bloom_max)
            .recent_changes_max(plan.memory.recent_max)
            .load_limits(load_limits)
            .online_checks(online_checks);
        let cache = match journal {
            Some(journal) => cache.write_behind(journal),
            None => cache,
        };
        let cache = match plan.state_dir() {
            Some(folder) => cache.filter_files(folder, plan.filters()),
            None => cache,
        };
        #[cfg(feature = "redis")]
        let cache = match self.l2 {
            Some(tier) => with_remote(cache, tier, database.sealing_keys().await?).await?,
            None => cache,
        };
        let bounds = plan.classes.values().filter_map(|class| Some(class.cacheable().ok()?.max_staleness));
        if let Some(bound) = bounds.min() {
            database.keep_within(bound);
        }
        let cache = cache.start();
        let wait = self.unproven_after.unwrap_or(READY_WAIT_MAX);
        if tokio::time::timeout(wait, cache.ready()).await.is_err() {
            let problem = cache.feed_stats().problem();
            let problem = problem.map_or_else(|| "no answer yet".to_owned(), |problem| problem.to_string());
            if self.unproven_after.is_none() {
                return Err(TrueupError::NotReady { waited_s: wait.as_secs(), problem });
            }
            tracing::warn!(problem, "the feed has not caught up yet; until it has, reads go to the source");
        }
        Ok(Trueup { database, inner: Arc::new(Inner { cache, plan, opened }) })
    }
}

/// Begins to connect to the remote tier, and waits a moment for it.
#[cfg(feature = "redis")]
async fn with_remote(
    cache: CacheBuilder,
    tier: Redis,
    shared: Option<KeyRing>,
) -> Result<CacheBuilder, TrueupError> {
    let keys = tier.keys(shared)?;
    let tier = tier.start(Clock::system())?;
    if let Err(error) = tier.connected().await {
        tracing::warn!(%error, "the remote tier is not of use yet; it is tried again by itself");
    }
    Ok(cache.remote(tier, keys))
}

impl<D: Database> std::fmt::Debug for Trueup<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trueup").field("source", &self.database.describe()).finish_non_exhaustive()
    }
}
