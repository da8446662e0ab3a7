//! What a cache is set up with.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use super::{Cache, Inner, save_now_and_then};
use crate::{
    apply::{Feed, FeedStats},
    class::{Bloom, ClassName},
    entry::KeyRing,
    env::{self, Clock},
    fill::{FILTER_BYTES_MAX_DEFAULT, FilterBudget, FilterStore, Outbox, WriteBehind},
    guard::{LoadLimits, SourceGuard},
    limits,
    proof::Ledger,
    source::Source,
    tier::RemoteTier,
};

/// Sets up a [`Cache`].
pub struct CacheBuilder {
    source: Arc<dyn Source>,
    remote: Option<(Arc<dyn RemoteTier>, KeyRing)>,
    clock: Clock,
    buckets: usize,
    recent_max: usize,
    load_limits: LoadLimits,
    online_checks: bool,
    filter_bytes_max: usize,
    filter_files: Option<(PathBuf, Vec<(ClassName, Bloom)>)>,
    write_behind: Option<WriteBehind>,
    written_elsewhere: bool,
}

impl CacheBuilder {
    /// A cache in front of `source`, with memory alone.
    #[must_use]
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            remote: None,
            clock: Clock::system(),
            buckets: limits::BUCKETS_DEFAULT,
            recent_max: limits::RECENT_CHANGES_MAX_DEFAULT,
            load_limits: LoadLimits::default(),
            online_checks: false,
            filter_bytes_max: FILTER_BYTES_MAX_DEFAULT,
            filter_files: None,
            write_behind: None,
            written_elsewhere: false,
        }
    }

    /// Shares settled entries with other nodes through `tier`, sealed with `keys`. The tier is never trusted.
    #[must_use]
    pub fn remote(mut self, tier: Arc<dyn RemoteTier>, keys: KeyRing) -> Self {
        self.remote = Some((tier, keys));
        self
    }

    /// The clock to read; the system's unless a test steps its own.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many buckets hold the last change of each tag: 8 bytes each. More buckets, fewer entries unproven because they
    /// share one. Default [`limits::BUCKETS_DEFAULT`].
    #[must_use]
    pub const fn buckets(mut self, buckets: usize) -> Self {
        self.buckets = buckets;
        self
    }

    /// How many changes are held for loads in flight. Default [`limits::RECENT_CHANGES_MAX_DEFAULT`].
    #[must_use]
    pub const fn recent_changes_max(mut self, changes: usize) -> Self {
        self.recent_max = changes;
        self
    }

    /// What this node may ask of the source, all classes together.
    #[must_use]
    pub const fn load_limits(mut self, limits: LoadLimits) -> Self {
        self.load_limits = limits;
        self
    }

    /// Compares a sample of proven answers with the source, all the time (see the plan's `check_share`).
    #[must_use]
    pub const fn online_checks(mut self, on: bool) -> Self {
        self.online_checks = on;
        self
    }

    /// Most bytes of all filters of the keys there are (see the plan's `bloom`). Default [`FILTER_BYTES_MAX_DEFAULT`].
    #[must_use]
    pub const fn filter_bytes_max(mut self, bytes: usize) -> Self {
        self.filter_bytes_max = bytes;
        self
    }

    /// Keeps the filters of these classes in `folder` over a restart. They are read when the cache is started, which blocks for as
    /// long as that takes, so that they hear the feed from its beginning; a filter that cannot go on from there is built anew.
    #[must_use]
    pub fn filter_files(
        mut self,
        folder: impl Into<PathBuf>,
        classes: impl IntoIterator<Item = (ClassName, Bloom)>,
    ) -> Self {
        self.filter_files = Some((folder.into(), classes.into_iter().collect()));
        self
    }

    /// Where writes of classes go whose pattern is write-behind.
    #[must_use]
    pub fn write_behind(mut self, journal: WriteBehind) -> Self {
        self.write_behind = Some(journal);
        self
    }

    /// Classes whose pattern is write-behind are opened without a journal, for looking at: another process writes them.
    #[must_use]
    pub const fn written_elsewhere(mut self) -> Self {
        self.written_elsewhere = true;
        self
    }

    /// Starts following the source's feed, on the current tokio runtime.
    #[must_use]
    pub fn start(self) -> Cache {
        let ledger = Ledger::new(self.buckets, self.recent_max);
        let feed_stats = Arc::new(FeedStats::default());
        let feed = Feed::new(Arc::clone(&ledger), self.clock.clone(), Arc::clone(&feed_stats));
        let filter_bytes_max = self.filter_bytes_max;
        let filter_store =
            self.filter_files.map(|(folder, classes)| FilterStore::read(folder, classes, filter_bytes_max));
        // Before the feed is followed: they have to hear its first message.
        let feed = match &filter_store {
            Some(store) => {
                store.expect_feed(&ledger);
                // A source may keep its feed, and must not keep itself by that.
                let (saved, source) = (Arc::clone(store), Arc::downgrade(&self.source));
                feed.from_places(store.places()).saving(move || {
                    let (saved, source) = (Arc::clone(&saved), source.upgrade());
                    Box::pin(async move {
                        if let Some(source) = source {
                            saved.save_small(&*source).await;
                        }
                    })
                })
            }
            None => feed,
        };
        let mut tasks = vec![env::spawn("feed", Arc::clone(&self.source).follow(feed.clone()))];
        if let Some(store) = &filter_store {
            tasks.push(save_now_and_then(Arc::clone(store), Arc::clone(&self.source)));
        }
        let guard = SourceGuard::new(self.load_limits, self.clock.clone());
        tasks.push(guard.keep(Arc::clone(&self.source)));
        let outbox = self.remote.map(|(tier, keys)| {
            let (outbox, task) = Outbox::start(tier, keys, self.clock.clone());
            tasks.push(task);
            outbox
        });
        Cache {
            inner: Arc::new(Inner {
                source: self.source,
                ledger,
                feed,
                feed_stats,
                clock: self.clock,
                outbox,
                guard,
                online_checks: self.online_checks,
                filters: FilterBudget::new(filter_bytes_max),
                filter_store,
                write_behind: self.write_behind,
                written_elsewhere: self.written_elsewhere,
                tasks: Mutex::new(tasks),
            }),
        }
    }
}
