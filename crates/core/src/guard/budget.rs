//! A bound on the loads that are under way at once.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::source::LoadError;

/// How many loads may wait for each one that may run.
const WAITING_PER_RUNNING: usize = 64;
/// Part of all places that is kept free for readers: loads that nobody waits for leave so many.
const RESERVED_PART: usize = 4;
/// What a refused reader is told to wait, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 100;

/// Lets a set number of loads run at once, has a bounded number wait for a bounded time, and sheds the rest.
#[derive(Debug)]
pub(crate) struct Budget {
    running: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait_max: Duration,
    reserved: usize,
}

impl Budget {
    pub(crate) fn new(loads_max: NonZeroU32, wait_max: Duration) -> Self {
        let loads_max = loads_max.get() as usize;
        Self {
            running: Semaphore::new(loads_max),
            waiting: AtomicUsize::new(0),
            waiting_max: loads_max * WAITING_PER_RUNNING,
            wait_max,
            reserved: loads_max / RESERVED_PART,
        }
    }

    /// A place for a load that nobody waits for; none while readers wait, or may soon.
    pub(crate) fn acquire_idle(&self) -> Option<SemaphorePermit<'_>> {
        let is_idle =
            self.running.available_permits() > self.reserved && self.waiting.load(Ordering::Relaxed) == 0;
        if is_idle { self.running.try_acquire().ok() } else { None }
    }

    /// A place among the running loads; it is free again when the permit is dropped.
    pub(crate) async fn acquire(&self) -> Result<SemaphorePermit<'_>, LoadError> {
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(permit);
        }
        let shed = LoadError::Shed { retry_after_ms: RETRY_AFTER_MS };
        let Some(_place) = Place::take(&self.waiting, self.waiting_max) else { return Err(shed) };
        match tokio::time::timeout(self.wait_max, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(shed),
        }
    }
}

/// A place in the queue, left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, waiting_max: usize) -> Option<Self> {
        let free = |count: usize| (count < waiting_max).then_some(count + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_a_bounded_time_and_sheds_beyond_the_bounded_queue() {
        let budget = Budget::new(NonZeroU32::MIN, Duration::from_secs(1));
        let running = budget.acquire().await.unwrap();
        let mut waiting: Vec<_> =
            (0..WAITING_PER_RUNNING).map(|_| still_pending(Box::pin(budget.acquire()))).collect();
        assert!(matches!(budget.acquire().await, Err(LoadError::Shed { .. })), "the queue is full");
        drop(running);
        let next = waiting.remove(0).await;
        assert!(next.is_ok());
        assert!(matches!(waiting.remove(0).await, Err(LoadError::Shed { .. })), "waited too long");
    }

    #[tokio::test]
    async fn loads_that_nobody_waits_for_leave_a_quarter_of_the_places() {
        let budget = Budget::new(NonZeroU32::new(8).unwrap(), Duration::from_secs(1));
        let idle: Vec<_> = std::iter::from_fn(|| budget.acquire_idle()).collect();
        assert_eq!(idle.len(), 6);
        let _reader = budget.acquire().await.unwrap();
        drop(idle);
        assert!(budget.acquire_idle().is_some());
        let one = Budget::new(NonZeroU32::MIN, Duration::from_secs(1));
        assert!(one.acquire_idle().is_some(), "where there is one place, it is used");
    }

    fn still_pending<F: Future + Unpin>(mut future: F) -> F {
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut context).is_pending());
        future
    }
}
