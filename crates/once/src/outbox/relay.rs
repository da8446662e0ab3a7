//! From the outbox to a sink.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use trueup_core::env::{Clock, Nanos, Task, spawn};

use super::{Message, PublishError, Sink};
use crate::{
    Once,
    error::OnceError,
    lease::{Acquired, Lease, owner_name},
    limits::{LEASE_TTL_DEFAULT, POLL_DEFAULT, RELAY_BATCH_DEFAULT, backoff, ms},
    store::{Owned as _, Store, Transaction as _},
};

/// Aggregates whose messages are published side by side.
const AGGREGATES_AT_ONCE: usize = 16;

/// Pause between two counts of what waits, for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What a round of the relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayReport {
    /// Messages read.
    pub read: usize,
    /// Of these, published and marked.
    pub published: usize,
    /// Aggregates whose messages wait after a failure.
    pub failed: usize,
}

/// What became of an aggregate's messages.
struct Settled {
    aggregate: String,
    /// First and last sequence that the sink has.
    accepted: Option<(i64, i64)>,
    refused: bool,
}

/// Reads messages and hands them to a sink, while it holds a lease: one at a time does, others stand by.
pub struct Relay<S, K> {
    once: Once<S>,
    sink: Arc<K>,
    lease: String,
    ttl: Duration,
    batch: u32,
    poll: Duration,
    counted: Mutex<Option<Nanos>>,
}

impl<S: Store, K: Sink> Relay<S, K> {
    /// A relay to `sink`, under the lease `outbox`.
    #[must_use]
    pub fn new(once: Once<S>, sink: K) -> Self {
        Self {
            once,
            sink: Arc::new(sink),
            lease: "outbox".to_owned(),
            ttl: LEASE_TTL_DEFAULT,
            batch: RELAY_BATCH_DEFAULT,
            poll: POLL_DEFAULT,
            counted: Mutex::default(),
        }
    }

    /// How long a killed relay keeps the next one waiting, how many messages are read at a time, and the pause when there are none.
    #[must_use]
    pub fn tuned(mut self, ttl: Duration, batch: u32, poll: Duration) -> Self {
        self.ttl = ttl;
        self.batch = batch.max(1);
        self.poll = poll;
        self
    }

    /// Takes the relay's lease; `None` while another has it.
    ///
    /// **Safe to repeat: yes**, as [`Leases::acquire`](crate::lease::Leases::acquire).
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn acquire(&self) -> Result<Option<Lease<S>>, OnceError> {
        Ok(match self.once.leases().acquire(&self.lease, &owner_name(), self.ttl).await? {
            Acquired::Held(lease) => Some(lease),
            Acquired::Elsewhere { .. } => None,
        })
    }

    /// One round under `lease`: reads a batch, publishes it, marks what was accepted.
    ///
    /// A message that is refused holds up those behind it in its aggregate, for a pause that doubles, and no others.
    ///
    /// **Safe to repeat: yes**, at least once: what was published and not marked is published again. Marks are made under the fence, so a relay that was paused past
    /// its lease marks nothing.
    ///
    /// # Errors
    /// [`OnceError::LeaseLost`]: take the lease anew. [`OnceError::Store`].
    pub async fn run_once(&self, lease: &Lease<S>) -> Result<RelayReport, OnceError> {
        let messages = self.read(lease).await?;
        let mut report = RelayReport { read: messages.len(), ..RelayReport::default() };
        let mut aggregates = BTreeMap::<String, Vec<Message>>::new();
        for message in messages {
            aggregates.entry(message.aggregate.clone()).or_default().push(message);
        }
        let fence = lease.fence();
        let mut outcomes = futures_util::stream::iter(aggregates)
            .map(|(aggregate, messages)| async move {
                let outcome = tokio::time::timeout(self.ttl, self.sink.publish(fence, &messages)).await;
                let outcome = outcome
                    .unwrap_or_else(|_| Err(PublishError::new("the sink did not answer within the lease")));
                (aggregate, messages, outcome)
            })
            .buffer_unordered(AGGREGATES_AT_ONCE);
        let mut settled = Vec::new();
        let mut fenced = false;
        while let Some((aggregate, messages, outcome)) = outcomes.next().await {
            let accepted = match &outcome {
                Ok(()) => messages.len(),
                Err(error) => {
                    fenced |= error.fenced;
                    self.note(error);
                    error.accepted.min(messages.len())
                }
            };
            report.published += accepted;
            report.failed += usize::from(outcome.is_err());
            let sequences = messages[..accepted].first().zip(messages[..accepted].last());
            let accepted = sequences.map(|(first, last)| (first.sequence, last.sequence));
            settled.push(Settled { aggregate, accepted, refused: outcome.is_err() });
        }
        drop(outcomes);
        if fenced {
            return Err(OnceError::LeaseLost { name: lease.name().to_owned(), fence });
        }
        self.mark(lease, settled).await?;
        self.once.counters().outbox_published.add(report.published as u64);
        Ok(report)
    }

