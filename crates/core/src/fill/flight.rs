//! Single-flight: one load of a key, and everybody who waits for it.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    hash::BuildHasher,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{self, AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    env::{self, BoxFuture, Nanos},
    key::{Key, KeyHashBuilder},
    limits,
    receipt::ServedBy,
    source::LoadError,
    tier::Entry,
};

/// Maps of flights, so that misses of different keys rarely meet on one lock.
const SHARDS: usize = 16;

/// How long a reader drives its load, at most: whoever is not polled any more holds up others for no longer.
const DRIVEN_MAX: Duration = Duration::from_millis(50);
/// So many looks at nothing, and the watch ends until there is a load again.
const IDLE_LOOKS: u32 = 40;

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
    /// The load itself while a reader drives it, and none where it has a task of its own.
    driven: Mutex<Option<Driven>>,
    /// It is to have one: others wait for it, or its reader has left.
    shared: AtomicBool,
    /// Found to be driven by its reader when somebody last looked.
    slow: AtomicBool,
}

/// A load that the reader who has begun it drives: between two tasks each step of it would wait for a turn.
struct Driven {
    load: BoxFuture<'static, ()>,
    /// Of the reader, once it has begun: woken when others take the load from it, for it then waits as they do.
    reader: Option<Waker>,
}

