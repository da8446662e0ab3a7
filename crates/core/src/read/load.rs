//! A load: remote tier, source, proof, memory.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{ClassCore, together::Member, turn::Turn};
use crate::{
    class::L2Plan,
    entry::CacheValue,
    env::{BoxFuture, Nanos, random, seldom},
    fill::{Ending, Fetched, Filled, Lead, Outbox, Place, Wanted},
    guard::Admission,
    key::{Key, KeyHashBuilder},
    proof::{Carrier, Ledger, Load, Proof, Rejected, Seen, Snapshot, Standing, Tags, Unproven},
    receipt::{ServedBy, content_version},
    source::{LoadError, Loaded},
    tier::{Entry, RemoteKey, Stay, jittered},
};

/// How long a load on a standby may take, until its value is released. Beyond it the primary is asked.
const STANDBY_WAIT_MAX: Duration = Duration::from_secs(1);

/// An entry on its way into memory, which is shared with other nodes once it is settled.
struct Settling<V> {
    entry: Arc<Entry<V>>,
    share: Share,
}

struct Share {
    outbox: Arc<Outbox>,
    ledger: Arc<Ledger>,
    key: RemoteKey,
    class_digest: [u8; 16],
    l2: L2Plan,
    hard_life: Duration,
    value: Option<Bytes>,
}

impl<V: CacheValue> Carrier for Settling<V> {
    fn proof(&self) -> &Proof {
        self.entry.proof()
    }

    fn settled(self: Arc<Self>) {
        let Self { entry, share } = &*self;
        let place = Place {
            key: &share.key,
            class_digest: share.class_digest,
            at_rest: share.l2.at_rest,
            life: share.l2.life,
            hard_life: Some(share.hard_life),
            loaded: entry.loaded(),
        };
        share.outbox.share(&place, &share.ledger, entry.proof(), share.value.clone(), entry.version());
    }
}

/// An entry that stays on this node.
impl<V: CacheValue> Carrier for Entry<V> {
    fn proof(&self) -> &Proof {
        self.proof()
    }

    fn settled(self: Arc<Self>) {}
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Fills one key and ends the flight, whatever happens.
    pub(super) async fn fill(self: Arc<Self>, lead: Lead<V>, key: K, tiers: bool) {
        if tiers && let Some(filled) = self.look_up_tier(lead.key()).await {
            lead.end(Ending::Filled(filled));
            return;
        }
        if self.is_aside() {
            lead.end(Ending::Failed(LoadError::Unfilled));
            return;
        }
        // Whoever is ahead of the feed, or of a node that does not know how far the source is, is helped by the primary alone.
        self.load_in_turn(lead, key, tiers, tiers).await;
    }

    /// Loads one key, or takes what another node loads meanwhile if `others` may help, and ends the flight.
    pub(super) async fn load_in_turn(self: &Arc<Self>, lead: Lead<V>, key: K, others: bool, standby: bool) {
        let turn = if others && self.fleet_locks().is_some() {
            seldom(self.turn(lead.key(), &lead.flight())).await
        } else {
            Turn::Load(None)
        };
        match turn {
            Turn::Load(hold) => self.load_or_join(Member { lead, key, standby, hold }).await,
            Turn::Found(filled) => lead.end(Ending::Filled(filled)),
        }
    }

    /// What memory holds by now (another load of the key may have ended since the reader looked), or else what another
    /// node has shared.
    pub(super) async fn look_up_tier(&self, key: &Key) -> Option<Filled<V>> {
        if let Some(filled) = self.look_up_memory(key) {
            return Some(filled);
        }
        self.outbox.as_ref()?;
        let entry = seldom(self.fetch(&[key])).await.pop()??;
        Some(Filled { entry, from: ServedBy::L2, at_once: false })
    }

    fn look_up_memory(&self, key: &Key) -> Option<Filled<V>> {
        let entry = self.tier.get(key.as_str()).filter(|entry| self.judge(entry, &self.need).is_ok())?;
        Some(Filled { entry, from: ServedBy::L1, at_once: false })
    }

