//! A class as its users see it.

use std::{sync::Arc, time::Duration};

use super::{
    StandIns,
    floor::FloorState,
    hit::Found,
    refresh::{Refresher, Refreshes},
    request::{Read, ReadMany},
    together::Together,
    turn::FleetWaits,
    verify::{Checker, Samples},
};
use crate::{
    apply::Feed,
    class::{CacheablePlan, Eviction, PlanDigest},
    entry::{CacheValue, EpochId},
    env::{self, Clock, random},
    error::ReadError,
    fill::{
        Absence, Crowd, FilterBudget, FilterStatus, FilterStore, Flights, KeeperParts, Leases, LoadTime,
        Outbox, Share, WriteBehind,
    },
    guard::{Gate, SourceGuard},
    key::{CacheKey, Key, KeyForm, KeyName},
    policy::Admission,
    proof::{Ledger, Need, Standing, Token},
    receipt::{Cached, ServedBy},
    source::{Catalogue, Loader},
    stats::ClassStats,
    tier::{Entry, MemoryConfig, MemoryTier, Policy},
    write::{Authoritative, LockingRead},
};

/// Everything one class needs, shared by its handles, loads and background tasks.
pub(crate) struct ClassCore<K, V: CacheValue> {
    pub(super) plan: CacheablePlan,
    pub(super) digest: PlanDigest,
    pub(super) form: KeyForm,
    pub(super) loader: Arc<dyn Loader<K, V>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) feed: Feed,
    pub(super) clock: Clock,
    /// The shape of the relations that the class reads.
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) tier: MemoryTier<Entry<V>>,
    pub(super) flights: Arc<Flights<V>>,
    pub(super) leases: Leases,
    pub(super) gate: Gate,
    pub(super) stand_ins: StandIns<V>,
    pub(super) floor: FloorState,
    pub(super) outbox: Option<Arc<Outbox>>,
    pub(super) stats: Arc<ClassStats>,
    pub(super) remembered: super::load::Remembered,
    /// The keys there are, if the plan wants them known.
    pub(super) absence: Option<Arc<Absence<K>>>,
    /// Which keys are kept, if not all.
    pub(super) admission: Option<Admission>,
    pub(super) checker: Option<Checker<K>>,
    pub(super) refresher: Option<Refresher<K>>,
    pub(super) load_time: LoadTime,
    /// Of this class on this node: spreads the ends of its entries.
    pub(super) spread_seed: u64,
    pub(super) fleet_waits: FleetWaits,
    /// Loads that go together; none where each goes alone.
    pub(super) together: Option<Together<K, V>>,
    pub(super) crowd: Arc<Crowd>,
    pub(super) need: Need,
    pub(super) provable: bool,
    /// Writes that the source may not have yet, if the class is written behind.
    pub(super) behind: Option<super::pending::Behind>,
}

/// What [`ClassCore`] is made of, apart from what it makes itself.
pub(crate) struct ClassParts<K, V: CacheValue> {
    pub(crate) plan: CacheablePlan,
    pub(crate) form: KeyForm,
    pub(crate) loader: Arc<dyn Loader<K, V>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) feed: Feed,
    pub(crate) clock: Clock,
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) guard: Arc<SourceGuard>,
    pub(crate) stand_ins: StandIns<V>,
    pub(crate) online_checks: bool,
    pub(crate) admission: Option<Admission>,
    pub(crate) behind: Option<WriteBehind>,
}

/// What a class does in the background, besides giving back memory.
pub(crate) struct Background<K> {
    samples: Option<Samples<K>>,
    refreshes: Option<Refreshes<K>>,
}

impl<K: Clone + Send + Sync + 'static> Background<K> {
    /// Starts all of it; it ends with the class.
    pub(crate) fn start<V: CacheValue>(self, core: &Arc<ClassCore<K, V>>) -> impl Iterator<Item = env::Task> {
        let checks = self.samples.map(|samples| samples.check_all(core));
        let refreshes = self.refreshes.map(|refreshes| refreshes.run(core));
        checks.into_iter().chain(refreshes)
    }
}

