//! Whose turn it is to load, among the nodes of a fleet.
//!
//! Asked by the task that loads, never by a reader, and never twice for one load. Whatever the answer is, the worst that follows
//! is one load more: what is loaded, and what is taken from the remote tier, is judged as always.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::ClassCore;
use crate::{
    class::StampedeScope,
    entry::CacheValue,
    env::{Nanos, random},
    fill::{Claimed, Filled, FleetLocks, Flight, Hold, LIFE_MAX, lock_life},
    key::Key,
    limits,
    receipt::ServedBy,
    stats::FillLock,
    tier::{Entry, LockKey, jittered},
};

/// How many looks would fit into a load's usual time, while it is not over yet; and once it nearly is.
const LOOKS_PER_LOAD: u32 = 8;
const LOOKS_PER_LOAD_AT_ITS_END: u32 = 32;
/// The same while nobody knows how long loads take: looks per time that was waited already.
const LOOKS_PER_WAIT: u32 = 12;
/// From which part of a load's usual time on its end is near, in quarters.
const NEAR_QUARTERS: u32 = 3;
/// One look in so many asks for the lock, too, although its time is not over: its owner may have failed.
const CLAIM_EVERY: u32 = 4;
/// Shortest pause between two looks.
const LOOK_MIN: Duration = Duration::from_millis(2);
/// Longest pause between two looks.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Share of a pause by which looks are spread, so that nodes do not look together.
const LOOK_JITTER: f64 = 0.3;
/// How many times a load's usual time a node waits for another's.
const WAIT_LOADS_MAX: u32 = 4;
/// It waits that long at least, and where nobody knows yet how long loads take.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_UNKNOWN: Duration = Duration::from_secs(2);
/// A lock that ended before its time was released: its entry is there, or will be as soon as this node's feed allows.
const RELEASED_WITHIN: Duration = Duration::from_millis(20);

/// What a load has to do.
pub(super) enum Turn<V> {
    /// Load, with the fleet's lock or without. A lock is as large as all else of a load, and most loads have none.
    Load(Option<Box<Hold>>),
    /// Nothing: another node has, and shared it.
    Found(Filled<V>),
}

/// How many loads of the class wait for other nodes.
#[derive(Debug, Default)]
pub(super) struct FleetWaits(AtomicUsize);

struct Place<'a>(&'a AtomicUsize);

impl FleetWaits {
    fn take(&self) -> Option<Place<'_>> {
        let one_more = |count: usize| (count < limits::FLEET_WAITS_MAX).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Place(&self.0))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Another node's lock, as it was seen last.
#[derive(Clone, Copy)]
struct Theirs {
    ends: Nanos,
    endless: bool,
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// The fleet's locks, if the class asks for them and there are any.
    pub(super) fn fleet_locks(&self) -> Option<&std::sync::Arc<FleetLocks>> {
        match self.plan.stampede.scope {
            StampedeScope::Node => None,
            StampedeScope::Fleet => self.outbox.as_ref()?.locks(),
        }
    }

    /// What is locked before `key` is loaded; none while this node is in no epoch, and could use nothing that others share.
    pub(super) fn lock_key(&self, key: &Key) -> Option<LockKey> {
        let (epoch, class) = (self.ledger.epoch()?, self.wanted().class_digest);
        let world = std::array::from_fn(|i| epoch.as_bytes()[i] ^ class[i]);
        Some(LockKey { entry: self.remote_key(key), world })
    }

