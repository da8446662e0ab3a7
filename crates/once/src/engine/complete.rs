//! The completer: goes on with what was begun and not finished.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use trueup_core::env::{Task, spawn};

use super::{
    Once,
    held::Held,
    review::Stuck,
    row::{COLUMNS, KeyRow},
};
use crate::{
    error::OnceError,
    limits::{COMPLETER_BATCH_DEFAULT, COMPLETER_CONCURRENCY_DEFAULT, POLL_DEFAULT, backoff, ms},
    store::{Owned as _, Store, Transaction as _},
};

/// What an attempt of a [`Resume`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The key is finished, by this worker or by another.
    Finished,
    /// The outcome is not known yet. Tried again after this long, or after a pause that doubles with each attempt.
    Later(Option<Duration>),
    /// Nobody but a person can tell. Never tried again by itself; stays among the [stuck](Once::stuck) until it is
    /// [reopened](Once::reopen) or finished.
    Review(String),
}

/// Goes on with a key from its recovery point. A time-out is never an outcome: say [`Resumed::Later`].
pub trait Resume<S: Store>: Send + Sync + 'static {
    /// Goes on from `held.point()`, in transactions of its own. Dropped when it takes longer than [`Options::lease`](super::Options::lease).
    ///
    /// Called again, by this or another process, until the key is finished: each of its effects must be under the fence (in a transaction with
    /// [`Once::advance`] or [`Once::finish`]), or be safe to repeat at the outside system, by a key that `held` carries.
    ///
    /// # Errors
    /// Anything: it counts as [`Resumed::Later`], and is logged.
    fn resume(
        &self,
        once: &Once<S>,
        held: Held,
    ) -> impl Future<Output = Result<Resumed, Box<dyn std::error::Error + Send + Sync>>> + Send;
}

/// What a round of the completer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompleterReport {
    /// Keys taken over.
    pub taken: usize,
    /// Of these, finished.
    pub finished: usize,
    /// Left for later.
    pub postponed: usize,
    /// Handed to people.
    pub reviews: usize,
    /// Attempts that failed; left for later, too.
    pub failed: usize,
}

type Alert = Arc<dyn Fn(&[Stuck]) + Send + Sync>;

/// Takes over keys whose lease has ended, a bounded number at a time, and has a [`Resume`] go on with them. Run one in each
/// instance: they step around each other's rows.
pub struct Completer<S, R> {
    once: Once<S>,
    resume: Arc<R>,
    batch: u32,
    concurrency: usize,
    alert: Option<Alert>,
}

impl<S: Store, R: Resume<S>> Completer<S, R> {
    /// A completer with `resume` for keys of every recovery point.
    #[must_use]
    pub fn new(once: Once<S>, resume: R) -> Self {
        Self {
            once,
            resume: Arc::new(resume),
            batch: COMPLETER_BATCH_DEFAULT,
            concurrency: COMPLETER_CONCURRENCY_DEFAULT,
            alert: None,
        }
    }

    /// How many keys are taken at a time, and how many of them are worked on side by side.
    #[must_use]
    pub fn bounds(mut self, batch: u32, concurrency: usize) -> Self {
        self.batch = batch.max(1);
        self.concurrency = concurrency.max(1);
        self
    }

    /// Calls `alert` after each round in which keys are stuck, with up to a batch of them. They are logged and counted
    /// (`once_stuck`) in any case.
    #[must_use]
    pub fn on_stuck(mut self, alert: impl Fn(&[Stuck]) + Send + Sync + 'static) -> Self {
        self.alert = Some(Arc::new(alert));
        self
    }

    /// One round.
    ///
    /// **Safe to repeat: yes**, and to run anywhere at the same time: a key is taken by raising its fence in a row that nobody else has
    /// locked (`FOR UPDATE SKIP LOCKED`), and what the former worker does afterwards is discarded. A key taken by a process that
    /// dies is taken again when its lease ends.
    ///
    /// # Errors
    /// [`OnceError::Store`] where no keys could be taken.
    pub async fn run_once(&self) -> Result<CompleterReport, OnceError> {
        let taken = self.once.take_lapsed(self.batch).await?;
        let mut report = CompleterReport { taken: taken.len(), ..CompleterReport::default() };
        let mut outcomes = futures_util::stream::iter(taken)
            .map(|held| async move {
                // After that another may have it: one that hangs must not keep the others from their turn.
                let limit = self.once.options().lease;
                let outcome = tokio::time::timeout(limit, self.resume.resume(&self.once, held.clone())).await;
                (held, outcome.unwrap_or_else(|_| Err("it took longer than the lease".into())))
            })
            .buffer_unordered(self.concurrency);
        while let Some((held, outcome)) = outcomes.next().await {
            self.settle(&held, outcome, &mut report).await;
        }
        self.report_stuck().await?;
        Ok(report)
    }

