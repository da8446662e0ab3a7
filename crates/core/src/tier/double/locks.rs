//! The double's fill locks, which lie on request.

use std::time::Duration;

use super::{Fault, RemoteDouble, timed_out, unavailable};
use crate::{
    env::{BoxFuture, Nanos},
    tier::{Claim, FillLocks, LockKey, LockOwner, RemoteKey, RemoteOperation, RemoteResult},
};

/// A lock as the double keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    owner: LockOwner,
    ends: Nanos,
}

impl RemoteDouble {
    /// From now on there are locks. Without this call the double has none, as a store that knows only values.
    #[must_use]
    pub fn with_locks(mut self) -> Self {
        self.has_locks = true;
        self
    }

    /// Somebody unknown holds the lock of `key`, in every world, for `life`, and will never extend nor release it.
    pub fn plant_lock(&self, key: &RemoteKey, life: Duration) {
        let ends = Nanos(u64::try_from(life.as_nanos()).map_or(u64::MAX, |_| self.clock.now().after(life).0));
        let held = Held { owner: LockOwner::random(), ends };
        self.state.lock().planted_locks.insert(key.clone(), held);
    }

    /// Whether somebody holds the lock of `key` now.
    pub fn is_locked(&self, key: &RemoteKey) -> bool {
        let now = self.clock.now();
        let state = self.state.lock();
        let ours = state.locks.iter().filter(|(locked, _)| locked.entry == *key).map(|(_, held)| held);
        ours.chain(state.planted_locks.get(key)).any(|held| now < held.ends)
    }

    fn claim_now(&self, key: &LockKey, owner: LockOwner, life: Duration) -> RemoteResult<Claim> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let (fault, _) = state.draw(self.seed);
        match fault {
            // Taken, as the claimer is told, and forgotten.
            Some(Fault::Lose) => return Ok(Claim::Mine),
            // Held for ever by nobody.
            Some(Fault::Older | Fault::Corrupt | Fault::Misplace) => {
                return Ok(Claim::Held { left: Duration::MAX });
            }
            Some(Fault::Unavailable) => return Err(unavailable(RemoteOperation::Lock)),
            Some(Fault::TimeOut) | None => {}
        }
        let holders = [state.planted_locks.get(&key.entry), state.locks.get(key)];
        let holder = holders.into_iter().flatten().find(|held| now < held.ends).copied();
        let claim = match holder {
            Some(held) if held.owner != owner => {
                let left = if held.ends.0 == u64::MAX { Duration::MAX } else { held.ends.since(now) };
                Claim::Held { left }
            }
            _ => {
                state.locks.insert(key.clone(), Held { owner, ends: now.after(life) });
                Claim::Mine
            }
        };
        if fault.is_some() { Err(timed_out(RemoteOperation::Lock)) } else { Ok(claim) }
    }
}

impl FillLocks for RemoteDouble {
    fn claim<'a>(
        &'a self,
        key: &'a LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> BoxFuture<'a, RemoteResult<Claim>> {
        Box::pin(async move {
            self.pass_gate().await;
            self.claim_now(key, owner, life)
        })
    }

    fn extend<'a>(
        &'a self,
        key: &'a LockKey,
        owner: LockOwner,
        life: Duration,
    ) -> BoxFuture<'a, RemoteResult<bool>> {
        Box::pin(async move {
            self.pass_gate().await;
            let now = self.clock.now();
            let mut state = self.state.lock();
            let held = state.locks.get_mut(key).filter(|held| held.owner == owner && now < held.ends);
            Ok(held.map(|held| held.ends = now.after(life)).is_some())
        })
    }

    fn release<'a>(&'a self, key: &'a LockKey, owner: LockOwner) -> BoxFuture<'a, RemoteResult<()>> {
        Box::pin(async move {
            self.pass_gate().await;
            let mut state = self.state.lock();
            if state.locks.get(key).is_some_and(|held| held.owner == owner) {
                state.locks.remove(key);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Clock;

    const LIFE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn one_owner_at_a_time_until_it_releases_or_its_time_is_over() {
        let clock = Clock::stepped();
        let double = RemoteDouble::new(clock.clone(), 1).with_locks();
        let entry = RemoteKey::new("notes", [1; 32]);
        let key = LockKey { entry: entry.clone(), world: [1; 16] };
        let [a, b] = [LockOwner::random(), LockOwner::random()];
        assert_eq!(double.claim(&key, a, LIFE).await, Ok(Claim::Mine));
        assert_eq!(double.claim(&key, b, LIFE).await, Ok(Claim::Held { left: LIFE }));
        FillLocks::release(&double, &key, b).await.unwrap();
        assert!(double.is_locked(&entry), "nobody releases the lock of another");
        clock.advance(LIFE / 2);
        assert_eq!(double.extend(&key, a, LIFE).await, Ok(true));
        clock.advance(LIFE / 2);
        assert_eq!(double.claim(&key, b, LIFE).await, Ok(Claim::Held { left: LIFE / 2 }));
        clock.advance(LIFE / 2);
        assert_eq!(double.extend(&key, a, LIFE).await, Ok(false), "its time was over");
        assert_eq!(double.claim(&key, b, LIFE).await, Ok(Claim::Mine));
        let elsewhere = LockKey { world: [2; 16], ..key.clone() };
        assert_eq!(double.claim(&elsewhere, a, LIFE).await, Ok(Claim::Mine), "another world");
        FillLocks::release(&double, &elsewhere, a).await.unwrap();
        FillLocks::release(&double, &key, b).await.unwrap();
        assert!(!double.is_locked(&entry));
    }
}
