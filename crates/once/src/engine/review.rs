//! What does not come to an end by itself, for people.

use super::{
    Once,
    held::{Held, KeyId, Point},
};
use crate::{
    error::OnceError,
    limits::{REASON_BYTES_MAX, ms},
    store::{Store, Transaction},
};

/// An unfinished key that is too old, was tried too often, or was handed to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The key's row.
    pub id: KeyId,
    /// How far it has come.
    pub point: Point,
    /// How long ago it was claimed first, in ms.
    pub age_ms: i64,
    /// How often it was taken over.
    pub attempts: u32,
    /// Why it was handed to people, if it was.
    pub review_reason: Option<String>,
}

impl<S: Store> Once<S> {
    /// How many keys are stuck, and up to `count` of them, the oldest first: an alert should stand on this.
    ///
    /// **Safe to repeat: yes.** It only reads.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn stuck(&self, count: u32) -> Result<(u64, Vec<Stuck>), OnceError> {
        let sql = "SELECT id, recovery_point, {now} - created_ms, attempts, review_reason, count(*) OVER () FROM once_keys \
                   WHERE finished_ms IS NULL AND (created_ms <= {now} - $1 OR attempts >= $2 OR review_reason IS NOT NULL) \
                   ORDER BY created_ms, id LIMIT $3";
        let params =
            [ms(self.options().stuck_after).into(), self.options().stuck_attempts.into(), count.into()];
        let rows = self.store().read(sql, &params).await?;
        let mut total = 0;
        let mut stuck = Vec::with_capacity(rows.len());
        for row in &rows {
            total = u64::try_from(row.int(5)?).unwrap_or_default();
            stuck.push(Stuck {
                id: KeyId(row.int(0)?),
                point: Point::stored(row.text(1)?),
                age_ms: row.int(2)?,
                attempts: u32::try_from(row.int(3)?).unwrap_or(u32::MAX),
                review_reason: row.opt_text(4)?.map(str::to_owned),
            });
        }
        Ok((total, stuck))
    }

    /// Hands a key to people: it is not taken up again by itself, and repeats are told that it is in flight. It fails nothing and
    /// releases nothing: what the outside system did is not known.
    ///
    /// **Safe to repeat: yes.** Under the held fence, with the last reason kept.
    ///
    /// # Errors
    /// As [`Once::advance`].
    pub async fn review<T: Transaction>(&self, tx: &T, held: &Held, reason: &str) -> Result<(), OnceError> {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let sql = "UPDATE once_keys SET review_reason = $4 \
                   WHERE id = $1 AND fence = $2 AND recovery_point = $3 AND finished_ms IS NULL";
        let params = [held.id.0.into(), held.fence.into(), held.point.name().into(), reason[..end].into()];
        if tx.execute(sql, &params).await? != 1 {
            return Err(held.discarded());
        }
        self.counters().reviews.add(1);
        Ok(())
    }

    /// Gives a key back to the completer after a person has looked at it. `false` where it was not in review.
    ///
    /// **Safe to repeat: yes.** The second time there is nothing to give back.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn reopen<T: Transaction>(&self, tx: &T, id: KeyId) -> Result<bool, OnceError> {
        let sql = "UPDATE once_keys SET review_reason = NULL, lease_until_ms = {now} \
                   WHERE id = $1 AND review_reason IS NOT NULL AND finished_ms IS NULL";
        Ok(tx.execute(sql, &[id.0.into()]).await? == 1)
    }
}
