//! Lets writers through, or holds them: some faults must know for sure that nobody writes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::LabError;

/// Pause between two looks at what is unsettled.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Most that [`Gate::quiet`] waits; longer than a writer needs to find out what became of its last write.
const PATIENCE: Duration = Duration::from_secs(20);

/// The gate that each attempt of a writer passes.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    lock: RwLock<()>,
    /// Writes whose outcome their writers still have to find out.
    unsettled: AtomicUsize,
}

impl Gate {
    /// Passes for one attempt.
    pub(crate) async fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    pub(crate) fn unsettled(&self) {
        self.unsettled.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn settled(&self) {
        self.unsettled.fetch_sub(1, Ordering::SeqCst);
    }

    /// Nobody is writing, until the guard is dropped. What a writer has not heard of may still be under way.
    pub(crate) async fn freeze(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().await
    }

    /// Nobody is writing, and every write's outcome is known.
    pub(crate) async fn quiet(&self) -> Result<RwLockWriteGuard<'_, ()>, LabError> {
        self.quiet_within(PATIENCE).await
    }

    async fn quiet_within(&self, patience: Duration) -> Result<RwLockWriteGuard<'_, ()>, LabError> {
        let settle = async {
            loop {
                let guard = self.lock.write().await;
                if self.unsettled.load(Ordering::SeqCst) == 0 {
                    return guard;
                }
                drop(guard);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(patience, settle)
            .await
            .map_err(|_| LabError::Unreachable(format!("writers did not come to rest within {patience:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quiet_waits_for_what_is_unsettled_and_gives_up() {
        let gate = Gate::default();
        gate.unsettled();
        assert!(gate.quiet_within(3 * LOOK_EVERY).await.is_err());
        drop(gate.freeze().await);
        gate.settled();
        drop(gate.quiet().await.unwrap());
        drop(gate.enter().await);
    }
}
