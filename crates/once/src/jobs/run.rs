//! A run of a job, by whichever instance holds its lease.

use std::{future::Future, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{BusinessDate, Chunk, id};
use crate::{
    counters::Counters,
    error::{OnceError, check_bytes, check_name},
    lease::{Acquired, Kept, Lease, Leases},
    limits::{ANSWER_BYTES_MAX, LEASE_TTL_DEFAULT},
    store::{Owned as _, Store, Transaction as _},
};

/// Runs jobs. Made by [`Once::jobs`](crate::Once::jobs).
#[derive(Clone, Debug)]
pub struct Jobs<S> {
    leases: Leases<S>,
    counters: Arc<Counters>,
    ttl: Duration,
}

/// What came of starting a run.
#[derive(Debug)]
pub enum Started<S> {
    /// It is ours, from its last checkpoint on.
    Running(JobRun<S>),
    /// Another instance runs this job: exit, do not wait.
    Elsewhere {
        /// Which, where that could be seen.
        owner: String,
    },
    /// It has been run to its end. Nothing is left to do.
    Finished {
        /// When, in ms since 1970 by the database's clock.
        at_ms: i64,
    },
}

/// A run in our hands. Its lease is renewed in the background until it is dropped.
#[derive(Debug)]
pub struct JobRun<S> {
    pub(super) store: S,
    pub(super) counters: Arc<Counters>,
    pub(super) lease: Lease<S>,
    pub(super) job: String,
    pub(super) date: BusinessDate,
    kept: Kept,
}

impl<S: Store> Jobs<S> {
    pub(crate) const fn new(leases: Leases<S>, counters: Arc<Counters>) -> Self {
        Self { leases, counters, ttl: LEASE_TTL_DEFAULT }
    }

    /// How long a killed run keeps others out.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Starts or goes on with the run of `job` for `date`.
    ///
    /// **Safe to repeat: yes**, from any number of instances: one holds the job's lease, the others are told and exit; the run's row is unique in
    /// (job, date), and a finished one is not begun again.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn start(&self, job: &str, date: BusinessDate, owner: &str) -> Result<Started<S>, OnceError> {
        check_name("the name of a job", job)?;
        if let Some(at_ms) = self.finished(job, date).await? {
            return Ok(Started::Finished { at_ms });
        }
        // One lease for all dates: yesterday's run and today's must not meet either.
        let lease = match self.leases.acquire(&format!("job/{job}"), owner, self.ttl).await? {
            Acquired::Held(lease) => lease,
            Acquired::Elsewhere { owner, .. } => return Ok(Started::Elsewhere { owner }),
        };
        let store = self.leases.store().clone();
        let tx = store.begin().await?;
        lease.check(&tx).await?;
        let sql = "INSERT INTO once_job_runs AS r (job, business_date, fence, chunks, started_ms) VALUES ($1, $2, $3, 0, {now}) \
                   ON CONFLICT (job, business_date) DO UPDATE SET fence = excluded.fence WHERE r.finished_ms IS NULL";
        let ours =
            tx.execute(sql, &[job.into(), (&date.to_string()).into(), lease.fence().into()]).await? == 1;
        tx.commit().await?;
        if !ours {
            // Finished between the two looks.
            lease.release().await?;
            return Ok(Started::Finished { at_ms: self.finished(job, date).await?.unwrap_or_default() });
        }
        let kept = lease.keep();
        let counters = Arc::clone(&self.counters);
        Ok(Started::Running(JobRun { store, counters, lease, job: job.to_owned(), date, kept }))
    }

    async fn finished(&self, job: &str, date: BusinessDate) -> Result<Option<i64>, OnceError> {
        let sql = "SELECT finished_ms FROM once_job_runs WHERE job = $1 AND business_date = $2";
        let rows = self.leases.store().read(sql, &[job.into(), (&date.to_string()).into()]).await?;
        Ok(rows.first().map(|row| row.opt_int(0)).transpose()?.flatten())
    }
}

