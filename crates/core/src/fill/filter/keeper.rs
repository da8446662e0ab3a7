//! Keeping a class's filter: built, and built again when it is of no use any more.

use std::{
    borrow::Cow,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use super::{
    Absence, Built, FilterStart, FilterState, Notes, Saved,
    budget::{FilterBudget, Share},
    build::{Build, Failed},
    store::shape_of,
};
use crate::{
    apply::Feed,
    class::ClassName,
    env::{self, Clock, Nanos, Task},
    proof::{Ledger, RowFilter, Voided, filter_bytes},
    source::{Catalogue, KeySet},
};

/// How often the keeper looks whether its filter can be relied on.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How soon after a filter that failed, or was given up, the next one is begun.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The same where the keys cannot be told: somebody must do something about it.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A filter that still answers is replaced no sooner than this after it was built.
const REPLACE_AFTER: Duration = Duration::from_secs(60);
/// A filter that lets through so many times the declared share of absent keys is replaced: it is full of rows that are gone.
const REPLACE_AT_ERROR_FACTOR: f64 = 4.0;
/// Keys let through in vain, below which nothing is concluded from their share.
const REPLACE_SAMPLE_MIN: u64 = 1_000;

/// Tells the keys there are, of the table's present shape.
pub(crate) type KeySetOf<K> = dyn Fn() -> Result<Arc<dyn KeySet<K>>, Cow<'static, str>> + Send + Sync;

/// What a keeper works with.
pub(crate) struct KeeperParts<K> {
    pub(crate) class: ClassName,
    pub(crate) absence: Arc<Absence<K>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Feed,
    pub(crate) clock: Clock,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) key_set: Box<KeySetOf<K>>,
    pub(crate) budget: Arc<FilterBudget>,
    /// The class's own share of the budget, for as long as the class is there.
    pub(crate) share: Share,
    /// What an earlier process has saved, where filters are saved at all.
    pub(crate) saved: Option<Saved>,
}

struct Keeper<K> {
    class: ClassName,
    absence: Weak<Absence<K>>,
    ledger: Arc<Ledger>,
    feed: Feed,
    clock: Clock,
    catalogue: Arc<Catalogue>,
    key_set: Box<KeySetOf<K>>,
    budget: Arc<FilterBudget>,
    _share: Share,
    saved: Option<Saved>,
    /// When the present filter was complete.
    built_at: Nanos,
    /// Entries of it that were warned about.
    warned_at: u64,
}

/// Why a filter is built.
#[derive(Clone, Copy, Debug)]
enum Why {
    None,
    Start(FilterStart),
    Unproven,
    TooMuchPasses,
    Outgrown,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "there is none yet",
            Self::Start(how) => how.why(),
            Self::Unproven => "the one before can no longer be proven",
            Self::TooMuchPasses => "too many rows are gone that are still in it",
            Self::Outgrown => "more rows were added than the plan declares",
        }
    }
}

impl<K: Send + Sync + 'static> KeeperParts<K> {
    /// Begins to keep the filter, until the class is gone.
    pub(crate) fn keep(self) -> Task {
        let mut keeper = Keeper {
            class: self.class,
            absence: Arc::downgrade(&self.absence),
            ledger: self.ledger,
            feed: self.feed,
            clock: self.clock,
            catalogue: self.catalogue,
            key_set: self.key_set,
            budget: self.budget,
            _share: self.share,
            saved: self.saved,
            built_at: Nanos::ZERO,
            warned_at: 0,
        };
        env::spawn("filter of the keys there are", async move { keeper.run().await })
    }
}

