//! Writing messages, and forgetting those that were published.

use std::{sync::Arc, time::Duration};

use super::NewMessage;
use crate::{
    counters::Counters,
    error::OnceError,
    limits::ms,
    store::{Owned as _, Store, StoreError, StoreErrorKind, Transaction},
};

/// Writes messages. Made by [`Once::outbox`](crate::Once::outbox).
#[derive(Clone, Debug)]
pub struct Outbox {
    counters: Arc<Counters>,
}

impl Outbox {
    pub(crate) const fn new(counters: Arc<Counters>) -> Self {
        Self { counters }
    }

    /// Writes a message in `tx`, the transaction of what it tells of; its sequence within the aggregate.
    ///
    /// Locks the aggregate's row until `tx` ends, so that messages are numbered in the order of commits: transactions that send messages about
    /// several aggregates take them in one order (by name, say), or PostgreSQL may resolve a deadlock against one.
    ///
    /// **Safe to repeat: only with its transaction.** Two calls in committed transactions are two messages; under a claim, a step or the inbox the
    /// second transaction comes to nothing.
    ///
    /// # Errors
    /// [`OnceError::Invalid`]; [`OnceError::Store`].
    pub async fn put<T: Transaction>(&self, tx: &T, message: &NewMessage<'_>) -> Result<i64, OnceError> {
        message.check()?;
        let sql = "INSERT INTO once_outbox_aggregates AS a (aggregate, last_sequence, attempts, retry_at_ms) VALUES ($1, 1, 0, 0) \
                   ON CONFLICT (aggregate) DO UPDATE SET last_sequence = a.last_sequence + 1 RETURNING last_sequence";
        let row = tx.query_row(sql, &[message.aggregate.into()]).await?;
        let row = row.ok_or_else(|| StoreError::new(StoreErrorKind::Usage, "an upsert returned no row"))?;
        let sequence = row.int(0)?;
        // After the aggregate's lock, so that ids rise with the sequence.
        let sql = "INSERT INTO once_outbox (aggregate, sequence, topic, business_id, payload, created_ms) \
                   VALUES ($1, $2, $3, $4, $5, {now})";
        let params = [
            message.aggregate.into(),
            sequence.into(),
            message.topic.into(),
            message.business_id.into(),
            message.payload.into(),
        ];
        tx.execute(sql, &params).await?;
        self.counters.outbox_put.add(1);
        Ok(sequence)
    }

    /// Forgets up to `batch` messages that were published longer ago than `age`, and commits; how many.
    ///
    /// **Safe to repeat: yes.** Messages that wait are never forgotten.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn purge<S: Store>(&self, store: &S, age: Duration, batch: u32) -> Result<u64, OnceError> {
        let tx = store.begin().await?;
        let sql = "DELETE FROM once_outbox WHERE id IN (SELECT id FROM once_outbox WHERE published_ms IS NOT NULL \
                   AND published_ms <= {now} - $1 ORDER BY published_ms LIMIT $2)";
        let count = tx.execute(sql, &[ms(age).into(), batch.into()]).await?;
        tx.commit().await?;
        Ok(count)
    }
}
