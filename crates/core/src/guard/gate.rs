//! The way of one class to the source: its own bound, then the source's.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::SemaphorePermit;

use super::{
    adaptive::LoadTimes,
    budget::Budget,
    source::{SourceGuard, SourcePermit},
};
use crate::{
    class::Priority,
    env::{Clock, seldom},
    shed::ShedReason,
    source::LoadError,
};

/// What the loads of one class pass.
#[derive(Debug)]
pub(crate) struct Gate {
    budget: Budget,
    guard: Arc<SourceGuard>,
    clock: Clock,
    priority: Priority,
    wait_max: Duration,
    times: LoadTimes,
}

/// A load that may be sent.
pub(crate) struct Admission<'a> {
    _place: SemaphorePermit<'a>,
    permit: SourcePermit,
    times: &'a LoadTimes,
}

impl Gate {
    /// At most `loads_max` loads at once, each of which waits `wait_max` at most for its turn.
    pub(crate) fn new(
        guard: Arc<SourceGuard>,
        clock: Clock,
        priority: Priority,
        loads_max: NonZeroU32,
        wait_max: Duration,
    ) -> Self {
        let times = LoadTimes::default();
        Self { budget: Budget::new(loads_max), guard, clock, priority, wait_max, times }
    }

    /// A place for one load.
    pub(crate) async fn admit(&self) -> Result<Admission<'_>, LoadError> {
        // Nobody queues in front of a closed door.
        self.guard.check()?;
        // Where a place is free nobody waits, and nothing is timed.
        let (place, left) = match self.budget.try_acquire() {
            Some(place) => (place, self.wait_max),
            None => {
                let began = self.clock.now();
                let place = seldom(self.budget.acquire(self.wait_max, &self.times)).await?;
                (place, self.wait_max.saturating_sub(self.clock.now().since(began)))
            }
        };
        let permit = self.guard.acquire(self.priority, left).await?;
        Ok(Admission { _place: place, permit, times: &self.times })
    }

    /// A place for a load that nobody waits for, at once or not at all.
    pub(crate) async fn admit_idle(&self) -> Option<Admission<'_>> {
        self.guard.check().ok()?;
        let place = self.budget.acquire_idle()?;
        let permit = self.guard.acquire_idle(Duration::ZERO).await.ok()?;
        Some(Admission { _place: place, permit, times: &self.times })
    }

    /// A place for a load that nobody waits for yet, within `wait_max`, after all others: one that readers may join once it
    /// is sent, and who must not wait for its turn with it.
    pub(crate) async fn admit_last(&self, wait_max: Duration) -> Result<Admission<'_>, LoadError> {
        self.guard.check()?;
        let place = self.budget.acquire_idle().ok_or(LoadError::Shed {
            why: ShedReason::QueueFull,
            retry_after_ms: self.times.recent().map_or(1, |took| (took.as_millis() as u64).max(1)),
        })?;
        let permit = self.guard.acquire_idle(wait_max).await?;
        Ok(Admission { _place: place, permit, times: &self.times })
    }

    /// A place for a load that no reader waits for: after all others.
    pub(crate) async fn idle(&self) -> Result<SourcePermit, LoadError> {
        self.guard.acquire_idle(self.wait_max).await
    }

    /// How long the class's loads take.
    pub(crate) const fn times(&self) -> &LoadTimes {
        &self.times
    }
}

impl Admission<'_> {
    /// The load ended after `took`.
    pub(crate) fn ended(self, outcome: Result<(), &LoadError>, took: Duration) {
        self.permit.ended(outcome, took, self.times);
    }
}