/// A class of values, keyed by `K`: the typed way to read.
///
/// Cheap to clone; all clones share entries and counters.
pub struct Class<K, V: CacheValue> {
    pub(super) core: Arc<ClassCore<K, V>>,
}

impl<K, V: CacheValue> Clone for Class<K, V> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<K, V: CacheValue> Class<K, V> {
    pub(crate) const fn new(core: Arc<ClassCore<K, V>>) -> Self {
        Self { core }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &CacheablePlan {
        &self.core.plan
    }

    /// The normal form of the keys.
    #[must_use]
    pub fn form(&self) -> &KeyForm {
        &self.core.form
    }

    /// What the class has done.
    #[must_use]
    pub fn stats(&self) -> &Arc<ClassStats> {
        &self.core.stats
    }

    /// Whether the class's hit rate is below its floor, so that loads that are not critical are limited.
    #[must_use]
    pub fn hit_rate_is_low(&self) -> bool {
        self.core.floor.is_low()
    }

    /// Bytes of last known good values that are kept to stand in.
    #[must_use]
    pub fn fallback_bytes(&self) -> usize {
        self.core.stand_ins.weight()
    }

    /// How long the class's loads take at the moment; none before the first.
    #[must_use]
    pub fn load_time(&self) -> Option<Duration> {
        self.core.gate.times().recent()
    }

    /// The entries in memory, for looking at.
    #[must_use]
    pub fn memory(&self) -> &MemoryTier<Entry<V>> {
        &self.core.tier
    }

    /// How the filter of the keys there are is; none where the plan asks for none.
    #[must_use]
    pub fn filter(&self) -> Option<FilterStatus> {
        let core = &self.core;
        core.absence.as_ref().map(|absence| absence.status(&core.ledger, core.catalogue.number()))
    }

    /// The token of a session that has seen `answer`: with it the session never goes back in time.
    ///
    /// Where the answer is not of the epoch that this node is in (the node is in none, has entered another one since, or the
    /// source has moved to one that the feed has not entered yet), the token is of [`EpochId::UNKNOWN`]: positions of two
    /// epochs can't be compared, so only the source can honour it. None for a declared fallback, which shows nothing of the source,
    /// and for what was accepted and may not be in the source yet.
    #[must_use]
    pub fn seen_token(&self, answer: &Cached<V>) -> Option<Token> {
        if matches!(answer.receipt().served_by, ServedBy::Fallback | ServedBy::Pending) {
            return None;
        }
        let epoch = self.core.ledger.epoch_of(answer.entry().proof()).unwrap_or(EpochId::UNKNOWN);
        Some(Token { epoch, position: answer.upper() })
    }
}

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// Reads one key, by the class's own bounds.
    ///
    /// A hit never awaits and allocates nothing, but for the name of a key of more than 24 bytes of text. Under the default policy
    /// it waits for nobody; an entry's first hit waits for who changes memory.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn get(&self, key: &K) -> Result<Cached<V>, ReadError> {
        self.read(key).run().await
    }

    /// Reads one key if memory has a proven answer; never waits.
    ///
    /// # Errors
    /// [`ReadError::Key`].
    pub fn peek(&self, key: &K) -> Result<Option<Cached<V>>, ReadError> {
        let (core, need) = (&self.core, &self.core.need);
        if let Some(found) = core.form.with_name(key, |name| core.hit(key, name, need))? {
            return Ok(Some(found.answer()));
        }
        let found = core.form.with_name(key, |name| core.hit_unread(key, name, need))?;
        Ok(found.map(Found::answer))
    }

    /// A read with demands of its own: a token, a tighter bound.
    pub const fn read<'a>(&'a self, key: &'a K) -> Read<'a, K, V> {
        Read { class: self, key, token: None, max_staleness: None }
    }

    /// Reads several keys, each as [`Class::get`] would; loads that are needed go out together.
    ///
    /// # Errors
    /// [`ReadError`] for all, when one of the keys could not be read.
    pub async fn get_many(&self, keys: &[K]) -> Result<Vec<Cached<V>>, ReadError> {
        self.read_many(keys).run().await
    }

    /// A read of several keys with demands of its own: a token, a tighter bound, one state of the database.
    pub const fn read_many<'a>(&'a self, keys: &'a [K]) -> ReadMany<'a, K, V> {
        ReadMany { class: self, keys, token: None, max_staleness: None, consistent: false }
    }

    /// The value as `transaction` reads it, locked until the transaction ends: the only kind on which a decision may
    /// rest.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn authoritative<'tx, T>(
        &self,
        transaction: &'tx T,
        key: &K,
    ) -> Result<Authoritative<'tx, V>, ReadError>
    where
        T: LockingRead<K, V>,
    {
        Authoritative::read(transaction, key).await
    }
}

