//! The fill locks that this node holds: extended while its loads run, released once what they brought is shared.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    env,
    tier::{Claim, LockKey, LockOwner, RemoteKey, RemoteTier},
};

/// Part of a load's usual time for which a lock is taken: so much of one load is lost when its owner dies.
const LIFE_SHARE: u32 = 3;
/// Shortest life of a lock, and of one whose owner does not know yet how long loads take: a busy machine must be able to extend
/// it in time.
pub(crate) const LIFE_MIN: Duration = Duration::from_millis(25);
/// Longest life of a lock: how long a dead owner can keep others waiting.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(1);
/// How often a lock is extended within its life.
const EXTENSIONS_PER_LIFE: u32 = 3;
/// How long a lock is kept after its load, until the entry has been written: the feed has to reach it first.
const SHARE_WITHIN: Duration = Duration::from_millis(250);
/// How long the tier may take to answer, whatever it promises of itself.
const CALL_MAX: Duration = Duration::from_millis(100);

/// For how long a lock is taken, where a load usually takes `usual`.
pub(crate) fn lock_life(usual: Option<Duration>) -> Duration {
    usual.map_or(LIFE_MIN, |usual| (usual / LIFE_SHARE).clamp(LIFE_MIN, LIFE_MAX))
}

/// The locks that this node holds in the remote tier, by their entries.
#[derive(Debug)]
pub(crate) struct FleetLocks {
    tier: Arc<dyn RemoteTier>,
    held: Mutex<HashMap<RemoteKey, Tended>>,
    /// How many are held, so that writers need not lock to learn that there are none.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Tended {
    owner: LockOwner,
    world: [u8; 16],
    /// Dropped, it has the lock released.
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The load runs.
    Loading,
    /// What it brought is on its way into the tier.
    Sharing,
}

/// What asking for a lock came to.
pub(crate) enum Claimed {
    /// Load; the others wait.
    Mine(Hold),
    /// Somebody else loads, and has the lock for that long unless it is extended.
    Theirs { left: Duration },
    /// The tier gave no answer: load, as if there were no locks.
    NoAnswer,
}

/// A lock held while a load runs. Dropped, it is released.
pub(crate) struct Hold {
    locks: Arc<FleetLocks>,
    key: RemoteKey,
    owner: LockOwner,
    /// Whether the writer, or the tender after a while, ends it instead.
    ends_later: bool,
}

impl FleetLocks {
    /// None where the tier has no locks.
    pub(crate) fn new(tier: &Arc<dyn RemoteTier>) -> Option<Arc<Self>> {
        tier.locks()?;
        Some(Arc::new(Self { tier: Arc::clone(tier), held: Mutex::default(), count: AtomicUsize::new(0) }))
    }

    /// Asks for the lock of `key`.
    pub(crate) async fn claim(self: &Arc<Self>, key: &LockKey, life: Duration) -> Claimed {
        if let Some(tended) = self.held.lock().get(&key.entry).filter(|tended| tended.world == key.world) {
            // This node's own: what it brought before is about to be shared, and has been overtaken.
            tended.phase.send_replace(Phase::Loading);
            return Claimed::Mine(self.hold(&key.entry, tended.owner));
        }
        let Some(locks) = self.tier.locks() else { return Claimed::NoAnswer };
        let owner = LockOwner::random();
        match tokio::time::timeout(CALL_MAX, locks.claim(key, owner, life)).await {
            Ok(Ok(Claim::Mine)) => Claimed::Mine(self.tend(key, owner, life)),
            Ok(Ok(Claim::Held { left })) => Claimed::Theirs { left },
            Ok(Err(error)) => {
                tracing::debug!(%error, "a fill lock could not be asked for");
                self.give_back(key, owner);
                Claimed::NoAnswer
            }
            Err(_) => {
                self.give_back(key, owner);
                Claimed::NoAnswer
            }
        }
    }

    /// It may have been taken all the same: nobody shall wait for a load that does not know of its lock.
    fn give_back(&self, key: &LockKey, owner: LockOwner) {
        let (tier, key) = (Arc::clone(&self.tier), key.clone());
        env::spawn("fill lock given back", async move { release(&tier, &key, owner).await });
    }

    /// Keeps the lock alive from now on.
    fn tend(self: &Arc<Self>, key: &LockKey, owner: LockOwner, life: Duration) -> Hold {
        let (phase, tending) = watch::channel(Phase::Loading);
        if self.held.lock().insert(key.entry.clone(), Tended { owner, world: key.world, phase }).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        let tender = Tender {
            locks: Arc::downgrade(self),
            tier: Arc::clone(&self.tier),
            key: key.clone(),
            owner,
            life,
        };
        env::spawn("fill lock", tender.run(tending));
        self.hold(&key.entry, owner)
    }

    fn hold(self: &Arc<Self>, key: &RemoteKey, owner: LockOwner) -> Hold {
        Hold { locks: Arc::clone(self), key: key.clone(), owner, ends_later: false }
    }

