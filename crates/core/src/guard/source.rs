//! The guard of one source: limiter, breaker, and who looks after them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Breaker, BreakerConfig,
    adaptive::LoadTimes,
    limiter::{Limiter, LimiterStatus, Permit},
    rules::LoadLimits,
};
use crate::{
    class::{ClassName, Priority},
    env::{self, Clock, Task},
    source::{LoadError, Source},
};

/// Loads that must fail in a row, of whichever class, before the source is left alone.
const FAILURES_MAX: u32 = 5;
/// The first pause between probes of a source that is left alone, and the longest.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(100);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(2);
/// A source that does not answer a probe within this is still in trouble.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// Time-outs below this say more about the class than about the source, in milliseconds.
const PATIENCE_MIN_MS: u64 = 500;
/// What a reader is told to wait at least while the source is left alone: a probe has to be answered.
const RETRY_AFTER_PROBE: Duration = Duration::from_millis(50);

/// Stands between all classes of a cache and their source.
#[derive(Debug)]
pub struct SourceGuard {
    limiter: Arc<Limiter>,
    limits: LoadLimits,
    breaker: Breaker,
    /// Wakes the keeper.
    trouble: Notify,
    problem: Mutex<Option<String>>,
    /// Classes whose hit rate is below its floor.
    below_floor: Mutex<BTreeSet<ClassName>>,
}

/// How the guard is at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceGuardStatus {
    /// What is declared.
    pub limits: LoadLimits,
    /// The limiter.
    pub limiter: LimiterStatus,
    /// Why the source is left alone at the moment; none while it is asked.
    pub left_alone: Option<String>,
    /// Classes whose hit rate is below its floor.
    pub below_floor: Vec<ClassName>,
}

/// A place at the source. Says how the load went; free again when dropped.
#[derive(Debug)]
pub struct SourcePermit {
    guard: Arc<SourceGuard>,
    permit: Permit,
}

impl SourceGuard {
    /// A guard that lets everything through that `limits` allow.
    #[must_use]
    pub fn new(limits: LoadLimits, clock: Clock) -> Arc<Self> {
        let config = BreakerConfig {
            failures_max: FAILURES_MAX,
            pause_min: PROBE_PAUSE_MIN,
            pause_max: PROBE_PAUSE_MAX,
        };
        Arc::new(Self {
            limiter: Limiter::new(limits, clock.clone()),
            limits,
            breaker: Breaker::new(config, clock),
            trouble: Notify::new(),
            problem: Mutex::default(),
            below_floor: Mutex::default(),
        })
    }

    /// A place at the source, at once or after a wait of `wait_max` at most.
    ///
    /// # Errors
    /// [`LoadError::Shed`] or [`LoadError::LeftAlone`]; the source was not asked then.
    pub async fn acquire(
        self: &Arc<Self>,
        priority: Priority,
        wait_max: Duration,
    ) -> Result<SourcePermit, LoadError> {
        self.check()?;
        let permit = self.limiter.acquire(priority, wait_max).await?;
        Ok(SourcePermit { guard: Arc::clone(self), permit })
    }

    /// The same for a load that no reader waits for: after all others, and also in the time after a start.
    ///
    /// # Errors
    /// [`LoadError::Shed`] or [`LoadError::LeftAlone`]; the source was not asked then.
    pub async fn acquire_idle(self: &Arc<Self>, wait_max: Duration) -> Result<SourcePermit, LoadError> {
        self.check()?;
        let permit = self.limiter.acquire_unramped(Priority::Sheddable, wait_max).await?;
        Ok(SourcePermit { guard: Arc::clone(self), permit })
    }

    /// The time after the start, in which only a part of the loads for readers is let through, begins now: the node is sent
    /// requests from here on.
    pub fn begin_ramp(&self) {
        self.limiter.begin_ramp();
    }

