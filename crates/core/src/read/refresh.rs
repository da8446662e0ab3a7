//! Entries loaded before a reader needs them: near their end, or because the feed said that they changed.
//!
//! The hit path only counts and tells ([`Refresher`]); one task per class decides what is loaded, and loads in tasks of their own. A refresh
//! takes the last place among loads: it is put off while readers need the source. What it brings is judged as any load is, so
//! nothing here can make an answer wrong; it only makes misses rare.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep_until},
};

use super::ClassCore;
use crate::{
    class::{ColdStart, Strategy},
    entry::CacheValue,
    env::{self, Nanos, Task, random},
    fill::{Claimed, Ending, HotSet, Rest, Role, lock_life, xfetch},
    key::Key,
    limits,
    proof::{Need, Position, Unproven},
    stats::{Refresh, Refreshed},
    tier::Entry,
};

/// What readers found due that waits to be looked at. Beyond, it is dropped: they will tell again.
const DUE_MAX: usize = 1_024;
/// Hot keys looked at in one go: some tens of microseconds.
const BATCH: usize = 256;
/// Shortest pause between two looks at hot keys, however fast the feed moves.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// How often hot keys are looked at while the feed stands still: their ends come nearer all the same.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often counts of hot keys are halved.
const AGE_EVERY: Duration = Duration::from_secs(300);
/// How long an entry is left alone after a reader asked for its refresh, in times of a load; and at least.
const ASKED_LOADS: u32 = 4;
const ASKED_MIN: Duration = Duration::from_millis(100);
/// How long a hot key is left alone after it was loaded, in times of its load: it takes a third of one connection at most.
const REST_LOADS: u32 = 2;
const REST_MIN: Duration = Duration::from_millis(5);

/// Counts what readers read and tells what they see, without ever waiting.
pub(crate) struct Refresher<K> {
    due: mpsc::Sender<Due<K>>,
    /// Whether samples of reads are of use.
    samples: bool,
    hot: Arc<Hot<K>>,
}

/// The keys in use, as far as samples show.
struct Hot<K> {
    set: Mutex<HotSet<K>>,
    /// There was none before.
    first: Notify,
    /// Whether they are refreshed, and not only recorded.
    keeps_warm: bool,
}

/// An entry that is to be refreshed, as its reader found.
struct Due<K> {
    key: K,
    canonical: Key,
    why: Refresh,
}

/// The other end of a [`Refresher`].
pub(crate) struct Refreshes<K> {
    due: mpsc::Receiver<Due<K>>,
    hot: Arc<Hot<K>>,
}

impl<K: Clone> Refresher<K> {
    /// None for a class whose entries are loaded when a reader misses them, and whose hot keys nobody wants to know.
    pub(super) fn new(strategy: Strategy, cold_start: ColdStart) -> Option<(Self, Refreshes<K>)> {
        let keeps_warm = matches!(strategy, Strategy::Background { .. });
        let recorded_max = match cold_start {
            ColdStart::Empty => None,
            ColdStart::Warm { keys_max } => Some(keys_max.get() as usize),
        };
        if strategy == Strategy::Wait && recorded_max.is_none() {
            return None;
        }
        let keys_max = recorded_max.unwrap_or_default().max(limits::HOT_KEYS_MAX);
        let hot = Hot { set: Mutex::new(HotSet::new(keys_max)), first: Notify::new(), keeps_warm };
        let hot = Arc::new(hot);
        let samples = keeps_warm || recorded_max.is_some();
        let (sender, due) = mpsc::channel(DUE_MAX);
        let refreshes = Refreshes { due, hot: Arc::clone(&hot) };
        Some((Self { due: sender, samples, hot }, refreshes))
    }

    /// The keys in use, as far as samples show.
    pub(super) fn hot(&self) -> &Mutex<HotSet<K>> {
        &self.hot.set
    }