    /// The same for each of `keys`.
    pub(super) async fn look_up_tiers(&self, keys: &[&Key]) -> Vec<Option<Filled<V>>> {
        let mut found: Vec<_> = keys.iter().map(|key| self.look_up_memory(key)).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|index| found[*index].is_none()).collect();
        let wanted: Vec<&Key> = missing.iter().map(|index| keys[*index]).collect();
        for (index, entry) in missing.into_iter().zip(self.fetch(&wanted).await) {
            found[index] = entry.map(|entry| Filled { entry, from: ServedBy::L2, at_once: false });
        }
        found
    }

    pub(super) async fn load(&self, lead: &Lead<V>, key: &K, standby: bool) -> Result<Filled<V>, LoadError> {
        let admission = self.gate.admit().await?;
        self.load_with(admission, lead, key, standby).await
    }

    /// The same, in a place that has been found for it.
    pub(super) async fn load_with(
        &self,
        admission: Admission<'_>,
        lead: &Lead<V>,
        key: &K,
        standby: bool,
    ) -> Result<Filled<V>, LoadError> {
        let _counted = InFlight::begin(self);
        if standby
            && let Some(asked) = self.ask_standby(key)
            && let Some(entry) = seldom(self.load_on_standby(lead, asked)).await
        {
            return Ok(Filled { entry, from: ServedBy::Source, at_once: false });
        }
        // Before the query is sent, all three: the clock, the floor, and the mark for readers who come later.
        let started = self.clock.now();
        let load = self.ledger.begin_load(started, self.catalogue.number().load(Ordering::Acquire));
        lead.sending(started);
        let limit = self.plan.hard_timeout;
        let result = match tokio::time::timeout(limit, self.loader.load(key)).await {
            Ok(result) => result,
            Err(_) => Err(LoadError::TimedOut { limit_ms: limit.as_millis() as u64 }),
        };
        let took = self.clock.now().since(started);
        self.stats.loaded(result.as_ref().map(|loaded| loaded.value.is_some()), took);
        admission.ended(result.as_ref().map(drop), took);
        let Loaded { value, tags, seen } = result?;
        self.note_found(value.is_some());
        self.load_time.note(took);
        let entry = self.admit(load, lead.key().clone(), value, tags, seen, took);
        Ok(Filled { entry, from: ServedBy::Source, at_once: true })
    }

    /// The question to a standby, where there is one and what it says can be proven.
    fn ask_standby<'k>(&'k self, key: &'k K) -> Option<BoxFuture<'k, Result<Loaded<V>, LoadError>>> {
        if self.provable { self.loader.load_on_standby(key) } else { None }
    }

    /// A value of a standby, if it is proven here, fresh enough for the class, and the primary shows all that it may show: a
    /// standby can be ahead of what the primary shows, and a reader must not go back in time. Until then nobody sees it. None
    /// in any other case: the primary is asked then.
    async fn load_on_standby(
        &self,
        lead: &Lead<V>,
        asked: BoxFuture<'_, Result<Loaded<V>, LoadError>>,
    ) -> Option<Arc<Entry<V>>> {
        let limit = STANDBY_WAIT_MAX.min(self.plan.hard_timeout / 2);
        let started = self.clock.now();
        let load = self.ledger.begin_load(started, self.catalogue.number().load(Ordering::Acquire));
        lead.sending(started);
        let released = async {
            let loaded =
                asked.await.ok().filter(|loaded| matches!(loaded.seen.snapshot, Snapshot::Replayed(_)))?;
            let took = self.clock.now().since(started);
            let (upper, present) = (loaded.seen.upper, loaded.value.is_some());
            // Not shared with other nodes: it may be settled before it is released.
            let (entry, judged) = self.judge_load(load, lead.key().clone(), loaded, took, false);
            let may_stay = judged.inspect_err(|why| self.stats.rejected(*why)).ok()?;
            self.feed.until_visible(upper).await;
            self.judge(&entry, &self.need).ok()?;
            self.stats.loaded(Ok(present), took);
            self.load_time.note(took);
            if may_stay {
                self.keep(&entry);
            }
            Some(entry)
        };
        tokio::time::timeout(limit, released).await.ok()?
    }

    /// Judges what was loaded on the primary and keeps it if it may be kept. The entry is answered in any case.
    pub(super) fn admit(
        &self,
        load: Load,
        key: Key,
        value: Option<V>,
        tags: Tags,
        seen: Seen,
        took: Duration,
    ) -> Arc<Entry<V>> {
        let (entry, judged) = self.judge_load(load, key, Loaded { value, tags, seen }, took, true);
        match judged {
            Ok(true) => self.keep(&entry),
            Ok(false) => {}
            Err(why) => self.stats.rejected(why),
        }
        entry
    }

    /// Makes an entry of what was loaded; whether it may be kept, by the plan, if it may be by the proof. `primary` says
    /// that it was true when the load began; only such a one is shared.
    pub(super) fn judge_load(
        &self,
        load: Load,
        key: Key,
        loaded: Loaded<V>,
        took: Duration,
        primary: bool,
    ) -> (Arc<Entry<V>>, Result<bool, Rejected>) {
        let Loaded { value, tags, seen } = loaded;
        let encoded = value.as_ref().map(CacheValue::to_bytes);
        let bytes = encoded.as_ref().map_or(0, |encoded| encoded.as_ref().map_or(0, Bytes::len));
        let version = version_of_bytes(&encoded);
        let refused =
            self.refused_by_plan(value.is_none(), &encoded, bytes) || self.refused_by_admission(&key);
        let absent = value.is_none();
        let mut stay = self.stay(load.started(), took, absent, self.draw_of(&key));
        if !primary {
            // It was not true then, but some time before: only its proof tells when.
            stay.loaded = Nanos::ZERO;
        }
        let share = self
            .share_of(&key, encoded.and_then(Result::ok), absent, load.class_epoch())
            .filter(|_| primary && !refused);
        let build = |proof| {
            let value_bytes = bytes + size_of::<V>();
            Arc::new(Entry::new(key, value, version, value_bytes, proof, stay))
        };
        let upper = seen.upper;
        let (entry, kept) = match share {
            None => load.admit(tags, seen, build),
            Some(share) => {
                let build = |proof| Arc::new(Settling { entry: build(proof), share });
                let (settling, kept) = load.admit(tags, seen, build);
                (Arc::clone(&settling.entry), kept)
            }
        };
        self.feed.seen(upper);
        (entry, kept.map(|()| !refused))
    }

    fn refused_by_plan<E>(&self, absent: bool, encoded: &Option<Result<Bytes, E>>, bytes: usize) -> bool {
        if bytes > self.plan.value_bytes_max {
            self.stats.rejected_too_large();
            return true;
        }
        let refused = (absent && self.plan.negative_life.is_none()) || matches!(encoded, Some(Err(_)));
        if refused {
            self.stats.rejected_by_plan();
        }
        refused
    }

    fn share_of(&self, key: &Key, value: Option<Bytes>, absent: bool, class_epoch: u64) -> Option<Share> {
        let (outbox, l2) = (self.outbox.as_ref()?, self.plan.l2.as_ref()?);
        let (number, shape) = self.catalogue.both();
        if number != class_epoch {
            // The shape moved during the load: nobody knows which of the two the value has.
            return None;
        }
        let life = if absent { l2.life.min(self.plan.negative_life?) } else { l2.life };
        Some(Share {
            outbox: Arc::clone(outbox),
            ledger: Arc::clone(&self.ledger),
            key: self.remote_key(key),
            class_digest: self.digest_of(shape),
            l2: L2Plan { life: jittered(life, self.plan.jitter, random::number()), at_rest: l2.at_rest },
            hard_life: self.plan.hard_age,
            value,
        })
    }

    /// Stores an entry, unless memory holds a better one.
    pub(super) fn keep(&self, entry: &Arc<Entry<V>>) {
        self.remembered.insert(entry.canonical_key().as_str());
        self.stand_ins.keep(entry);
        let _ = self.tier.insert_unless(Arc::clone(entry), |held, new| {
            let (of_held, of_new) = (held.proof(), new.proof());
            of_held.epochs() == of_new.epochs()
                && of_held.standing() != Standing::Discarded
                && (of_held.upper() > of_new.upper() || self.outlasts(held, new))
        });
    }

    /// Whether `held` says the same as `new` and may be good for longer: the feed is away, nothing but its silence keeps `held`
    /// from being served, and what waits to be settled is lost with the feed's connection. Else each entry that is read
    /// meanwhile would be loaded once more when the feed is back.
    fn outlasts(&self, held: &Entry<V>, new: &Entry<V>) -> bool {
        let is_settled = |entry: &Entry<V>| matches!(entry.proof().standing(), Standing::Settled(_));
        let outlasts = self.provable
            && is_settled(held)
            && !is_settled(new)
            && held.version() == new.version()
            && self.clock.now() <= held.hard_expires()
            && self.judge(held, &self.need) == Err(Unproven::TooOld);
        if outlasts {
            // Where it must stand in for a source that fails, it is no older than this.
            held.proof().seen_true(new.loaded());
        }
        outlasts
    }

    /// The entries that other nodes shared, where they are genuine and proven here.
    pub(super) async fn fetch(&self, keys: &[&Key]) -> Vec<Option<Arc<Entry<V>>>> {
        let Some(outbox) = self.outbox.as_ref().filter(|_| !keys.is_empty()) else { return Vec::new() };
        let started = self.clock.now();
        let places: Vec<RemoteKey> = keys.iter().map(|key| self.remote_key(key)).collect();
        let fetching = outbox.fetch(&places, self.wanted(), &self.ledger);
        // A tier has a deadline of its own; one that forgets it must not keep its keys from the source.
        let fetched = tokio::time::timeout(self.plan.hard_timeout, fetching).await.unwrap_or_default();
        let adopt = |(key, fetched): (&&Key, Option<Fetched>)| self.adopt(key, fetched?, started);
        keys.iter().zip(fetched).map(adopt).collect()
    }

    /// Takes over an entry that another node loaded, if it is proven here.
    fn adopt(&self, key: &Key, fetched: Fetched, started: Nanos) -> Option<Arc<Entry<V>>> {
        let entry = self.entry_of(key, fetched, started)?;
        self.judge(&entry, &self.need).ok()?;
        let entry = Arc::new(entry);
        self.keep(&entry);
        Some(entry)
    }

    /// The entry that was read from the remote tier, begun to be read at `started`; none if its value makes no sense here.
    pub(super) fn entry_of(&self, key: &Key, fetched: Fetched, started: Nanos) -> Option<Entry<V>> {
        let bytes = fetched.value.as_ref().map_or(0, Bytes::len);
        let value = match &fetched.value {
            Some(bytes) => Some(V::decode(bytes).ok()?),
            None => None,
        };
        let draw = self.draw_of(key);
        let mut stay = self.stay(started, Duration::ZERO, value.is_none(), draw);
        // Nobody here knows when it was loaded. A proof needs no such time; an age has to do with the wall clocks'.
        stay.loaded =
            if self.provable { Nanos::ZERO } else { Nanos(started.0.saturating_sub(nanos(fetched.age))) };
        // Its ends are those that it has for a node that draws as this one does, counted from its load.
        let spread = |life| jittered(life, self.plan.jitter, draw);
        if let Some(left) = fetched.hard_life {
            let sooner = self.plan.hard_age - spread(self.plan.hard_age);
            stay.hard_expires = stay.hard_expires.min(started.after(left.saturating_sub(sooner)));
        }
        if !self.provable {
            stay.expires = stay.expires.min(stay.loaded.after(spread(self.plan.life)));
        }
        self.time_refresh(&mut stay, started);
        let weight = bytes + size_of::<V>();
        Some(Entry::new(key.clone(), value, fetched.version, weight, fetched.proof, stay))
    }

    /// What the bytes of a value mean: the plan, and the shape of the relations that are read.
    fn digest_of(&self, shape: [u8; 16]) -> [u8; 16] {
        std::array::from_fn(|i| self.digest[i] ^ shape[i])
    }

    /// What is taken from the remote tier now.
    pub(super) fn wanted(&self) -> Wanted {
        let (class_epoch, shape) = self.catalogue.both();
        Wanted {
            class_digest: self.digest_of(shape),
            class_epoch,
            value_bytes_max: self.plan.value_bytes_max,
        }
    }

    pub(super) fn remote_key(&self, key: &Key) -> RemoteKey {
        let class = self.plan.name.as_str();
        RemoteKey::new(class, key.digest(class))
    }

    /// What spreads the ends of a key's entries on this node: one draw for all of them. Of several the earliest would come early more
    /// often than late, and an entry that is looked up in the remote tier at its end would be given another, until the latest is reached;
    /// what was loaded together would end together after all. Other nodes draw otherwise: the first that loads spares the rest.
    fn draw_of(&self, key: &Key) -> u64 {
        xxh3_64_with_seed(key.as_str().as_bytes(), self.spread_seed)
    }

    /// How long an entry may stay, its ends spread by `draw`.
    fn stay(&self, loaded: Nanos, load_time: Duration, absent: bool, draw: u64) -> Stay {
        let expires = loaded.after(self.life_in_memory(absent, draw));
        let hard_age = jittered(self.plan.hard_age, self.plan.jitter, draw);
        let hard_expires = loaded.after(hard_age);
        let mut stay = Stay { loaded, load_time, expires, hard_expires, refresh_from: Nanos(u64::MAX) };
        self.time_refresh(&mut stay, loaded);
        stay
    }

    /// When the entry that begins its stay at `began` may be refreshed before its end.
    fn time_refresh(&self, stay: &mut Stay, began: Nanos) {
        if self.refresher.is_none() {
            return;
        }
        let end = if self.provable { stay.hard_expires } else { stay.expires.min(stay.hard_expires) };
        let load_time =
            Some(stay.load_time).filter(|time| !time.is_zero()).or_else(|| self.load_time.usual());
        let window = self.refresh_window(load_time.unwrap_or_default(), end.since(began));
        stay.refresh_from = Nanos(end.0.saturating_sub(nanos(window)));
    }
}