impl<S: Store> JobRun<S> {
    /// The job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The date that the run is about.
    #[must_use]
    pub const fn date(&self) -> BusinessDate {
        self.date
    }

    /// The lease under which it runs.
    #[must_use]
    pub const fn lease(&self) -> &Lease<S> {
        &self.lease
    }

    /// The id of what this run does for `item`: see [`id`].
    #[must_use]
    pub fn id(&self, item: &str) -> Uuid {
        id(&self.job, self.date, item)
    }

    /// Begins the next chunk: a transaction under the fence, and the checkpoint from which to go on.
    ///
    /// **Safe to repeat: yes.** Nothing is written before the chunk is saved; a chunk that was not is done again from the same checkpoint.
    ///
    /// # Errors
    /// [`OnceError::LeaseLost`]: stop. [`OnceError::Store`].
    pub async fn chunk(&self) -> Result<Chunk<'_, S>, OnceError> {
        Chunk::begin(self).await
    }

    /// The answer of an outside system about `item`: the one that was kept, by this run or one before it, or else what `ask` gets, which is kept.
    /// `ask` runs outside any transaction and is given [`JobRun::id`] of the item, for an outside system that takes keys.
    ///
    /// **Safe to repeat: yes.** The first answer that was kept is the one that all later calls return. The outside system may be asked a second
    /// time if the process dies between its answer and the commit that keeps it.
    ///
    /// # Errors
    /// The error of `ask`: nothing is kept. [`OnceError::LeaseLost`]: stop. [`OnceError::Store`].
    pub async fn answer<E, F>(&self, item: &str, ask: impl FnOnce(Uuid) -> F + Send) -> Result<Vec<u8>, E>
    where
        E: From<OnceError>,
        F: Future<Output = Result<Vec<u8>, E>> + Send,
    {
        if let Some(answer) = self.known(item).await? {
            self.counters.job_answers_reused.add(1);
            return Ok(answer);
        }
        let answer = ask(self.id(item)).await?;
        self.counters.job_answers_asked.add(1);
        Ok(self.keep(item, &answer).await?)
    }

    async fn known(&self, item: &str) -> Result<Option<Vec<u8>>, OnceError> {
        check_name("the item of a job", item)?;
        let date = self.date.to_string();
        let rows = self.store.read(ANSWER, &[(&self.job).into(), (&date).into(), item.into()]).await?;
        Ok(rows.first().map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()?)
    }

    async fn keep(&self, item: &str, answer: &[u8]) -> Result<Vec<u8>, OnceError> {
        check_bytes("the answer of an outside system", answer.len(), ANSWER_BYTES_MAX)?;
        let tx = self.store.begin().await?;
        self.lease.check(&tx).await?;
        let date = self.date.to_string();
        let sql = "INSERT INTO once_job_items (job, business_date, item, answer, answered_ms) VALUES ($1, $2, $3, $4, {now}) \
                   ON CONFLICT (job, business_date, item) DO NOTHING";
        let params = [(&self.job).into(), (&date).into(), item.into(), answer.into()];
        tx.execute(sql, &params).await?;
        let row = tx.query_row(ANSWER, &params[..3]).await?;
        tx.commit().await?;
        // Another's answer that was kept first.
        Ok(row.map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()?.unwrap_or_else(|| answer.to_vec()))
    }

    /// Ends the lease at once, so that another run may start. Dropping the run lets it end by itself.
    ///
    /// **Safe to repeat: yes.**
    ///
    /// # Errors
    /// [`OnceError::LeaseLost`] where it had ended; [`OnceError::Store`].
    pub async fn release(self) -> Result<(), OnceError> {
        drop(self.kept);
        self.lease.release().await
    }
}

const ANSWER: &str = "SELECT answer FROM once_job_items WHERE job = $1 AND business_date = $2 AND item = $3";
