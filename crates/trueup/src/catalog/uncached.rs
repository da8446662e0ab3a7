//! Classes on which decisions rest: read from the source each time, held nowhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use trueup_core::{
    class::Priority,
    entry::Raw,
    env::{BoxFuture, Clock},
    guard::{LoadTimes, SourceGuard},
    key::Key,
    proof::{Seen, Token},
    receipt::content_version,
    source::{LoadError, Loaded, LoadedMany, Loader},
};

use super::answer::{Answer, Direct};

/// A class that is never held in a tier.
pub struct Uncached {
    loader: Arc<dyn Loader<Key, Raw>>,
    clock: Clock,
    guard: Arc<SourceGuard>,
    times: LoadTimes,
    hard_timeout: Duration,
    in_flight: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    shed: AtomicU64,
}

/// What a class that is never cached has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UncachedCounts {
    /// Keys read.
    pub reads: u64,
    /// Reads that failed.
    pub failures: u64,
    /// Among them, reads refused without asking the source.
    pub shed: u64,
    /// Reads under way.
    pub in_flight: u64,
}

impl Uncached {
    pub(super) fn new(
        loader: Arc<dyn Loader<Key, Raw>>,
        clock: Clock,
        guard: Arc<SourceGuard>,
        hard_timeout: Duration,
    ) -> Self {
        let (times, in_flight, reads, failures, shed) = Default::default();
        Self { loader, clock, guard, times, hard_timeout, in_flight, reads, failures, shed }
    }

    /// What the class has done.
    #[must_use]
    pub fn counts(&self) -> UncachedCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UncachedCounts {
            reads: get(&self.reads),
            failures: get(&self.failures),
            shed: get(&self.shed),
            in_flight: get(&self.in_flight),
        }
    }

    pub(super) async fn read(&self, key: &Key) -> Result<Answer, LoadError> {
        let started = self.clock.now();
        let Loaded { value, seen, .. } = self.ask(self.loader.load(key)).await?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(answer(value, &seen, self.clock.now().since(started)))
    }

    /// Several keys, always in one snapshot.
    pub(super) async fn read_many(&self, keys: &[Key]) -> Result<Vec<Answer>, LoadError> {
        let started = self.clock.now();
        let LoadedMany { values, seen } = self.ask(self.loader.load_many(keys)).await?;
        self.reads.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let age = self.clock.now().since(started);
        Ok(values.into_iter().map(|(value, _)| answer(value, &seen, age)).collect())
    }

    /// Reads that decide something are the last that the source is spared.
    async fn ask<T>(&self, load: BoxFuture<'_, Result<T, LoadError>>) -> Result<T, LoadError> {
        let outcome = async {
            let permit = self.guard.acquire(Priority::Critical, self.hard_timeout).await?;
            let _counted = InFlight::begin(&self.in_flight);
            let started = self.clock.now();
            let late = LoadError::TimedOut { limit_ms: self.hard_timeout.as_millis() as u64 };
            let result = tokio::time::timeout(self.hard_timeout, load).await.unwrap_or(Err(late));
            permit.ended(result.as_ref().map(drop), self.clock.now().since(started), &self.times);
            result
        };
        outcome.await.inspect_err(|error| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if error.retry_after_ms().is_some() {
                self.shed.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

/// Counts a read while it is under way, however it ends.
struct InFlight<'a>(&'a AtomicU64);

impl<'a> InFlight<'a> {
    fn begin(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Uncached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uncached").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn answer(value: Option<Raw>, seen: &Seen, age: Duration) -> Answer {
    let version = content_version(value.as_deref());
    let seen = Token { epoch: seen.epoch, position: seen.upper };
    Answer::Direct(Direct { value, version, age, seen })
}
