//! The engine's handle: one source, its feed, and the classes that are read through it.

mod builder;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

pub use self::builder::CacheBuilder;

use crate::{
    apply::{Feed, FeedStats},
    class::{CacheablePlan, Pattern},
    entry::CacheValue,
    env::{self, Clock, Task},
    error::ClassError,
    fill::{BehindCounts, FilterBudget, FilterStore, Outbox, RemoteCounts, Share, WriteBehind},
    guard::SourceGuard,
    key::{CacheKey, Key, KeyForm},
    policy::{Admission, HotKeys},
    proof::{Ledger, Position, Status, Tag, Token, filter_bytes},
    read::{Class, ClassCore, ClassParts, StandIns},
    source::{LoadError, Loader, Source},
    tier::RemoteServer,
};

/// How long accepted writes are brought to the source when the cache is shut down.
pub const BEHIND_FLUSH_MAX: Duration = Duration::from_secs(5);
/// How often filters of the keys there are are saved, where they are. At the end they are, too.
const FILTERS_SAVED_EVERY: Duration = Duration::from_secs(5 * 60);
/// How often dead entries are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// A cache in front of one source. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn Source>,
    ledger: Arc<Ledger>,
    feed: Feed,
    feed_stats: Arc<FeedStats>,
    clock: Clock,
    outbox: Option<Arc<Outbox>>,
    guard: Arc<SourceGuard>,
    online_checks: bool,
    filters: Arc<FilterBudget>,
    filter_store: Option<Arc<FilterStore>>,
    write_behind: Option<WriteBehind>,
    written_elsewhere: bool,
    tasks: Mutex<Vec<Task>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.feed.stop();
        self.tasks.get_mut().iter().for_each(Task::stop);
    }
}

impl Cache {
    /// Opens a class. Its entries and counters live as long as a handle does; open each class once and clone the handle.
    ///
    /// # Errors
    /// [`ClassError`] when key type, key form and plan do not fit together.
    pub fn class<K, V>(
        &self,
        plan: CacheablePlan,
        form: KeyForm,
        loader: Arc<dyn Loader<K, V>>,
    ) -> Result<Class<K, V>, ClassError>
    where
        K: CacheKey + Clone + Send + Sync + 'static,
        V: CacheValue,
    {
        form.accepts::<K>().map_err(|why| ClassError::Key { class: plan.name.clone(), why })?;
        self.open(plan, form, loader)
    }

    /// Opens a class that is read by keys in normal form: the way of servers.
    ///
    /// # Errors
    /// [`ClassError`] when key form and plan do not fit together.
    pub fn class_by_text<V: CacheValue>(
        &self,
        plan: CacheablePlan,
        form: KeyForm,
        loader: Arc<dyn Loader<Key, V>>,
    ) -> Result<Class<Key, V>, ClassError> {
        self.open(plan, form, loader)
    }

    fn open<K, V>(
        &self,
        plan: CacheablePlan,
        form: KeyForm,
        loader: Arc<dyn Loader<K, V>>,
    ) -> Result<Class<K, V>, ClassError>
    where
        K: Clone + Send + Sync + 'static,
        V: CacheValue,
    {
        let inner = &self.inner;
        check_written(&plan, &*loader, inner.write_behind.is_some() || inner.written_elsewhere)?;
        let share = filter_share(&plan, &*loader, &inner.filters)?;
        let admission = admission(&plan)?;
        let is_written_behind = matches!(plan.pattern, Pattern::WriteBehind { .. });
        if plan.is_provable() {
            inner.feed_stats.unproven.serve(plan.max_staleness);
        }
        let stand_ins =
            StandIns::new(&plan).map_err(|why| ClassError::Fallback { class: plan.name.clone(), why })?;
        let (core, background) = ClassCore::new(ClassParts {
            plan,
            form,
            loader,
            ledger: Arc::clone(&inner.ledger),
            feed: inner.feed.clone(),
            clock: inner.clock.clone(),
            outbox: inner.outbox.clone(),
            guard: Arc::clone(&inner.guard),
            stand_ins,
            online_checks: inner.online_checks,
            admission,
            behind: inner.write_behind.clone().filter(|_| is_written_behind),
        });
        let mut tasks = inner.tasks.lock();
        tasks.push(core.purge_every(PURGE_EVERY));
        tasks.extend(background.start(&core));
        tasks.extend(core.keep_filter(&inner.filters, share, inner.filter_store.as_ref()));
        tasks.extend(core.watch_hit_rate());
        Ok(Class::new(core))
    }

    /// A token for now: a read that carries it reflects every commit acknowledged before the call.
    ///
    /// # Errors
    /// [`LoadError`] when the source does not answer.
    pub async fn token(&self) -> Result<Token, LoadError> {
        self.inner.source.token().await
    }

    /// Invalidates `tags` on every node, by way of the feed.
    ///
    /// # Errors
    /// [`LoadError`] when the source does not take it; nothing was invalidated then.
    pub async fn invalidate(&self, tags: &[Tag]) -> Result<Token, LoadError> {
        self.inner.source.invalidate(tags).await
    }

    /// Returns once the feed has caught up for the first time: from then on answers can be proven.
    pub async fn ready(&self) {
        self.inner.feed.until_fresh().await;
    }