    /// Waits for this node's turn, or for what another node shares, as long as that can pay. Somebody on `flight` who may
    /// not wait ends it.
    pub(super) async fn turn(&self, key: &Key, flight: &Flight<V>) -> Turn<V> {
        let Some(locks) = self.fleet_locks() else { return Turn::Load(None) };
        let Some(place) = self.lock_key(key) else { return Turn::Load(None) };
        let usual = self.load_time.usual();
        let life = lock_life(usual);
        let alone = |why| {
            self.stats.stampede.lock(why);
            Turn::Load(None)
        };
        let claim = async || locks.claim(&place, life).await;
        let mut theirs = match claim().await {
            Claimed::Mine(hold) => {
                self.stats.stampede.lock(FillLock::Claimed);
                return Turn::Load(Some(Box::new(hold)));
            }
            Claimed::NoAnswer => return alone(FillLock::Unavailable),
            Claimed::Theirs { left } => self.theirs(left),
        };
        let Some(_place) = self.fleet_waits.take() else { return alone(FillLock::GivenUp) };
        let began = self.clock.now();
        let pause = |theirs: Theirs| {
            let now = self.clock.now();
            let waited = now.since(began);
            let pause = usual.map_or(waited / LOOKS_PER_WAIT, |usual| {
                let is_near = waited * 4 >= usual * NEAR_QUARTERS;
                usual / if is_near { LOOKS_PER_LOAD_AT_ITS_END } else { LOOKS_PER_LOAD }
            });
            let pause = jittered(pause.clamp(LOOK_MIN, LOOK_MAX), LOOK_JITTER, random::number());
            // An owner that is alive has extended its lock by then; of one that has died it is known at once.
            pause.min(theirs.ends.since(now).max(LOOK_MIN))
        };
        let wait = usual.map_or(WAIT_UNKNOWN, |usual| (usual * WAIT_LOADS_MAX).max(WAIT_MIN));
        let until = began.after(wait.min(self.plan.hard_timeout));
        for look in 1_u32.. {
            if theirs.endless || self.clock.now() > until {
                return alone(FillLock::GivenUp);
            }
            tokio::select! {
                biased;
                () = flight.hurried() => return alone(FillLock::Hurried),
                () = tokio::time::sleep(pause(theirs)) => {}
            }
            if let Some(found) = self.look_for(key).await {
                return Turn::Found(found);
            }
            if self.clock.now() < theirs.ends && !look.is_multiple_of(CLAIM_EVERY) {
                continue;
            }
            match claim().await {
                Claimed::Theirs { left } => theirs = self.theirs(left),
                Claimed::NoAnswer => return alone(FillLock::Unavailable),
                Claimed::Mine(hold) => {
                    let found = if self.clock.now() < theirs.ends {
                        self.look_again(key, flight).await
                    } else {
                        self.look_for(key).await
                    };
                    if let Some(found) = found {
                        return Turn::Found(found);
                    }
                    self.stats.stampede.lock(FillLock::TakenOver);
                    return Turn::Load(Some(Box::new(hold)));
                }
            }
        }
        // Not reached: so many looks take years.
        Turn::Load(None)
    }

    fn theirs(&self, left: Duration) -> Theirs {
        // No owner takes a lock for so long: whoever says so is not to be waited for.
        Theirs { ends: self.clock.now().after(left), endless: left > LIFE_MAX }
    }

    /// What another node has shared, if it is proven here.
    async fn look_for(&self, key: &Key) -> Option<Filled<V>> {
        let entry = self.fetch(&[key]).await.pop().flatten()?;
        self.stats.stampede.lock(FillLock::Shared);
        Some(Filled { entry, from: ServedBy::L2, at_once: false })
    }

    /// The same, several times within a short while: this node may not know yet as much as the one that has shared.
    async fn look_again(&self, key: &Key, flight: &Flight<V>) -> Option<Filled<V>> {
        let until = self.clock.now().after(RELEASED_WITHIN);
        loop {
            let found = self.look_for(key).await;
            if found.is_some() || self.clock.now() > until {
                return found;
            }
            tokio::select! {
                biased;
                () = flight.hurried() => return None,
                () = tokio::time::sleep(LOOK_MIN) => {}
            }
        }
    }

    /// What becomes of the fleet's lock once its load is done: kept until the entry is shared, if it will be.
    pub(super) fn done_loading(&self, hold: Hold, entry: Option<&std::sync::Arc<Entry<V>>>) {
        let is_kept = |entry: &&std::sync::Arc<Entry<V>>| {
            let held = self.tier.get(entry.canonical_key().as_str());
            held.is_some_and(|held| std::sync::Arc::ptr_eq(&held, entry))
        };
        if let Some(entry) = entry.filter(is_kept) {
            // The others have it once the feed has come so far: an idle one is to be asked soon.
            self.feed.wish(entry.proof().upper());
            hold.until_shared();
        }
    }
}