impl<V: CacheValue> Class<Key, V> {
    /// Reads a key that is in normal form already (made by [`Class::form`]), if memory has a proven answer: the
    /// way of servers, which have the key as text.
    #[inline]
    pub fn peek_canonical(
        &self,
        key: &Key,
        token: Option<Token>,
        max_staleness: Option<Duration>,
    ) -> Option<Cached<V>> {
        let need = self.core.need_of(token, max_staleness);
        let name = KeyName::of(key.as_str());
        if let Some(found) = self.core.hit(key, name, &need) {
            return Some(found.answer());
        }
        self.core.hit_unread(key, name, &need).map(Found::answer)
    }

    /// A read of a key that is in normal form already.
    pub const fn read_canonical<'a>(&'a self, key: &'a Key) -> Read<'a, Key, V> {
        Read { class: self, key, token: None, max_staleness: None }
    }

    /// A read of several keys that are in normal form already.
    pub const fn read_many_canonical<'a>(&'a self, keys: &'a [Key]) -> ReadMany<'a, Key, V> {
        ReadMany { class: self, keys, token: None, max_staleness: None, consistent: false }
    }
}

impl<K, V: CacheValue> ClassCore<K, V> {
    /// The class's own demands, tightened by the reader's.
    #[inline]
    pub(super) fn need_of(&self, token: Option<Token>, max_staleness: Option<Duration>) -> Need {
        let mut need = self.need;
        if let Some(bound) = max_staleness {
            need.max_staleness = need.max_staleness.min(bound);
        }
        need.token = token.map(|token| self.position_of(token));
        need
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> ClassCore<K, V> {
    /// Builds a class; the samples are to be checked in the background, if there are any, and entries refreshed.
    pub(crate) fn new(parts: ClassParts<K, V>) -> (Arc<Self>, Background<K>) {
        let plan = parts.plan;
        let (checker, samples) = parts
            .online_checks
            .then(|| Checker::new(plan.measurement.check_share))
            .flatten()
            .map_or((None, None), |(checker, samples)| (Some(checker), Some(samples)));
        let gate = Gate::new(
            Arc::clone(&parts.guard),
            parts.clock.clone(),
            plan.guards.priority,
            plan.stampede.loads_max,
            plan.hard_timeout,
        );
        let stats: Arc<ClassStats> = Arc::default();
        let clock = parts.clock.clone();
        let (refresher, refreshes) = Refresher::new(plan.stampede.strategy, plan.cold_start)
            .map_or((None, None), |(refresher, refreshes)| (Some(refresher), Some(refreshes)));
        let core = Arc::new(Self {
            digest: plan.digest(),
            form: parts.form,
            catalogue: parts.loader.catalogue(),
            together: parts.loader.statements_at_once().map(Together::new),
            loader: parts.loader,
            ledger: parts.ledger,
            feed: parts.feed,
            clock: parts.clock,
            tier: MemoryTier::watched(&memory_of(&plan), eviction_ages(&stats, &clock)),
            flights: Flights::new(),
            leases: Leases::new(plan.hard_timeout),
            gate,
            stand_ins: parts.stand_ins,
            floor: FloorState::new(parts.guard, plan.name.clone()),
            outbox: parts.outbox.filter(|_| plan.l2.is_some()),
            stats,
            remembered: super::load::Remembered::new(),
            absence: plan.bloom.map(Absence::new),
            admission: parts.admission,
            checker,
            refresher,
            load_time: LoadTime::default(),
            spread_seed: random::number(),
            fleet_waits: FleetWaits::default(),
            crowd: Arc::default(),
            need: Need { max_staleness: plan.max_staleness, token: None },
            provable: plan.is_provable(),
            behind: parts.behind.map(|engine| super::pending::Behind::new(engine, &plan.name)),
            plan,
        });
        (core, Background { samples, refreshes })
    }

    /// Builds the filter of the keys there are, and keeps it, if the plan asks for one. `share` is its memory.
    pub(crate) fn keep_filter(
        self: &Arc<Self>,
        budget: &Arc<FilterBudget>,
        share: Option<Share>,
        store: Option<&Arc<FilterStore>>,
    ) -> Option<env::Task> {
        let (absence, share) = (self.absence.as_ref()?, share?);
        if let Some(store) = store {
            store.keep(self.plan.name.clone(), absence, Arc::clone(&self.catalogue));
        }
        let loader = Arc::clone(&self.loader);
        let keeper = KeeperParts {
            class: self.plan.name.clone(),
            absence: Arc::clone(absence),
            ledger: Arc::clone(&self.ledger),
            feed: self.feed.clone(),
            clock: self.clock.clone(),
            catalogue: Arc::clone(&self.catalogue),
            key_set: Box::new(move || loader.key_set()),
            budget: Arc::clone(budget),
            share,
            saved: store.and_then(|store| store.take(&self.plan.name)),
        };
        Some(keeper.keep())
    }

    /// Gives back, now and then, the memory of entries that can never be served again, not even in the place of a source that fails.
    pub(crate) fn purge_every(self: &Arc<Self>, period: Duration) -> env::Task {
        let core = Arc::downgrade(self);
        env::spawn("purge", async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(core) = core.upgrade() else { return };
                core.purge();
            }
        })
    }

