//! Loads that would crowd the source go together.
//!
//! Each load goes out at once, as a statement of its own, while only a few of its class are under way. Beyond, whoever comes waits
//! until one of them has ended, and then goes with all who wait by then, as one statement: the more is asked of the source, the less
//! each value costs it.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::ClassCore;
use crate::{
    entry::CacheValue,
    env::{self, Clock, Nanos},
    fill::{Ending, Filled, Hold, Lead},
    key::Key,
    receipt::ServedBy,
    shed::ShedReason,
    source::LoadError,
};

/// Loads that go alone at once, where loads are quick: so few that each has the source nearly to itself.
const ALONE_MAX: usize = 4;
/// Loads are quick that usually take no longer: nobody loses more by waiting for one of them to end. Of what takes longer, most is
/// the way there and back, on which a source can have many at no cost.
const QUICK: Duration = Duration::from_micros(500);
/// Keys of one statement.
const TOGETHER_MAX: usize = 64;
/// How many may wait for each load that may be under way.
const WAITING_PER_PLACE: usize = 1_024;

/// The loads of a class whose source answers for many keys at nearly the price of one.
pub(super) struct Together<K, V> {
    /// Statements that the loader can have under way at once.
    places: usize,
    /// Changed by whoever has the lock, looked at without it.
    under_way: AtomicUsize,
    /// Since when, and who.
    waiting: Mutex<VecDeque<(Nanos, Member<K, V>)>>,
}

/// One key to load, and everything that its load has to end.
pub(super) struct Member<K, V> {
    pub(super) lead: Lead<V>,
    pub(super) key: K,
    /// Whether a standby may be asked.
    pub(super) standby: bool,
    /// The fleet's lock.
    pub(super) hold: Option<Box<Hold>>,
}

/// What becomes of a load that comes.
enum Entered<K, V> {
    /// It goes at once.
    Goes(Member<K, V>),
    /// It waits for others.
    Waits,
    /// Too many wait.
    Refused(Member<K, V>),
}

