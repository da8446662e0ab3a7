//! Classes on which decisions rest: read from the source each time, held nowhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};
use trueup_core::{
    class::LOADS_MAX_DEFAULT,
    entry::Raw,
    env::{BoxFuture, Clock},
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
    hard_timeout: Duration,
    places: Semaphore,
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
    /// Among them, reads refused because too many were waiting.
    pub shed: u64,
    /// Reads under way.
    pub in_flight: u64,
}

impl Uncached {
    pub(super) fn new(loader: Arc<dyn Loader<Key, Raw>>, clock: Clock, hard_timeout: Duration) -> Self {
        let places = Semaphore::new(LOADS_MAX_DEFAULT.get() as usize);
        let (reads, failures, shed) = Default::default();
        Self { loader, clock, hard_timeout, places, reads, failures, shed }
    }

    /// What the class has done.
    #[must_use]
    pub fn counts(&self) -> UncachedCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UncachedCounts {
            reads: get(&self.reads),
            failures: get(&self.failures),
            shed: get(&self.shed),
            in_flight: u64::from(LOADS_MAX_DEFAULT.get()) - self.places.available_permits() as u64,
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

    async fn ask<T>(&self, load: BoxFuture<'_, Result<T, LoadError>>) -> Result<T, LoadError> {
        let outcome = async {
            let _place = self.place().await?;
            let late = LoadError::TimedOut { limit_ms: self.hard_timeout.as_millis() as u64 };
            tokio::time::timeout(self.hard_timeout, load).await.unwrap_or(Err(late))
        };
        outcome.await.inspect_err(|error| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if matches!(error, LoadError::Shed { .. }) {
                self.shed.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// A place among the reads of the source; who waits longer than a read may take is turned away.
    async fn place(&self) -> Result<SemaphorePermit<'_>, LoadError> {
        let shed = LoadError::Shed { retry_after_ms: self.hard_timeout.as_millis() as u64 };
        match tokio::time::timeout(self.hard_timeout, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(shed),
        }
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