    /// Whether answers can be proven at the moment.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.feed.is_fresh() && self.inner.feed_stats.problem().is_none()
    }

    /// What stands between all classes and the source.
    #[must_use]
    pub fn source_guard(&self) -> &Arc<SourceGuard> {
        &self.inner.guard
    }

    /// The feed: its position, and how to wait for one.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// What the feed has done.
    #[must_use]
    pub fn feed_stats(&self) -> &FeedStats {
        &self.inner.feed_stats
    }

    /// What the node knows of the source.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.ledger.status()
    }

    /// Where something that one of `tags` stands for last changed, as far as this node has been told; zero for never.
    #[must_use]
    pub fn last_change(&self, tags: &[Tag]) -> Position {
        self.inner.ledger.last_change(tags)
    }

    /// How long ago the node last knew how far the source was: no proven answer can be fresher. None before the first time.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        let moment = self.status().moment;
        (moment > env::Nanos::ZERO).then(|| self.inner.clock.now().since(moment))
    }

    /// For how long the node could not prove its answers so far: it was in no epoch, or knew how far the source was longer
    /// ago than the strictest of its classes allows.
    #[must_use]
    pub fn unproven_time(&self) -> Duration {
        self.inner.feed_stats.unproven.total(self.inner.clock.now())
    }

    /// What the remote tier has done, if there is one.
    #[must_use]
    pub fn remote_counts(&self) -> Option<RemoteCounts> {
        self.inner.outbox.as_ref().map(|outbox| outbox.counts())
    }

    /// What write-behind has done; none without a journal.
    #[must_use]
    pub fn write_behind_counts(&self) -> Option<BehindCounts> {
        self.inner.write_behind.as_ref().map(WriteBehind::counts)
    }

    /// The journal of accepted writes, if there is one.
    #[must_use]
    pub fn write_behind(&self) -> Option<&WriteBehind> {
        self.inner.write_behind.as_ref()
    }

    /// The servers of the remote tier, and which of them are left alone; empty without a tier.
    #[must_use]
    pub fn remote_servers(&self) -> Vec<RemoteServer> {
        self.inner.outbox.as_ref().map(|outbox| outbox.servers()).unwrap_or_default()
    }

    /// The source, for people; no secrets.
    #[must_use]
    pub fn source(&self) -> String {
        self.inner.source.describe()
    }

    /// How the source's change log is followed, for people: name and value. No secrets.
    #[must_use]
    pub fn following(&self) -> Vec<(&'static str, String)> {
        self.inner.source.following()
    }

    /// What must end before anything can be kept, for people.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        self.inner.source.waiting_for()
    }

    /// Stops following the feed and ends every background task. Loads under way are carried to their end. Writes that were
    /// accepted are brought to the source first, for [`BEHIND_FLUSH_MAX`] at most; what is left waits in the journal. Filters are saved
    /// at the end, where they are.
    pub async fn shut_down(&self) {
        if let Some(behind) = &self.inner.write_behind {
            let left = behind.shut_down(BEHIND_FLUSH_MAX).await;
            if left > 0 {
                tracing::warn!(left, "accepted writes stay in the journal until the next start");
            }
        }
        self.inner.feed.stop();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        for task in tasks {
            if task.name() != "feed" {
                task.stop();
            }
            task.ended().await;
        }
        // After the feed, which may have saved how far it has come: the filters are not behind that.
        if let Some(store) = &self.inner.filter_store {
            store.save(&*self.inner.source).await;
        }
    }
}

fn save_now_and_then(store: Arc<FilterStore>, source: Arc<dyn Source>) -> Task {
    env::spawn("saving filters", async move {
        loop {
            tokio::time::sleep(FILTERS_SAVED_EVERY).await;
            store.save(&*source).await;
        }
    })
}

/// The memory of the filter that a plan asks for, if it asks for one and can have it.
fn filter_share<K: 'static, V: 'static>(
    plan: &CacheablePlan,
    loader: &dyn Loader<K, V>,
    budget: &Arc<FilterBudget>,
) -> Result<Option<Share>, ClassError> {
    let Some(bloom) = plan.bloom else { return Ok(None) };
    let refuse = |why| ClassError::Bloom { class: plan.name.clone(), why };
    loader.key_set().map_err(|why| refuse(format!("{why}; remove it")))?;
    let bytes = filter_bytes(bloom.entries.get(), bloom.error);
    let share = budget.take(bytes).map_err(|left| {
        refuse(format!(
            "{} entries take {} MiB, and {} MiB are left of the memory for filters; raise `bloom_max` under [memory], or \
             declare fewer entries",
            bloom.entries,
            bytes >> 20,
            left >> 20
        ))
    })?;
    Ok(Some(share))
}

/// What decides which keys are kept, if the plan asks for that.
fn admission(plan: &CacheablePlan) -> Result<Option<Admission>, ClassError> {
    let Some(admission) = &plan.admission else { return Ok(None) };
    let hot = match &admission.hot_keys {
        None => HotKeys::default(),
        Some(path) => {
            let refuse = |why: String| ClassError::HotKeys {
                class: plan.name.clone(),
                path: path.display().to_string(),
                why,
            };
            let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
            HotKeys::parse(&text).map_err(|bad| refuse(bad.to_string()))?
        }
    };
    Ok(Some(Admission::new(admission.seen, admission.keys_max.get(), hot)))
}

/// A class that is written through the cache needs a way to write, and one that is written behind a journal.
fn check_written<K: 'static, V: 'static>(
    plan: &CacheablePlan,
    loader: &dyn Loader<K, V>,
    has_journal: bool,
) -> Result<(), ClassError> {
    let refuse =
        |why: String| ClassError::Written { class: plan.name.clone(), pattern: plan.pattern.as_str(), why };
    if !matches!(plan.pattern, Pattern::WriteBehind { .. }) {
        // What is written through may be of any kind: whoever writes it says which keys it has written.
        return Ok(());
    }
    loader.writer().map_err(|why| refuse(format!("{why}; choose `pattern = \"write-through\"`")))?;
    if has_journal {
        Ok(())
    } else {
        Err(refuse("there is no journal; name its folder: `journal` under [write_behind]".to_owned()))
    }
}