impl<K, V> Together<K, V> {
    pub(super) fn new(places: NonZeroUsize) -> Self {
        Self { places: places.get(), under_way: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    fn is_crowded(&self, alone_max: usize) -> bool {
        self.under_way.load(Ordering::Relaxed) >= alone_max.min(self.places)
    }

    fn enter(&self, member: Member<K, V>, alone_max: usize, clock: &Clock) -> Entered<K, V> {
        let mut waiting = self.waiting.lock();
        if !self.is_crowded(alone_max) {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            return Entered::Goes(member);
        }
        if waiting.len() >= self.places * WAITING_PER_PLACE {
            return Entered::Refused(member);
        }
        waiting.push_back((clock.now(), member));
        Entered::Waits
    }

    /// Gives a place back: to those who wait, if any do, and if no more loads are under way than go alone at once by now. Else
    /// those that are take whoever waits when they end.
    fn leave(&self, alone_max: usize) -> Option<Vec<(Nanos, Member<K, V>)>> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(TOGETHER_MAX);
        let too_many = self.under_way.load(Ordering::Relaxed) > alone_max.min(self.places);
        if count == 0 || too_many {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(waiting.drain(..count).collect())
    }
}

/// A place among the loads under way. Dropped, whoever waits has it.
struct Place<K, V>(Arc<ClassCore<K, V>>)
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue;

impl<K, V> Drop for Place<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    fn drop(&mut self) {
        let alone_max = self.0.alone_max();
        let Some(members) = self.0.together.as_ref().and_then(|together| together.leave(alone_max)) else {
            return;
        };
        let (core, place) = (Arc::clone(&self.0), Self(Arc::clone(&self.0)));
        env::spawn_if_running("load of several keys", async move {
            let _place = place;
            core.load_members(members).await;
        });
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Loads a key and ends its flight: now, or together with others once they go, which this does not wait for.
    pub(super) async fn load_or_join(self: &Arc<Self>, member: Member<K, V>) {
        let entered = match &self.together {
            Some(together) => together.enter(member, self.alone_max(), &self.clock),
            None => Entered::Goes(member),
        };
        match entered {
            Entered::Goes(member) => {
                let _place = self.together.as_ref().map(|_| Place(Arc::clone(self)));
                let loaded = self.load_member(&member).await;
                self.end(member, loaded);
            }
            Entered::Waits => {}
            Entered::Refused(member) => {
                let error = self.shed(ShedReason::QueueFull);
                self.end(member, Err(error));
            }
        }
    }

    /// Whether a load that begins now would wait for others of the class.
    pub(super) fn is_crowded(&self) -> bool {
        self.together.as_ref().is_some_and(|together| together.is_crowded(self.alone_max()))
    }

    fn alone_max(&self) -> usize {
        let is_quick = self.gate.times().usual().is_some_and(|usual| usual <= QUICK);
        if is_quick { ALONE_MAX } else { usize::MAX }
    }

    /// Loads those whose turn has come in time.
    async fn load_members(&self, waited: Vec<(Nanos, Member<K, V>)>) {
        let now = self.clock.now();
        let (mut late, mut members) = (Vec::new(), Vec::with_capacity(waited.len()));
        for (since, member) in waited {
            let is_late = now.since(since) > self.plan.hard_timeout;
            if is_late { &mut late } else { &mut members }.push(member);
        }
        self.end_all(late, &self.shed(ShedReason::WaitedTooLong));
        if members.len() < 2 {
            if let Some(member) = members.pop() {
                let loaded = self.load_member(&member).await;
                self.end(member, loaded);
            }
            return;
        }
        match self.load_together(members).await {
            Ok(()) => {}
            Err((members, error)) if error.is_outage() => self.end_all(members, &error),
            // One of them cannot be read: the others can.
            Err((members, _)) => {
                for member in members {
                    let loaded = self.load_member(&member).await;
                    self.end(member, loaded);
                }
            }
        }
    }

    /// Loads several keys by one statement and ends their flights; or gives them back with the error that it gave for all.
    pub(super) async fn load_together(
        &self,
        members: Vec<Member<K, V>>,
    ) -> Result<(), (Vec<Member<K, V>>, LoadError)> {
        let keys: Vec<K> = members.iter().map(|member| member.key.clone()).collect();
        let names: Vec<Key> = members.iter().map(|member| member.lead.key().clone()).collect();
        let sending = |now| members.iter().for_each(|member| member.lead.sending(now));
        match self.load_in_one_snapshot(&keys, &names, sending).await {
            Ok(entries) => {
                members.into_iter().zip(entries).for_each(|(member, entry)| {
                    self.end(member, Ok(Filled { entry, from: ServedBy::Source, at_once: true }));
                });
                Ok(())
            }
            Err(error) => Err((members, error)),
        }
    }

    pub(super) fn end_all(&self, members: Vec<Member<K, V>>, error: &LoadError) {
        members.into_iter().for_each(|member| self.end(member, Err(error.clone())));
    }

    /// By reference, and no step of its own: what is passed to a step by value takes room in it twice.
    fn load_member<'a>(
        &'a self,
        member: &'a Member<K, V>,
    ) -> impl Future<Output = Result<Filled<V>, LoadError>> + Send + 'a {
        self.load(&member.lead, &member.key, member.standby)
    }

    fn end(&self, member: Member<K, V>, loaded: Result<Filled<V>, LoadError>) {
        if let Some(hold) = member.hold {
            self.done_loading(*hold, loaded.as_ref().ok().map(|filled| &filled.entry));
        }
        member.lead.end(match loaded {
            Ok(filled) => Ending::Filled(filled),
            Err(error) => Ending::Failed(error),
        });
    }

    fn shed(&self, why: ShedReason) -> LoadError {
        let wait = self.gate.times().recent().unwrap_or(QUICK);
        LoadError::Shed { why, retry_after_ms: (wait.as_millis() as u64).max(1) }
    }
}