    /// A sampled read of `key`; how many keys are known as hot now, where it was counted.
    ///
    /// Counted by the reader itself: a task that is woken for each sample costs a busy reader a third of all its time, where
    /// processors sleep deeply. No sample is worth waiting for, either.
    #[cold]
    pub(super) fn seen(&self, key: &K, canonical: &str) -> Option<usize> {
        let mut set = self.hot.set.try_lock().filter(|_| self.samples)?;
        set.note(key, canonical);
        let count = set.len();
        drop(set);
        if count == 1 {
            self.knows_some();
        }
        Some(count)
    }

    /// There are keys in use where none was known: they are looked after from now on, if they are kept warm.
    pub(super) fn knows_some(&self) {
        if self.hot.keeps_warm {
            self.hot.first.notify_one();
        }
    }

    /// The entry under `key` is to be refreshed, as its reader found.
    #[cold]
    pub(super) fn due(&self, key: &K, canonical: &Key) {
        let why = if self.hot.keeps_warm { Refresh::Ahead } else { Refresh::Early };
        if let Ok(place) = self.due.try_reserve() {
            place.send(Due { key: key.clone(), canonical: canonical.clone(), why });
        }
    }
}

impl<K, V: CacheValue> ClassCore<K, V> {
    /// When an entry that is proven again and again, or whose life ends, is loaded all the same.
    pub(super) fn end_of(&self, entry: &Entry<V>) -> Nanos {
        if self.provable { entry.hard_expires() } else { entry.expires() }
    }

    /// How long before its end an entry is looked at more closely, where its load took `delta` and it lives for `life`.
    pub(super) fn refresh_window(&self, delta: Duration, life: Duration) -> Duration {
        match self.plan.stampede.strategy {
            Strategy::Wait => Duration::ZERO,
            Strategy::Early { beta } => xfetch::window(delta, beta),
            // What lives shorter than planned, by jitter or because it is an absence, is not refreshed all the time.
            Strategy::Background { ahead } => ahead.min(life / 2),
        }
    }

    /// Whether the reader who found `entry` near its end has it refreshed: one at a time.
    #[cold]
    pub(super) fn draws_refresh(&self, entry: &Entry<V>, now: Nanos) -> bool {
        let usual = || self.load_time.usual().unwrap_or_default();
        let due = match self.plan.stampede.strategy {
            Strategy::Wait => false,
            Strategy::Early { beta } => {
                // What another node loaded has no load time of its own.
                let delta = Some(entry.load_time()).filter(|time| !time.is_zero()).unwrap_or_else(usual);
                xfetch::is_due(self.end_of(entry).since(now), delta, beta, random::number())
            }
            Strategy::Background { .. } => now >= entry.refresh_from(),
        };
        due && entry.claim_refresh(now, now.after((usual() * ASKED_LOADS).max(ASKED_MIN)))
    }
}

impl<K> Refreshes<K>
where
    K: Clone + Send + Sync + 'static,
{
    /// Refreshes until the class is gone.
    pub(crate) fn run<V: CacheValue>(self, core: &Arc<ClassCore<K, V>>) -> Task {
        let most = (core.plan.stampede.loads_max.get() / 4).clamp(1, limits::REFRESHES_MAX);
        let keeper = Keeper {
            core: Arc::downgrade(core),
            feed: core.feed.clone(),
            due: self.due,
            places: Arc::new(Semaphore::new(most as usize)),
            hot: self.hot,
            looked_at: Position::ZERO,
            round_began_at: None,
        };
        env::spawn("refresh", keeper.keep())
    }
}

/// Decides what is refreshed.
struct Keeper<K, V: CacheValue> {
    core: Weak<ClassCore<K, V>>,
    feed: crate::apply::Feed,
    due: mpsc::Receiver<Due<K>>,
    places: Arc<Semaphore>,
    hot: Arc<Hot<K>>,
    /// Every hot key has been looked at since the feed was here.
    looked_at: Position,
    /// Where the feed was when the round that goes on began.
    round_began_at: Option<Position>,
}