    /// Whether the writer has to tell which entries it has done with.
    pub(crate) fn any_held(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// The entry under `key` has been written, or never will be: its lock, if this node has it, has done its work.
    pub(crate) fn shared(&self, key: &RemoteKey) {
        self.end(key, |_| true);
    }

    fn end(&self, key: &RemoteKey, is_meant: impl FnOnce(&Tended) -> bool) {
        let mut held = self.held.lock();
        if held.get(key).is_some_and(is_meant) {
            held.remove(key);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Hold {
    /// The load is done and its entry will be written: from then on the lock is in nobody's way.
    pub(crate) fn until_shared(mut self) {
        self.ends_later = true;
        if let Some(tended) = self.locks.held.lock().get(&self.key).filter(|held| held.owner == self.owner) {
            tended.phase.send_replace(Phase::Sharing);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.ends_later {
            self.locks.end(&self.key, |held| held.owner == self.owner);
        }
    }
}

/// Looks after one lock. When its node dies it dies too, and the lock ends by itself.
struct Tender {
    locks: Weak<FleetLocks>,
    tier: Arc<dyn RemoteTier>,
    key: LockKey,
    owner: LockOwner,
    life: Duration,
}

impl Tender {
    async fn run(self, mut phase: watch::Receiver<Phase>) {
        let pause = self.life / EXTENSIONS_PER_LIFE;
        let mut shared_for = Duration::ZERO;
        loop {
            match tokio::time::timeout(pause, phase.changed()).await {
                Ok(Ok(())) => {
                    shared_for = Duration::ZERO;
                    continue;
                }
                Ok(Err(_)) => break,
                Err(_) => {}
            }
            if *phase.borrow() == Phase::Sharing {
                shared_for += pause;
                if shared_for >= SHARE_WITHIN {
                    break;
                }
            }
            let Some(locks) = self.tier.locks() else { break };
            match tokio::time::timeout(CALL_MAX, locks.extend(&self.key, self.owner, self.life)).await {
                // Somebody else has it, or will: there is nothing to release.
                Ok(Ok(false)) => return self.forget(),
                Ok(Ok(true)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a fill lock was not extended"),
                Err(_) => {}
            }
        }
        self.forget();
        release(&self.tier, &self.key, self.owner).await;
    }

    fn forget(&self) {
        if let Some(locks) = self.locks.upgrade() {
            locks.end(&self.key.entry, |held| held.owner == self.owner);
        }
    }
}

async fn release(tier: &Arc<dyn RemoteTier>, key: &LockKey, owner: LockOwner) {
    let Some(locks) = tier.locks() else { return };
    // A lock that is not released ends by itself.
    if let Ok(Err(error)) = tokio::time::timeout(CALL_MAX, locks.release(key, owner)).await {
        tracing::debug!(%error, "a fill lock was not released");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Clock, tier::testing::RemoteDouble};

    const LIFE: Duration = Duration::from_millis(30);

    struct World {
        clock: Clock,
        double: Arc<RemoteDouble>,
        locks: Arc<FleetLocks>,
        key: LockKey,
    }

    fn world() -> World {
        let clock = Clock::stepped();
        let double = Arc::new(RemoteDouble::new(clock.clone(), 1).with_locks());
        let tier: Arc<dyn RemoteTier> = Arc::clone(&double) as _;
        let locks = FleetLocks::new(&tier).unwrap();
        let key = LockKey { entry: RemoteKey::new("item", [1; 32]), world: [7; 16] };
        World { clock, double, locks, key }
    }

    impl World {
        async fn claim(&self) -> Hold {
            match self.locks.claim(&self.key, LIFE).await {
                Claimed::Mine(hold) => hold,
                _ => panic!("nobody else has it"),
            }
        }

        /// Time passes in steps that a tender can keep up with.
        async fn pass(&self, span: Duration) {
            let step = Duration::from_millis(5);
            for _ in 0..span.as_millis() / step.as_millis() {
                self.clock.advance(step);
                tokio::time::advance(step).await;
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_lasts_as_long_as_its_load_and_ends_with_it() {
        let world = world();
        let hold = world.claim().await;
        world.pass(LIFE * 10).await;
        assert!(world.double.is_locked(&world.key.entry), "extended");
        drop(hold);
        world.pass(Duration::from_millis(5)).await;
        assert!(!world.double.is_locked(&world.key.entry));
        assert!(!world.locks.any_held());
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_until_the_entry_is_written_and_not_for_ever() {
        let world = world();
        world.claim().await.until_shared();
        world.pass(LIFE * 2).await;
        assert!(world.double.is_locked(&world.key.entry), "the entry is on its way");
        world.locks.shared(&world.key.entry);
        world.pass(Duration::from_millis(5)).await;
        assert!(!world.double.is_locked(&world.key.entry));
        world.claim().await.until_shared();
        world.pass(SHARE_WITHIN + LIFE).await;
        assert!(
            !world.double.is_locked(&world.key.entry),
            "an entry that is never written keeps nobody waiting"
        );
        assert!(!world.locks.any_held());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_not_kept_waiting_by_its_own_lock() {
        let world = world();
        world.claim().await.until_shared();
        let again = world.claim().await;
        world.pass(SHARE_WITHIN * 2).await;
        assert!(world.double.is_locked(&world.key.entry), "it loads again");
        drop(again);
        world.pass(Duration::from_millis(5)).await;
        assert!(!world.double.is_locked(&world.key.entry));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tier_that_never_answers_is_no_lock() {
        let world = world();
        world.double.close_gate();
        let claiming = world.locks.claim(&world.key, LIFE);
        assert!(matches!(claiming.await, Claimed::NoAnswer));
    }

    #[test]
    fn lives_follow_the_loads_within_bounds() {
        let ms = Duration::from_millis;
        assert_eq!(lock_life(None), LIFE_MIN);
        assert_eq!([1, 300, 60_000].map(|load| lock_life(Some(ms(load)))), [LIFE_MIN, ms(100), LIFE_MAX]);
    }
}
