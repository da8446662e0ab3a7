//! Forgetting what is finished.

use trueup_core::env::{Task, spawn};

use super::Once;
use crate::{
    error::OnceError,
    limits::{OUTBOX_RETENTION_DEFAULT, POLL_DEFAULT, REAPER_BATCH_DEFAULT, ms},
    store::{Owned as _, Store, Transaction as _},
};

/// Rounds without work between two that look: once a minute.
const REAP_EVERY: std::time::Duration = POLL_DEFAULT.saturating_mul(120);

impl<S: Store> Once<S> {
    /// Forgets up to `batch` keys that were finished longer ago than [`Options::retention`](super::Options::retention), and commits; how many.
    ///
    /// Unfinished keys are never forgotten, however old: what they began must come to an end first. Business ids are never forgotten
    /// at all.
    ///
    /// **Safe to repeat: yes**, and anywhere at the same time: it deletes what is finished and old, and steps around locked rows.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn reap(&self, batch: u32) -> Result<u64, OnceError> {
        let tx = self.store().begin().await?;
        let sql = "WITH old AS MATERIALIZED (SELECT id FROM once_keys WHERE finished_ms IS NOT NULL \
                   AND finished_ms <= {now} - $1 ORDER BY finished_ms LIMIT $2 {skip_locked}) \
                   DELETE FROM once_keys WHERE id IN (SELECT id FROM old)";
        let count = tx.execute(sql, &[ms(self.options().retention).into(), batch.into()]).await?;
        tx.commit().await?;
        self.counters().reaped.add(count);
        Ok(count)
    }

    /// Forgets finished keys, and messages published more than a week ago, for ever: a batch after the other, then once a minute.
    pub fn start_reaper(&self) -> Task {
        let once = self.clone();
        spawn("once reaper", async move {
            loop {
                let keys = once.reap(REAPER_BATCH_DEFAULT).await;
                let messages =
                    once.outbox().purge(once.store(), OUTBOX_RETENTION_DEFAULT, REAPER_BATCH_DEFAULT).await;
                for error in [keys.as_ref().err(), messages.as_ref().err()].into_iter().flatten() {
                    tracing::warn!(%error, "the reaper could not run; it tries again");
                }
                let full = u64::from(REAPER_BATCH_DEFAULT);
                if keys.unwrap_or_default() < full && messages.unwrap_or_default() < full {
                    tokio::time::sleep(REAP_EVERY).await;
                }
            }
        })
    }
}