impl<K, V: CacheValue> ClassCore<K, V> {
    /// How long an entry stays in memory before it is renewed or reloaded: shortened by `draw`, a random number, so that entries
    /// loaded together do not end together.
    pub(super) fn life_in_memory(&self, absent: bool, draw: u64) -> Duration {
        let life = self.plan.l1.life.min(self.plan.life);
        let life = if absent { life.min(self.plan.negative_life.unwrap_or(life)) } else { life };
        jittered(life, self.plan.jitter, draw)
    }
}

/// A number that identifies a value's content, or absence.
pub(super) fn version_of<V: CacheValue>(value: Option<&V>) -> u64 {
    version_of_bytes(&value.map(CacheValue::to_bytes))
}

fn version_of_bytes<E>(encoded: &Option<Result<Bytes, E>>) -> u64 {
    // A value without an encoding is never kept, so its version is never compared.
    content_version(encoded.as_ref().and_then(|encoded| encoded.as_deref().ok()))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts a load while it is under way, however it ends.
pub(super) struct InFlight<'a>(&'a crate::stats::ClassStats);

impl<'a> InFlight<'a> {
    pub(super) fn begin<K, V: CacheValue>(core: &'a ClassCore<K, V>) -> Self {
        core.stats.load_began();
        Self(&core.stats)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.load_ended();
    }
}

/// Which keys were stored lately, roughly: tells an evicted key from one never seen, for the miss reasons alone.
pub(super) struct Remembered {
    prints: Box<[AtomicU32]>,
    hasher: KeyHashBuilder,
}

impl Remembered {
    /// Prints kept, 4 bytes each; a later key of the same slot takes the place.
    const PRINTS: usize = 1 << 15;

    pub(super) fn new() -> Self {
        let prints = (0..Self::PRINTS).map(|_| AtomicU32::new(0)).collect();
        Self { prints, hasher: KeyHashBuilder::default() }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        let (slot, print) = self.place(key);
        slot.load(Ordering::Relaxed) == print
    }

    fn insert(&self, key: &str) {
        let (slot, print) = self.place(key);
        slot.store(print, Ordering::Relaxed);
    }

    fn place(&self, key: &str) -> (&AtomicU32, u32) {
        let hash = self.hasher.hash_one(key);
        (&self.prints[hash as usize % Self::PRINTS], (hash >> 32) as u32 | 1)
    }
}
