//! The time that one call has, whatever becomes of it.

use std::{future::Future, time::Duration};

use trueup_core::env::{Clock, Nanos};

/// Begins when a call begins, and holds for all that the call does.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    clock: Clock,
    began: Nanos,
    /// How long the call may take.
    pub(super) within: Duration,
}

impl Deadline {
    pub(super) fn begin(clock: &Clock, within: Duration) -> Self {
        Self { clock: clock.clone(), began: clock.now(), within }
    }

    /// What `work` gives; none if it does not end in time.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let left = self.within.saturating_sub(self.clock.now().since(self.began));
        tokio::time::timeout(left, work).await.ok()
    }
}