    async fn settle(
        &self,
        held: &Held,
        outcome: Result<Resumed, Box<dyn std::error::Error + Send + Sync>>,
        report: &mut CompleterReport,
    ) {
        let counters = self.once.counters();
        let settled = match outcome {
            Ok(Resumed::Finished) => {
                report.finished += 1;
                return;
            }
            Ok(Resumed::Later(pause)) => {
                report.postponed += 1;
                counters.completer_postponed.add(1);
                self.postpone(held, pause).await
            }
            Ok(Resumed::Review(reason)) => {
                report.reviews += 1;
                self.review(held, &reason).await
            }
            Err(error) => {
                report.failed += 1;
                counters.completer_failed.add(1);
                tracing::warn!(key = held.id().0, point = held.point().name(), attempts = held.attempts(), %error, "a key could not be completed; it is tried again");
                self.postpone(held, None).await
            }
        };
        match settled {
            // It moved on from where it was taken, under its own new lease; or somebody else has it.
            Ok(()) | Err(OnceError::Discarded { .. }) => {}
            Err(error) => {
                tracing::warn!(key = held.id().0, %error, "a key could not be put aside; it is tried again when its lease ends");
            }
        }
    }

    async fn postpone(&self, held: &Held, pause: Option<Duration>) -> Result<(), OnceError> {
        let tx = self.once.store().begin().await?;
        // Under the same fence it may stand at a later point by now: put aside from there.
        let Some(now) = self.once.lock(&tx, held.id()).await?.filter(|now| now.fence() == held.fence())
        else {
            return Ok(());
        };
        self.once.postpone(&tx, &now, pause.unwrap_or_else(|| backoff(held.attempts()))).await?;
        Ok(tx.commit().await?)
    }

    async fn review(&self, held: &Held, reason: &str) -> Result<(), OnceError> {
        let tx = self.once.store().begin().await?;
        let Some(now) = self.once.lock(&tx, held.id()).await?.filter(|now| now.fence() == held.fence())
        else {
            return Ok(());
        };
        self.once.review(&tx, &now, reason).await?;
        Ok(tx.commit().await?)
    }

    async fn report_stuck(&self) -> Result<(), OnceError> {
        let (count, stuck) = self.once.stuck(self.batch).await?;
        self.once.counters().stuck.set(count);
        for one in &stuck {
            tracing::error!(
                key = one.id.0,
                point = one.point.name(),
                age_ms = one.age_ms,
                attempts = one.attempts,
                review = one.review_reason.is_some(),
                "a key is stuck"
            );
        }
        if let Some(alert) = &self.alert
            && !stuck.is_empty()
        {
            alert(&stuck);
        }
        Ok(())
    }

    /// Runs rounds for ever, with a pause after each that found less than a full batch.
    pub fn start(self) -> Task {
        spawn("once completer", async move {
            loop {
                match self.run_once().await {
                    Ok(report) if report.taken >= self.batch as usize => continue,
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "the completer could not run; it tries again"),
                }
                tokio::time::sleep(POLL_DEFAULT).await;
            }
        })
    }
}

impl<S, R> std::fmt::Debug for Completer<S, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completer")
            .field("batch", &self.batch)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl<S: Store> Once<S> {
    /// Takes over up to `count` unfinished keys whose lease has ended, the longest first, and commits.
    async fn take_lapsed(&self, count: u32) -> Result<Vec<Held>, OnceError> {
        let tx = self.store().begin().await?;
        // MATERIALIZED: a subquery with LIMIT that is planned into a join may lock more rows than it returns.
        let sql = format!(
            "WITH due AS MATERIALIZED (SELECT id AS due_id FROM once_keys WHERE finished_ms IS NULL AND review_reason IS NULL \
             AND lease_until_ms <= {{now}} ORDER BY lease_until_ms LIMIT $1 {{skip_locked}}) \
             UPDATE once_keys SET fence = fence + 1, attempts = attempts + 1, lease_until_ms = {{now}} + $2 \
             FROM due WHERE id = due_id RETURNING {COLUMNS}"
        );
        let rows = tx.query(&sql, &[count.into(), ms(self.options().lease).into()]).await?;
        let held =
            rows.iter().map(|row| Ok(KeyRow::read(row)?.held)).collect::<Result<Vec<_>, OnceError>>()?;
        tx.commit().await?;
        self.counters().completer_taken.add(held.len() as u64);
        Ok(held)
    }
}
