//! A bound on the loads that are under way at once.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::adaptive::LoadTimes;
use crate::{shed::ShedReason, source::LoadError};

/// How many loads may wait for each one that may run.
const WAITING_PER_RUNNING: usize = 64;
/// How long a load is taken to last before one has been timed.
const LOAD_TIME_GUESS: Duration = Duration::from_millis(20);
/// The longest wait that a refused reader is told, in milliseconds.
const RETRY_AFTER_MS_MAX: u128 = 60_000;
/// Part of all places that is kept free for readers: loads that nobody waits for leave so many.
const RESERVED_PART: usize = 4;

/// Lets a set number of loads run at once, has a bounded number wait for a bounded time, and sheds the rest.
#[derive(Debug)]
pub(crate) struct Budget {
    running: Semaphore,
    running_max: u32,
    waiting: AtomicUsize,
    waiting_max: usize,
    reserved: usize,
}

impl Budget {
    pub(crate) fn new(loads_max: NonZeroU32) -> Self {
        let running_max = loads_max.get();
        Self {
            running: Semaphore::new(running_max as usize),
            running_max,
            waiting: AtomicUsize::new(0),
            waiting_max: running_max as usize * WAITING_PER_RUNNING,
            reserved: running_max as usize / RESERVED_PART,
        }
    }

    /// A place for a load that nobody waits for; none while readers wait, or may soon.
    pub(crate) fn acquire_idle(&self) -> Option<SemaphorePermit<'_>> {
        let is_idle =
            self.running.available_permits() > self.reserved && self.waiting.load(Ordering::Relaxed) == 0;
        if is_idle { self.try_acquire() } else { None }
    }

    /// A place among the running loads, if one is free.
    pub(crate) fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.running.try_acquire().ok()
    }

    /// A place among the running loads, within `wait_max`; it is free again when the permit is dropped.
    pub(crate) async fn acquire(
        &self,
        wait_max: Duration,
        times: &LoadTimes,
    ) -> Result<SemaphorePermit<'_>, LoadError> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let Some(_place) = Place::take(&self.waiting, self.waiting_max) else {
            return Err(self.shed(ShedReason::QueueFull, times));
        };
        match tokio::time::timeout(wait_max, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.shed(ShedReason::WaitedTooLong, times)),
        }
    }

    /// It is worth asking again when those who wait now will have had their turn.
    fn shed(&self, why: ShedReason, times: &LoadTimes) -> LoadError {
        let ahead = self.waiting.load(Ordering::Relaxed) as u32 + 1;
        let wait = times.recent().unwrap_or(LOAD_TIME_GUESS) * ahead / self.running_max;
        LoadError::Shed { why, retry_after_ms: wait.as_millis().clamp(1, RETRY_AFTER_MS_MAX) as u64 }
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
        let (budget, times) = (Budget::new(NonZeroU32::MIN), LoadTimes::default());
        let acquire = || budget.acquire(Duration::from_secs(1), &times);
        let running = acquire().await.unwrap();
        let mut waiting: Vec<_> =
            (0..WAITING_PER_RUNNING).map(|_| still_pending(Box::pin(acquire()))).collect();
        let Err(LoadError::Shed { why: ShedReason::QueueFull, retry_after_ms }) = acquire().await else {
            panic!("the queue is full");
        };
        // 64 wait, one runs, and each takes 20 ms as far as anybody knows.
        assert_eq!(retry_after_ms, 1_300);
        drop(running);
        let next = waiting.remove(0).await;
        assert!(next.is_ok());
        let late = waiting.remove(0).await.unwrap_err();
        assert!(matches!(late, LoadError::Shed { why: ShedReason::WaitedTooLong, .. }), "{late}");
    }

    #[tokio::test]
    async fn loads_that_nobody_waits_for_leave_a_quarter_of_the_places() {
        let (budget, times) = (Budget::new(NonZeroU32::new(8).unwrap()), LoadTimes::default());
        let idle: Vec<_> = std::iter::from_fn(|| budget.acquire_idle()).collect();
        assert_eq!(idle.len(), 6);
        let _reader = budget.acquire(Duration::from_secs(1), &times).await.unwrap();
        drop(idle);
        assert!(budget.acquire_idle().is_some());
        let one = Budget::new(NonZeroU32::MIN);
        assert!(one.acquire_idle().is_some(), "where there is one place, it is used");
    }

    fn still_pending<F: Future + Unpin>(mut future: F) -> F {
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut context).is_pending());
        future
    }
}