    /// A place at the source if that costs nobody one.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>, priority: Priority) -> Option<SourcePermit> {
        self.check().ok()?;
        let permit = self.limiter.try_acquire(priority)?;
        Some(SourcePermit { guard: Arc::clone(self), permit })
    }

    /// Whether the source is to be asked at all.
    ///
    /// # Errors
    /// [`LoadError::LeftAlone`].
    pub fn check(&self) -> Result<(), LoadError> {
        if self.breaker.is_open() { Err(self.left_alone()) } else { Ok(()) }
    }

    fn left_alone(&self) -> LoadError {
        let wait = self.breaker.probe_in().unwrap_or_default().max(RETRY_AFTER_PROBE);
        LoadError::LeftAlone { retry_after_ms: wait.as_millis() as u64 }
    }

    /// How the guard is.
    #[must_use]
    pub fn status(&self) -> SourceGuardStatus {
        let problem = || self.problem.lock().clone().unwrap_or_default();
        SourceGuardStatus {
            limits: self.limits,
            limiter: self.limiter.status(),
            left_alone: self.breaker.is_open().then(problem),
            below_floor: self.below_floor.lock().iter().cloned().collect(),
        }
    }

    fn ended(&self, outcome: Result<(), &LoadError>) {
        match outcome {
            Err(error) if is_trouble(error) => {
                if self.breaker.failed() {
                    let problem = error.to_string();
                    tracing::warn!(problem, "the source is left alone until it answers a probe");
                    *self.problem.lock() = Some(problem);
                    self.limiter.refuse_all(&self.left_alone());
                    self.trouble.notify_one();
                }
            }
            Err(LoadError::TimedOut { .. }) => {}
            // A query of its own fault was answered all the same.
            _ => self.breaker.succeeded(),
        }
    }

    /// A class's hit rate has fallen below its floor, or is above it again.
    pub(crate) fn hit_rate_is_low(&self, class: &ClassName, is_low: bool) {
        let any = {
            let mut below = self.below_floor.lock();
            if is_low {
                below.insert(class.clone());
            } else {
                below.remove(class);
            }
            !below.is_empty()
        };
        self.limiter.set_tripped(any);
    }

    /// Probes `source` while it is left alone, at nobody's expense.
    pub(crate) fn keep(self: &Arc<Self>, source: Arc<dyn Source>) -> Task {
        let guard = Arc::downgrade(self);
        env::spawn("source keeper", async move {
            loop {
                let Some(guard) = guard.upgrade() else { return };
                match guard.breaker.probe_in() {
                    None => guard.trouble.notified().await,
                    Some(due) => {
                        tokio::time::sleep(due).await;
                        guard.probe(&*source).await;
                    }
                }
            }
        })
    }

    async fn probe(&self, source: &dyn Source) {
        match tokio::time::timeout(PROBE_WITHIN, source.token()).await {
            Ok(Ok(_)) => {
                // With few loads at first: whoever has waited for the source must not break it again.
                self.limiter.begin_again();
                self.breaker.close();
                tracing::info!("the source answers again");
            }
            Ok(Err(error)) => {
                *self.problem.lock() = Some(error.to_string());
                self.breaker.probe_failed();
            }
            Err(_) => self.breaker.probe_failed(),
        }
    }
}

impl SourcePermit {
    /// The load ended after `took`. `times` are those of its class.
    pub fn ended(self, outcome: Result<(), &LoadError>, took: Duration, times: &LoadTimes) {
        let failed = matches!(outcome, Err(LoadError::Unavailable(_) | LoadError::TimedOut { .. }));
        self.permit.ended(took, times, failed);
        self.guard.ended(outcome);
    }
}

/// Whether an error tells that the source is in trouble. A query that is wrong or a value that is too large does not, nor does
/// a class that has little patience: the others must not be kept from the source because of it.
const fn is_trouble(error: &LoadError) -> bool {
    match error {
        LoadError::Unavailable(_) => true,
        LoadError::TimedOut { limit_ms } => *limit_ms >= PATIENCE_MIN_MS,
        _ => false,
    }
}