impl<K: Send + Sync + 'static> Keeper<K> {
    async fn run(&mut self) {
        loop {
            // Held for one look or one build: a class that is gone takes its keeper with it.
            let Some(absence) = self.absence.upgrade() else { return };
            let pause = match self.due(&absence) {
                Some(why) => self.build(&absence, why).await,
                None => LOOK_EVERY,
            };
            drop(absence);
            tokio::time::sleep(pause).await;
        }
    }

    /// Why a filter must be built now.
    fn due(&mut self, absence: &Absence<K>) -> Option<Why> {
        self.feed.is_fresh().then_some(())?;
        let current = absence.current.load();
        let Some(built) = current.as_ref() else {
            drop(current);
            return match self.saved.take() {
                Some(saved) => self.reload(absence, saved).err().map(Why::Start),
                None => Some(Why::None),
            };
        };
        let filter = &built.filter;
        let same_shape = self.catalogue.number().load(Ordering::Acquire) == filter.class_epoch();
        if filter.is_void() || !same_shape || filter.epoch() != self.ledger.epoch_number() {
            return Some(Why::Unproven);
        }
        if self.clock.now().since(self.built_at) < REPLACE_AFTER {
            return None;
        }
        let (now, since) = (absence.counts(), built.since);
        let in_vain = now.passed_absent - since.passed_absent;
        let absent = in_vain + (now.rejected - since.rejected);
        let share = in_vain as f64 / absent.max(1) as f64;
        if in_vain >= REPLACE_SAMPLE_MIN && share > absence.plan.error * REPLACE_AT_ERROR_FACTOR {
            return Some(Why::TooMuchPasses);
        }
        let entries = filter.entries();
        if entries > absence.plan.entries.get() && entries > self.warned_at + self.warned_at / 10 {
            return Some(Why::Outgrown);
        }
        None
    }

    /// Puts what was saved in place, where the feed continues from it; else says why not. The feed has told how far the source
    /// is, and with that everything that a saved filter had to hear.
    fn reload(&mut self, absence: &Absence<K>, saved: Saved) -> Result<(), FilterStart> {
        let reloaded = saved.and_then(|(filter, shape)| self.proven(absence, filter, shape));
        absence.notes.started(reloaded.as_ref().err().copied().unwrap_or(FilterStart::Reloaded));
        let built = reloaded?;
        let (class, rows) = (self.class.as_str(), built.filter.entries());
        tracing::info!(class, rows, "the saved filter of the keys there are goes on");
        self.built_at = self.clock.now();
        self.warned_at = built.filter.entries();
        absence.current.store(Some(Arc::new(built)));
        absence.notes.set(FilterState::Answering);
        Ok(())
    }

    fn proven(
        &self,
        absence: &Absence<K>,
        filter: Arc<RowFilter>,
        shape: [u8; 16],
    ) -> Result<Built<K>, FilterStart> {
        // The number first, with its digest: a shape that moves from here on makes this filter one of another shape.
        let (class_epoch, digest) = self.catalogue.both();
        let keys = (self.key_set)().map_err(|_| FilterStart::Other)?;
        if shape_of(absence.plan, keys.table(), digest) != shape {
            return Err(FilterStart::Other);
        }
        if filter.is_void() || filter.epoch() != self.ledger.epoch_number() {
            return Err(match filter.voided() {
                Some(Voided::NotByRow | Voided::Altered) => FilterStart::Hidden,
                Some(Voided::NotContinued) | None => FilterStart::NotContinued,
            });
        }
        filter.is_of(class_epoch);
        Ok(Built { filter, keys, since: absence.counts(), _share: None })
    }

    /// Builds a filter and puts it in place; returns how long to wait before the next look.
    async fn build(&mut self, absence: &Arc<Absence<K>>, why: Why) -> Duration {
        match self.build_once(absence, why).await {
            Ok(()) => LOOK_EVERY,
            Err(Failed::Moved) => AGAIN_AFTER,
            Err(Failed::Refused(why)) => {
                let class = self.class.as_str();
                tracing::warn!(class, %why, "the keys there are cannot be told; every absent key is asked for");
                absence.notes.set(FilterState::Waiting(why));
                // It may no longer be what the class reads.
                absence.current.store(None);
                REFUSED_AGAIN_AFTER
            }
        }
    }

    async fn build_once(&mut self, absence: &Arc<Absence<K>>, why: Why) -> Result<(), Failed> {
        let plan = absence.plan;
        // The number first: a shape that moves from here on makes this filter one of another shape.
        let class_epoch = self.catalogue.number().load(Ordering::Acquire);
        let keys = (self.key_set)().map_err(|why| Failed::Refused(why.into()))?;
        let extra = self.make_room(absence, why);
        let table = keys.table();
        let make = move || RowFilter::new(table, class_epoch, plan.entries.get(), plan.error);
        // Clearing hundreds of MiB takes its time.
        let filter = tokio::task::spawn_blocking(make).await.map_err(|_| Failed::Moved)?;
        let filter = Arc::new(filter);
        let class = self.class.as_str();
        let (bytes, why) = (filter.bytes(), why.as_str());
        tracing::info!(class, bytes, why, "a filter of the keys there are is being built");
        let started = self.clock.now();
        let build = Build {
            class,
            absence: &**absence,
            ledger: &self.ledger,
            feed: &self.feed,
            clock: &self.clock,
            filter: &filter,
            keys: &*keys,
        };
        let rows = build.run().await?;
        let took_ms = self.clock.now().since(started).as_millis() as u64;
        tracing::info!(class, rows, took_ms, "the filter of the keys there are is complete");
        self.built_at = self.clock.now();
        self.warned_at = filter.entries();
        if rows > plan.entries.get() {
            let declared = plan.entries;
            tracing::warn!(
                class, rows, %declared,
                "the table has more rows than `bloom` declares, so more absent keys pass than it says; declare more entries"
            );
        }
        let since = absence.counts();
        // Counted before it answers: whoever sees it answer sees that it was built.
        Notes::add(&absence.notes.builds);
        absence.current.store(Some(Arc::new(Built { filter, keys, since, _share: extra })));
        absence.notes.set(FilterState::Answering);
        Ok(())
    }

    /// Memory for a second filter while the first one answers; the first one goes where there is none, or where it is of no
    /// use any more.
    fn make_room(&self, absence: &Absence<K>, why: Why) -> Option<Share> {
        if matches!(why, Why::TooMuchPasses | Why::Outgrown) {
            let bytes = filter_bytes(absence.plan.entries.get(), absence.plan.error);
            match self.budget.take(bytes) {
                Ok(share) => return Some(share),
                Err(left) => {
                    let class = self.class.as_str();
                    tracing::warn!(
                        class,
                        bytes,
                        left,
                        "no memory for a second filter beside the one that answers: until it is built, every absent key is \
                         asked for; raise `bloom_max` under [memory]"
                    );
                }
            }
        }
        absence.current.store(None);
        None
    }
}