impl<V> Flight<V> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sent: AtomicU64::new(0),
            ending: OnceLock::new(),
            ended: Notify::new(),
            hurry: Notify::new(),
            waiting: AtomicUsize::new(0),
            driven: Mutex::new(None),
            shared: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        })
    }

    /// Gives the load a task of its own if its reader has driven it until now: somebody else needs it, or its reader may poll
    /// it no more.
    fn detach(&self) {
        self.shared.store(true, Ordering::Relaxed);
        self.hand_over();
    }

    /// Whether there is more to drive.
    fn drive(&self, context: &mut Context<'_>) -> bool {
        let mut slot = self.driven.lock();
        let Some(driven) = slot.as_mut() else { return false };
        // As in a task of its own: a loader that panics loses the load, and not its reader.
        let polled = catch_unwind(AssertUnwindSafe(|| driven.load.as_mut().poll(context)));
        let is_pending = matches!(polled, Ok(Poll::Pending));
        if is_pending {
            if !driven.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                driven.reader = Some(context.waker().clone());
            }
        } else {
            *slot = None;
        }
        drop(slot);
        self.hand_over();
        is_pending
    }

    /// Does what [`Flight::detach`] has asked for. To be called by whoever had the load under lock, when that is over: nobody who
    /// detaches waits for a loader that computes.
    fn hand_over(&self) {
        // Of one who asks and finds a lock, and one who unlocks and looks whether anybody asked, at least one sees the other.
        atomic::fence(Ordering::SeqCst);
        if self.shared.load(Ordering::Relaxed)
            && let Some(mut driven) = self.driven.try_lock()
            && let Some(Driven { load, reader }) = driven.take()
        {
            // A task begins with a poll: no wake of the reader is missed.
            env::spawn_if_running("load", load);
            reader.into_iter().for_each(Waker::wake);
        }
    }

    fn is_driven(&self) -> bool {
        let driven = self.driven.try_lock().is_none_or(|driven| driven.is_some());
        self.hand_over();
        driven
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
    /// Whether loads that readers drive are [looked after](Flights::look_after).
    watched: AtomicBool,
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
        Arc::new(Self { shards, hasher: KeyHashBuilder::default(), watched: AtomicBool::new(false) })
    }

    /// Joins the load of `key` that is under way, which then no longer depends on the reader who has begun it, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: &Key) -> Role<V> {
        let mut flights = self.shard(key).lock();
        match flights.get(key) {
            Some(flight) => {
                let flight = Arc::clone(flight);
                drop(flights);
                flight.detach();
                Role::Follow(flight)
            }
            None => {
                let flight = Flight::new();
                flights.insert(key.clone(), Arc::clone(&flight));
                Role::Lead(Lead { flights: Arc::clone(self), key: key.clone(), flight })
            }
        }
    }

    /// Has the reader drive the load it has begun, as long as nobody else waits for it and it is quick. A load holds a place among
    /// those of its source, and the reader may poll no more without leaving: then somebody else has to go on with it.
    pub(crate) fn drive(self: &Arc<Self>, flight: &Arc<Flight<V>>, load: BoxFuture<'static, ()>) -> Driving<V>
    where
        V: Send + Sync + 'static,
    {
        *flight.driven.lock() = Some(Driven { load, reader: None });
        flight.hand_over();
        // Either this sees that nobody watches, or who has just ceased to watch sees the load.
        atomic::fence(Ordering::SeqCst);
        if !self.watched.load(Ordering::Relaxed) && !self.watched.swap(true, Ordering::Relaxed) {
            env::spawn("watch over loads", watch(Watch(Arc::downgrade(self))));
        }
        Driving(Arc::clone(flight))
    }

    /// Gives a task of its own to each load that a reader has driven since the last call; how many others readers drive.
    fn look_after(&self) -> usize {
        let mut driven = 0;
        for shard in &self.shards {
            let flights: Vec<_> = shard.lock().values().map(Arc::clone).collect();
            for flight in flights {
                if flight.slow.swap(true, Ordering::Relaxed) {
                    flight.detach();
                } else {
                    driven += usize::from(flight.is_driven());
                }
            }
        }
        driven
    }

    fn shard(&self, key: &Key) -> &Mutex<FlightMap<V>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// A load that its reader drives: held by that reader alone, for of two who drive only one would be woken. Dropped, it leaves the load
/// to a task.
pub(crate) struct Driving<V>(Arc<Flight<V>>);

impl<V> Driving<V> {
    /// Waits for the end, and drives the load until then or until it has a task of its own.
    pub(crate) async fn ending(&mut self) -> Ending<V> {
        let flight = &self.0;
        let mut ending = pin!(flight.ending());
        // While it drives the load it is woken by the load alone.
        poll_fn(|context| if flight.drive(context) { Poll::Pending } else { ending.as_mut().poll(context) })
            .await
    }
}

impl<V> Drop for Driving<V> {
    fn drop(&mut self) {
        self.0.detach();
    }
}

/// The duty to look after the loads of a class, until its runtime or the class ends.
struct Watch<V>(Weak<Flights<V>>);

impl<V> Drop for Watch<V> {
    fn drop(&mut self) {
        if let Some(flights) = self.0.upgrade() {
            flights.watched.store(false, Ordering::Relaxed);
        }
    }
}

/// Looks after loads until there have been none for a while.
async fn watch<V>(mut watch: Watch<V>) {
    let mut idle = 0;
    while idle < IDLE_LOOKS {
        tokio::time::sleep(DRIVEN_MAX / 2).await;
        let Some(flights) = watch.0.upgrade() else { return };
        idle = if flights.look_after() > 0 { 0 } else { idle + 1 };
        if idle == IDLE_LOOKS {
            flights.watched.store(false, Ordering::Relaxed);
            atomic::fence(Ordering::SeqCst);
            if flights.look_after() == 0 || flights.watched.swap(true, Ordering::Relaxed) {
                // Nothing is left to look after, or another task has begun to.
                watch.0 = Weak::new();
            } else {
                idle = 0;
            }
        }
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

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
    use tokio::sync::oneshot;

    use super::*;

    const SEED: u64 = 20_261_126;

    /// Whether it has ended by one poll more.
    async fn poll_once(mut future: std::pin::Pin<&mut (impl Future + ?Sized)>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
    }

    /// Each of its steps takes a little while, so that others come in the middle of one; the last is that somebody has joined, after
    /// which nothing wakes who waited for it before.
    async fn steps(count: u32, joined: oneshot::Receiver<()>, lead: Lead<()>) {
        for _ in 0..count {
            (0..2_000).for_each(|_| std::hint::spin_loop());
            tokio::task::yield_now().await;
        }
        (0..2_000).for_each(|_| std::hint::spin_loop());
        let _ = joined.await;
        lead.end(Ending::Failed(LoadError::Unfilled));
    }

    /// The reader stops polling, leaves, or goes on, while another joins on another thread: whichever comes first, the load goes on,
    /// and whoever waits for it is told of its end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_joins_waits_for_no_reader_and_no_reader_is_forgotten() {
        let mut random = SmallRng::seed_from_u64(SEED);
        let flights = Flights::<()>::new();
        // Nobody looks after loads here: what is handed over late would be found by that.
        flights.watched.store(true, Ordering::Relaxed);
        for round in 0..1_000 {
            let key = Key::from_canonical(format!("item|{round}").into());
            let (count, polls, then) =
                (random.random_range(0..6), random.random_range(0..6), random.random_range(0..3));
            let Role::Lead(lead) = flights.join(&key) else { panic!("seed {SEED}, round {round}: no lead") };
            let flight = lead.flight();
            let (others, name) = (Arc::clone(&flights), key.clone());
            let ((sender, follower), (join, joined)) = (oneshot::channel(), oneshot::channel());
            env::spawn("follower", async move {
                let Role::Follow(flight) = others.join(&name) else { return };
                // Later than the load's new task has begun: what it waits for then wakes the task alone.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let _ = join.send(());
                flight.ending().await;
                let _ = sender.send(());
            });
            let mut driving = flights.drive(&flight, Box::pin(steps(count, joined, lead)));
            let mut reader = Box::pin(async move { driving.ending().await });
            let mut has_ended = false;
            for _ in 0..polls {
                has_ended = has_ended || poll_once(reader.as_mut()).await;
            }
            let in_time = async |waits: BoxFuture<'_, ()>| {
                let ended = tokio::time::timeout(Duration::from_secs(30), waits).await;
                assert!(ended.is_ok(), "seed {SEED}, round {round}: somebody waits for ever");
            };
            match then {
                0 => drop(reader),
                1 if !has_ended => {
                    // In a task of its own: a timeout would poll it once more at its end, woken or not.
                    let (sender, ended) = oneshot::channel();
                    env::spawn("reader", async move {
                        reader.await;
                        let _ = sender.send(());
                    });
                    in_time(Box::pin(async { assert!(ended.await.is_ok(), "the reader has its answer") }))
                        .await;
                }
                // Held, and polled no more.
                _ => {}
            }
            in_time(Box::pin(async { assert!(follower.await.is_ok(), "there was a load to join") })).await;
        }
    }
}