    fn note(&self, error: &PublishError) {
        self.once.counters().outbox_failed.add(1);
        tracing::warn!(error = %error.why, accepted = error.accepted, "messages could not be published; they are tried again");
    }

    /// A batch of what waits, in order, of aggregates that are not paused.
    async fn read(&self, lease: &Lease<S>) -> Result<Vec<Message>, OnceError> {
        let tx = self.once.store().begin().await?;
        lease.check(&tx).await?;
        let sql = "SELECT o.id, o.aggregate, o.sequence, o.topic, o.business_id, o.payload, o.created_ms \
                   FROM once_outbox o JOIN once_outbox_aggregates a ON a.aggregate = o.aggregate \
                   WHERE o.published_ms IS NULL AND a.retry_at_ms <= {now} ORDER BY o.id LIMIT $1";
        let rows = tx.query(sql, &[self.batch.into()]).await?;
        tx.commit().await?;
        self.count_waiting().await?;
        rows.iter()
            .map(|row| {
                Ok(Message {
                    id: row.int(0)?,
                    aggregate: row.text(1)?.to_owned(),
                    sequence: row.int(2)?,
                    topic: row.text(3)?.to_owned(),
                    business_id: row.text(4)?.to_owned(),
                    payload: Bytes::copy_from_slice(row.bytes(5)?),
                    created_ms: row.int(6)?,
                })
            })
            .collect()
    }

    /// Now and then: with a long backlog it takes its time.
    async fn count_waiting(&self) -> Result<(), OnceError> {
        let now = Clock::system().now();
        {
            let mut counted = self.counted.lock();
            if counted.is_some_and(|last| now.since(last) < COUNT_EVERY) {
                return Ok(());
            }
            *counted = Some(now);
        }
        let sql = "SELECT count(*), COALESCE({now} - min(created_ms), 0) FROM once_outbox WHERE published_ms IS NULL";
        if let Some(row) = self.once.store().read(sql, &[]).await?.first() {
            let counters = self.once.counters();
            counters.outbox_waiting.set(row.int(0)?.unsigned_abs());
            counters.outbox_oldest_ms.set(u64::try_from(row.int(1)?).unwrap_or_default());
        }
        Ok(())
    }

    async fn mark(&self, lease: &Lease<S>, mut settled: Vec<Settled>) -> Result<(), OnceError> {
        if settled.is_empty() {
            return Ok(());
        }
        // In the order in which writers take several aggregates.
        settled.sort_unstable_by(|a, b| a.aggregate.cmp(&b.aggregate));
        let tx = self.once.store().begin().await?;
        lease.check(&tx).await?;
        for Settled { aggregate, accepted, refused } in &settled {
            if let Some((first, last)) = accepted {
                let sql = "UPDATE once_outbox SET published_ms = {now} WHERE aggregate = $1 AND sequence >= $2 AND sequence <= $3 \
                           AND published_ms IS NULL";
                tx.execute(sql, &[aggregate.into(), (*first).into(), (*last).into()]).await?;
                // What goes well again has its pauses begin anew.
                let sql =
                    "UPDATE once_outbox_aggregates SET attempts = 0 WHERE aggregate = $1 AND attempts > 0";
                tx.execute(sql, &[aggregate.into()]).await?;
            }
            if *refused {
                let sql = "UPDATE once_outbox_aggregates SET attempts = attempts + 1 WHERE aggregate = $1 RETURNING attempts";
                let row = tx.query_row(sql, &[aggregate.into()]).await?;
                let attempts = row.map_or(Ok(1), |row| row.int(0))?;
                let pause = backoff(u32::try_from(attempts).unwrap_or(u32::MAX));
                let sql = "UPDATE once_outbox_aggregates SET retry_at_ms = {now} + $2 WHERE aggregate = $1";
                tx.execute(sql, &[aggregate.into(), ms(pause).into()]).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Relays for ever: takes the lease when it is to be had, and keeps it.
    pub fn start(self) -> Task {
        spawn("once relay", async move {
            loop {
                match self.acquire().await {
                    Ok(Some(lease)) => self.relay_under(&lease).await,
                    Ok(None) => tokio::time::sleep(self.ttl / 3).await,
                    Err(error) => {
                        tracing::warn!(%error, "the relay could not take its lease; it tries again");
                        tokio::time::sleep(self.poll).await;
                    }
                }
            }
        })
    }

    async fn relay_under(&self, lease: &Lease<S>) {
        let kept = lease.keep();
        loop {
            match self.run_once(lease).await {
                Ok(report) if report.published >= self.batch as usize => {}
                Ok(_) => tokio::time::sleep(self.poll).await,
                Err(OnceError::LeaseLost { .. }) => break,
                Err(error) => {
                    tracing::warn!(%error, "the relay could not run; it tries again");
                    tokio::time::sleep(self.poll).await;
                }
            }
        }
        drop(kept);
    }
}

impl<S, K> std::fmt::Debug for Relay<S, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("lease", &self.lease)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
