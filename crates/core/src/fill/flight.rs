//! Single-flight: one load of a key, and everybody who waits for it.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    env::Nanos,
    key::{Key, KeyHashBuilder},
    limits,
    receipt::ServedBy,
    source::LoadError,
    tier::Entry,
};

/// Maps of flights, so that misses of different keys rarely meet on one lock.
const SHARDS: usize = 16;

/// How a load ended, for everybody who waited for it.
#[derive(Debug)]
pub(crate) enum Ending<V> {
    /// A value or an absence.
    Filled(Filled<V>),
    /// An error: the source's own, a time-out, or [`LoadError::Lost`] when the loading task died.
    Failed(LoadError),
}

/// What a load brought.
#[derive(Debug)]
pub(crate) struct Filled<V> {
    pub(crate) entry: Arc<Entry<V>>,
    /// The source, or the tier in which it was found after all.
    pub(crate) from: ServedBy,
    /// Read on the primary: true as of the load's start, whatever the feed says.
    pub(crate) at_once: bool,
}

impl<V> Clone for Filled<V> {
    fn clone(&self) -> Self {
        Self { entry: Arc::clone(&self.entry), from: self.from, at_once: self.at_once }
    }
}

impl<V> Clone for Ending<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Filled(filled) => Self::Filled(filled.clone()),
            Self::Failed(error) => Self::Failed(error.clone()),
        }
    }
}

/// One load under way.
pub(crate) struct Flight<V> {
    /// When its query was sent; zero while it has not been.
    sent: AtomicU64,
    ending: OnceLock<Ending<V>>,
    ended: Notify,
    /// Somebody waits who must not wait for another node.
    hurry: Notify,
    waiting: AtomicUsize,
}

impl<V> Flight<V> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sent: AtomicU64::new(0),
            ending: OnceLock::new(),
            ended: Notify::new(),
            hurry: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// From now on the load waits for no other node.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Returns when [`Flight::hurry`] was called; for the one who loads.
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Whether the query is certainly sent after `arrived`: if so its answer is true for a reader who arrived then. Ask
    /// before waiting.
    pub(crate) fn is_after(&self, arrived: Nanos) -> bool {
        match self.sent.load(Ordering::Acquire) {
            0 => true,
            sent => sent > arrived.0,
        }
    }

    /// Waits for the end.
    pub(crate) async fn ending(&self) -> Ending<V> {
        loop {
            let ended = self.ended.notified();
            if let Some(ending) = self.ending.get() {
                return ending.clone();
            }
            ended.await;
        }
    }
}

/// All readers of a class who wait for loads that others have begun.
#[derive(Debug, Default)]
pub(crate) struct Crowd(AtomicUsize);

/// A place among those who wait, left when dropped.
pub(crate) struct Waiting<V> {
    flight: Arc<Flight<V>>,
    crowd: Arc<Crowd>,
}

impl<V> Waiting<V> {
    /// None where so many wait for the load, or in the whole class, that one more is refused.
    pub(crate) fn begin(flight: &Arc<Flight<V>>, crowd: &Arc<Crowd>) -> Option<Self> {
        let below = |counter: &AtomicUsize, most: usize| {
            let one_more = |count: usize| (count < most).then_some(count + 1);
            counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
        };
        if !below(&crowd.0, limits::CLASS_WAITERS_MAX) {
            return None;
        }
        if !below(&flight.waiting, limits::FLIGHT_WAITERS_MAX) {
            crowd.0.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self { flight: Arc::clone(flight), crowd: Arc::clone(crowd) })
    }
}

impl<V> Drop for Waiting<V> {
    fn drop(&mut self) {
        self.flight.waiting.fetch_sub(1, Ordering::Relaxed);
        self.crowd.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The loads of one class that are under way.
pub(crate) struct Flights<V> {
    shards: [Mutex<FlightMap<V>>; SHARDS],
    hasher: KeyHashBuilder,
}

type FlightMap<V> = HashMap<Key, Arc<Flight<V>>, KeyHashBuilder>;

/// What a reader who missed has to do.
pub(crate) enum Role<V> {
    /// Load, for itself and for whoever joins.
    Lead(Lead<V>),
    /// Wait for this load.
    Follow(Arc<Flight<V>>),
}

impl<V> Flights<V> {
    pub(crate) fn new() -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { shards, hasher: KeyHashBuilder::default() })
    }

    /// Joins the load of `key` that is under way, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: &Key) -> Role<V> {
        let mut flights = self.shard(key).lock();
        match flights.get(key) {
            Some(flight) => Role::Follow(Arc::clone(flight)),
            None => {
                let flight = Flight::new();
                flights.insert(key.clone(), Arc::clone(&flight));
                Role::Lead(Lead { flights: Arc::clone(self), key: key.clone(), flight })
            }
        }
    }

    fn shard(&self, key: &Key) -> &Mutex<FlightMap<V>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// The duty to load. Dropped without an ending, it ends the flight as lost, so that nobody waits for ever.
pub(crate) struct Lead<V> {
    flights: Arc<Flights<V>>,
    key: Key,
    flight: Arc<Flight<V>>,
}

impl<V> Lead<V> {
    /// The key to load.
    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// The flight itself, to wait for.
    pub(crate) fn flight(&self) -> Arc<Flight<V>> {
        Arc::clone(&self.flight)
    }

    /// Notes that the query is about to be sent: who arrives later may not take its answer unchecked.
    pub(crate) fn sending(&self, now: Nanos) {
        self.flight.sent.store(now.0.max(1), Ordering::Release);
    }

    /// Ends the flight: everybody who waits has the same answer, at once.
    pub(crate) fn end(self, ending: Ending<V>) {
        // Set once; the drop that follows wakes everybody.
        let _ = self.flight.ending.set(ending);
    }
}

impl<V> Drop for Lead<V> {
    fn drop(&mut self) {
        let _ = self.flight.ending.set(Ending::Failed(LoadError::Lost));
        // From here on a reader begins a new load.
        self.flights.shard(&self.key).lock().remove(&self.key);
        self.flight.ended.notify_waiters();
    }
}