impl<K, V> Keeper<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    async fn keep(mut self) {
        let mut aged = Instant::now();
        // A look is due at the latter, and allowed from the former on.
        let (mut look_after, mut look_by) = (Instant::now(), Instant::now() + LOOK_EVERY);
        loop {
            let (feed, from, goes_on) = (self.feed.clone(), self.looked_at, self.round_began_at.is_some());
            let hot = Arc::clone(&self.hot);
            let any_hot = hot.keeps_warm && !hot.set.lock().is_empty();
            let moved = async {
                sleep_until(look_after).await;
                if !goes_on {
                    feed.until_applied(Position(from.0.saturating_add(1))).await;
                }
            };
            tokio::select! {
                due = self.due.recv() => {
                    let Some(Due { key, canonical, why }) = due else { return };
                    if let Some(core) = self.core.upgrade() {
                        self.refresh(&core, key, canonical, why);
                    }
                }
                () = hot.first.notified() => {}
                () = async { tokio::select! { () = moved => {}, () = sleep_until(look_by) => {} } }, if any_hot => {
                    self.look();
                    (look_after, look_by) = (Instant::now() + LOOK_PAUSE, Instant::now() + LOOK_EVERY);
                }
                () = sleep_until(aged + AGE_EVERY) => {
                    aged = Instant::now();
                    hot.set.lock().age(hot.keeps_warm);
                }
            }
        }
    }

    /// Looks at some of the hot keys, and has those loaded that changed or end soon.
    fn look(&mut self) {
        let Some(core) = self.core.upgrade() else { return };
        let began_at = *self.round_began_at.get_or_insert_with(|| self.feed.applied());
        let ((batch, is_round), count) = {
            let mut hot = self.hot.set.lock();
            (hot.batch(BATCH), hot.len())
        };
        if is_round {
            (self.looked_at, self.round_began_at) = (began_at, None);
        }
        core.stats.stampede.hot_keys(count);
        let now = core.clock.now();
        let mut wanting: Vec<(u64, Key, Refresh)> = Vec::new();
        for (canonical, count) in batch {
            let Some(rest) = self.rest_of(&canonical) else { continue };
            if rest.is_over(now)
                && let Some(why) = core.wants_refresh(&canonical)
            {
                wanting.push((count, canonical, why));
            }
        }
        // The hottest first: there may not be room for all.
        wanting.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
        for (_, canonical, why) in wanting {
            let key = self.hot.set.lock().get_mut(&canonical).map(|hot| hot.key.clone());
            let Some(key) = key else { continue };
            if !self.refresh(&core, key, canonical, why) {
                return;
            }
        }
    }

    /// Until when a hot key is left alone.
    fn rest_of(&self, canonical: &Key) -> Option<Rest> {
        self.hot.set.lock().get_mut(canonical).map(|hot| hot.rest().clone())
    }

    /// Begins a refresh, if there is a place for one.
    fn refresh(&mut self, core: &Arc<ClassCore<K, V>>, key: K, canonical: Key, why: Refresh) -> bool {
        let rest = self.rest_of(&canonical).unwrap_or_default();
        if rest.is_busy() {
            return true;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            core.stats.stampede.refresh(why, Refreshed::PutOff);
            return false;
        };
        rest.begin();
        let until = core.clock.now().after(core.plan.failure_backoff);
        let resting = Resting { rest, until, _place: place };
        let core = Arc::clone(core);
        env::spawn("refresh of an entry", async move { core.refresh(key, canonical, why, resting).await });
        true
    }
}

/// A refresh under way. However it ends, the place is free again and the key is left alone for a while.
struct Resting {
    rest: Rest,
    until: Nanos,
    _place: OwnedSemaphorePermit,
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.rest.end(self.until);
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Why a hot key is to be loaded now; none if a reader would be answered from memory, or if loading it would not help.
    fn wants_refresh(&self, canonical: &Key) -> Option<Refresh> {
        let Some(entry) = self.tier.get(canonical.as_str()) else { return Some(Refresh::Ahead) };
        let any = Need { max_staleness: Duration::MAX, token: None };
        match self.ledger.check(entry.proof(), self.catalogue.number(), &any, &self.clock) {
            // A node that does not know how far the source is could not prove what it loads either.
            Ok(_) | Err(Unproven::TooOld | Unproven::TokenAhead | Unproven::Expired) => {}
            Err(
                Unproven::Changed
                | Unproven::MissedChange
                | Unproven::Discarded
                | Unproven::OtherEpoch
                | Unproven::OtherCatalogue,
            ) => return Some(Refresh::Changed),
        }
        let now = self.clock.now();
        // Which is never after its end.
        (now >= entry.refresh_from()).then_some(Refresh::Ahead)
    }