    fn purge(&self) {
        /// Entries looked at in one go: about a millisecond.
        const BUDGET: usize = 10_000;
        let (now, epoch) = (self.clock.now(), self.ledger.epoch_number());
        self.leases.purge(now);
        self.purge_pending(now);
        self.tier.purge(BUDGET, |entry| {
            let proof = entry.proof();
            let is_over = proof.standing() == Standing::Discarded
                || proof.epochs().source != epoch
                || now > entry.hard_expires()
                || (!self.provable && now > entry.expires());
            is_over && !self.may_stand_in(entry, &self.need, now)
        });
    }
}

/// Counts how old entries are that have to make room. Of one that another node loaded nobody here knows.
fn eviction_ages<V>(stats: &Arc<ClassStats>, clock: &Clock) -> impl Fn(&Entry<V>) + Send + Sync + use<V> {
    let (stats, clock) = (Arc::clone(stats), clock.clone());
    move |entry| {
        if entry.loaded() > env::Nanos::ZERO {
            stats.evicted_at(clock.now().since(entry.loaded()));
        }
    }
}

/// The memory tier that a plan asks for.
fn memory_of(plan: &CacheablePlan) -> MemoryConfig {
    let policy = match plan.l1.eviction {
        Eviction::S3Fifo => Policy::S3Fifo,
        Eviction::Lru => Policy::Lru,
        Eviction::Lfu => Policy::Lfu,
        Eviction::Fifo => Policy::Fifo,
        Eviction::Sieve => Policy::Sieve,
    };
    let config = MemoryConfig::new(plan.l1.capacity_bytes).with_policy(policy);
    match &plan.admission {
        Some(admission) => config.with_entries_max(admission.keys_max.get() as usize),
        None => config,
    }
}
