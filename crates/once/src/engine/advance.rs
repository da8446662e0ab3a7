//! Steps of the work on a key.

use std::time::Duration;

use super::{
    Once,
    held::{Held, KeyId, Point},
    row::{COLUMNS, KeyRow},
};
use crate::{
    error::{OnceError, check_bytes},
    key::StoredResponse,
    limits::{DATA_BYTES_MAX, LOCATION_BYTES_MAX, ms},
    store::{Store, Transaction},
};

/// A step to a recovery point, and what goes with it.
#[derive(Clone, Debug)]
pub struct Step {
    to: Point,
    location: Option<String>,
    asynchronous: bool,
    data: Option<Vec<u8>>,
    lease: Option<Duration>,
}

impl Step {
    /// A step to `point`.
    #[must_use]
    pub const fn to(point: Point) -> Self {
        Self { to: point, location: None, asynchronous: false, data: None, lease: None }
    }

    /// Says where the state can be found, from now on: `/payments/7`. In-flight answers name it.
    #[must_use]
    pub fn location(mut self, path: impl Into<String>) -> Self {
        self.location = Some(path.into());
        self
    }

    /// The client is told 202 and looks at the location from now on, where the state is read anew each time. Needs a
    /// [`Step::location`], here or in an earlier step.
    #[must_use]
    pub const fn asynchronous(mut self) -> Self {
        self.asynchronous = true;
        self
    }

    /// Leaves `data` for whoever goes on from this point: the attempt's id at the outside system, its deadline. Replaces what an
    /// earlier step left; without this, that stays.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Holds the key for `lease` from now, in place of [`Options::lease`](super::Options::lease).
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    fn check(&self) -> Result<(), OnceError> {
        self.to.check_target()?;
        check_bytes("the location", self.location.as_ref().map_or(0, String::len), LOCATION_BYTES_MAX)?;
        check_bytes("the recovery data", self.data.as_ref().map_or(0, Vec::len), DATA_BYTES_MAX)
    }
}

impl<S: Store> Once<S> {
    /// Makes a step: moves the key from `held`'s recovery point to another, and extends the lease. The effects of the step belong into
    /// the same transaction.
    ///
    /// What is returned holds once the transaction is committed; until then `held` does.
    ///
    /// **Safe to repeat: yes**, in a new transaction with the same `held`: the step is made by comparing (row, fence, recovery point), so
    /// the second of two finds another point and is [discarded](OnceError::Discarded), with the effects of its transaction.
    ///
    /// # Errors
    /// [`OnceError::Discarded`] where not one row matched: roll back. [`OnceError::Store`].
    pub async fn advance<T: Transaction>(&self, tx: &T, held: &Held, step: Step) -> Result<Held, OnceError> {
        step.check()?;
        if step.asynchronous && step.location.is_none() && held.location.is_none() {
            return Err(OnceError::invalid(
                "an asynchronous step",
                "has no location that a client could look at",
            ));
        }
        let sql = "UPDATE once_keys SET recovery_point = $4, location = COALESCE($5, location), \
                   asynchronous = (asynchronous OR $6), recovery_data = COALESCE($7, recovery_data), \
                   lease_until_ms = {now} + $8 WHERE id = $1 AND fence = $2 AND recovery_point = $3 AND finished_ms IS NULL";
        let params = [
            held.id.0.into(),
            held.fence.into(),
            held.point.name().into(),
            step.to.name().into(),
            step.location.as_ref().into(),
            step.asynchronous.into(),
            step.data.as_ref().into(),
            ms(step.lease.unwrap_or(self.options().lease)).into(),
        ];
        if tx.execute(sql, &params).await? != 1 {
            return Err(self.discard(held));
        }
        self.counters().steps.add(1);
        let mut next = held.clone();
        next.point = step.to;
        next.asynchronous |= step.asynchronous;
        next.location = step.location.or(next.location);
        next.data = step.data.or(next.data);
        Ok(next)
    }

    /// Ends the work on a key: keeps `response`, which every repeat is given byte for byte until the key is forgotten (unless a step
    /// was [asynchronous](Step::asynchronous): then repeats look at the location). The last effects belong into the same transaction.
    ///
    /// Declines are outcomes and are kept like successes. A time-out is not an outcome: see [`Once::postpone`].
    ///
    /// **Safe to repeat: yes**, as [`Once::advance`]: the second of two is discarded.
    ///
    /// # Errors
    /// [`OnceError::Discarded`] where not one row matched: roll back. [`OnceError::Store`].
    pub async fn finish<T: Transaction>(
        &self,
        tx: &T,
        held: &Held,
        response: &StoredResponse,
    ) -> Result<(), OnceError> {
        let sql = "UPDATE once_keys SET recovery_point = 'FINISHED', finished_ms = {now}, response_status = $4, \
                   response_headers = $5, response_body = $6, recovery_data = NULL, review_reason = NULL \
                   WHERE id = $1 AND fence = $2 AND recovery_point = $3 AND finished_ms IS NULL";
        let head = response.head();
        let params = [
            held.id.0.into(),
            held.fence.into(),
            held.point.name().into(),
            i64::from(response.status()).into(),
            (&head).into(),
            response.body().as_ref().into(),
        ];
        if tx.execute(sql, &params).await? != 1 {
            return Err(self.discard(held));
        }
        self.counters().finished.add(1);
        Ok(())
    }

    /// Leaves the key at its recovery point, and lets it be taken up again after `pause`: the outcome is not known yet.
    ///
    /// **Safe to repeat: yes.** It moves a time, and only under the held fence.
    ///
    /// # Errors
    /// As [`Once::advance`].
    pub async fn postpone<T: Transaction>(
        &self,
        tx: &T,
        held: &Held,
        pause: Duration,
    ) -> Result<(), OnceError> {
        let sql = "UPDATE once_keys SET lease_until_ms = {now} + $4 \
                   WHERE id = $1 AND fence = $2 AND recovery_point = $3 AND finished_ms IS NULL";
        let params = [held.id.0.into(), held.fence.into(), held.point.name().into(), ms(pause).into()];
        if tx.execute(sql, &params).await? != 1 {
            return Err(self.discard(held));
        }
        Ok(())
    }

    /// Locks a key's row and gives it as its present holder has it, whoever that is: for news from outside (a webhook, a look-up) that
    /// go through the same last step. `None` where it is finished or gone.
    ///
    /// The row is locked until the transaction ends, so a step that is made in it is the only one; the holder's own comes to
    /// nothing afterwards, because the recovery point has moved.
    ///
    /// **Safe to repeat: yes.** It locks and reads.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn lock<T: Transaction>(&self, tx: &T, id: KeyId) -> Result<Option<Held>, OnceError> {
        let sql =
            format!("SELECT {COLUMNS} FROM once_keys WHERE id = $1 AND finished_ms IS NULL {{for_update}}");
        let row = tx.query_row(&sql, &[id.0.into()]).await?;
        Ok(row.as_ref().map(KeyRow::read).transpose()?.map(|row| row.held))
    }

    fn discard(&self, held: &Held) -> OnceError {
        self.counters().discarded.add(1);
        held.discarded()
    }
}