    async fn refresh(self: Arc<Self>, key: K, canonical: Key, why: Refresh, mut resting: Resting) {
        let outcome = self.refresh_now(&key, &canonical, why).await;
        self.stats.stampede.refresh(why, outcome);
        let rest = match outcome {
            Refreshed::Loaded | Refreshed::Shared => {
                (self.load_time.usual().unwrap_or_default() * REST_LOADS).max(REST_MIN)
            }
            Refreshed::PutOff => LOOK_EVERY,
            Refreshed::Failed => self.plan.failure_backoff,
        };
        let not_before = self.clock.now().after(rest);
        if outcome == Refreshed::Failed
            && let Some(entry) = self.tier.get(canonical.as_str())
        {
            entry.hold_off_refresh(not_before);
        }
        resting.until = not_before;
    }

    async fn refresh_now(self: &Arc<Self>, key: &K, canonical: &Key, why: Refresh) -> Refreshed {
        if self.fetch_fresher(canonical, why).await {
            return Refreshed::Shared;
        }
        let hold = match self.fleet_locks().zip(self.lock_key(canonical)) {
            None => None,
            Some((locks, key)) => {
                match locks.claim(&key, lock_life(self.load_time.usual())).await {
                    Claimed::Mine(hold) => Some(hold),
                    Claimed::NoAnswer => None,
                    // Another node refreshes it: what it shares is looked for at the next look.
                    Claimed::Theirs { .. } => return Refreshed::PutOff,
                }
            }
        };
        let Some(admission) = self.gate.admit_idle().await else { return Refreshed::PutOff };
        let Role::Lead(lead) = self.flights.join(canonical) else { return Refreshed::Shared };
        let loaded = self.load_with(admission, &lead, key, true).await;
        if let Some(hold) = hold {
            self.done_loading(hold, loaded.as_ref().ok().map(|filled| &filled.entry));
        }
        let is_kept = |entry: &Arc<Entry<V>>| {
            self.tier.get(canonical.as_str()).is_some_and(|held| Arc::ptr_eq(&held, entry))
        };
        let outcome = match &loaded {
            Ok(filled) if is_kept(&filled.entry) => Refreshed::Loaded,
            _ => Refreshed::Failed,
        };
        lead.end(match loaded {
            Ok(filled) => Ending::Filled(filled),
            Err(error) => Ending::Failed(error),
        });
        outcome
    }

    /// Takes what another node has refreshed already; false if there is nothing better than what is held here.
    async fn fetch_fresher(&self, canonical: &Key, why: Refresh) -> bool {
        let Some(outbox) = &self.outbox else { return false };
        let started = self.clock.now();
        let place = [self.remote_key(canonical)];
        let fetching = outbox.fetch(&place, self.wanted(), &self.ledger);
        let fetched = tokio::time::timeout(self.plan.hard_timeout, fetching).await.unwrap_or_default();
        let Some(fetched) = fetched.into_iter().next().flatten() else { return false };
        let Some(entry) = self.entry_of(canonical, fetched, started) else { return false };
        let is_soon = self.clock.now() >= entry.refresh_from();
        if self.judge(&entry, &self.need).is_err() || (why != Refresh::Changed && is_soon) {
            return false;
        }
        if why != Refresh::Changed
            && let Some(held) = self.tier.get(canonical.as_str())
            && self.end_of(&entry) <= self.end_of(&held)
        {
            return false;
        }
        self.keep(&Arc::new(entry));
        true
    }
}
