//! Leases with fences: one holder at a time, and one who was paused past its end changes nothing.
//!
//! A lease alone stops nobody: its holder may be paused, lose it, and wake up in the middle of its work. So each transaction of
//! the work [checks the fence](Lease::check) in the lease's row, under a lock that keeps the next holder out until it ends.

use std::{sync::Arc, time::Duration};

use trueup_core::env::{Task, random, spawn};

use crate::{
    counters::Counters,
    error::{OnceError, check_name},
    limits::ms,
    store::{Owned as _, Store, StoreErrorKind, Transaction},
};

/// Makes leases. Made by [`Once::leases`](crate::Once::leases).
#[derive(Clone, Debug)]
pub struct Leases<S> {
    store: S,
    counters: Arc<Counters>,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Acquired<S> {
    /// It is ours.
    Held(Lease<S>),
    /// Somebody else has it: walk away. Whoever waits would do what has been done.
    Elsewhere {
        /// Who, where that could be seen.
        owner: String,
        /// When it ends, unless it is renewed.
        left: Duration,
    },
}

/// A lease that was had. It is not given back when dropped: it ends, or is [released](Lease::release).
#[derive(Clone, Debug)]
pub struct Lease<S> {
    store: S,
    counters: Arc<Counters>,
    name: String,
    fence: i64,
    ttl: Duration,
}

impl<S: Store> Leases<S> {
    pub(crate) const fn new(store: S, counters: Arc<Counters>) -> Self {
        Self { store, counters }
    }

    pub(crate) const fn store(&self) -> &S {
        &self.store
    }

    /// Takes the lease `name` for `ttl`, if it has ended by the database's clock or was never held; its fence is one more than the last. `owner` is
    /// for people: [`owner_name`] serves.
    ///
    /// Does not wait for a holder.
    ///
    /// **Safe to repeat: yes.** Whoever repeats after a lost answer is told [`Acquired::Elsewhere`] until that lease ends: two
    /// who use one name for the owner must not both believe to hold it.
    ///
    /// # Errors
    /// [`OnceError::Store`]: not held.
    pub async fn acquire(&self, name: &str, owner: &str, ttl: Duration) -> Result<Acquired<S>, OnceError> {
        check_name("the name of a lease", name)?;
        check_name("the owner of a lease", owner)?;
        let tx = self.store.begin().await?;
        // The upsert would lock the row, and so wait for the holder's transactions, even where the lease is alive.
        let seen = tx
            .query_row("SELECT owner, expires_ms - {now} FROM once_leases WHERE name = $1", &[name.into()])
            .await?;
        if let Some(row) = &seen
            && row.int(1)? > 0
        {
            let (owner, left_ms) = (row.text(0)?.to_owned(), row.int(1)?);
            tx.rollback().await?;
            self.counters.leases_refused.add(1);
            return Ok(Acquired::Elsewhere { owner, left: Duration::from_millis(left_ms.unsigned_abs()) });
        }
        let sql = "INSERT INTO once_leases AS l (name, owner, fence, expires_ms) VALUES ($1, $2, 1, {now} + $3) \
                   ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = l.fence + 1, expires_ms = excluded.expires_ms \
                   WHERE l.expires_ms <= {now} RETURNING fence";
        let taken = match tx.query_row(sql, &[name.into(), owner.into(), ms(ttl).into()]).await {
            // Another is taking it, or the last holder is in the middle of a transaction.
            Err(error) if error.kind() == StoreErrorKind::Busy => None,
            other => other?,
        };
        let Some(row) = taken else {
            drop(tx);
            self.counters.leases_refused.add(1);
            let owner = seen.as_ref().and_then(|row| row.text(0).ok()).unwrap_or_default().to_owned();
            return Ok(Acquired::Elsewhere { owner, left: Duration::ZERO });
        };
        let fence = row.int(0)?;
        tx.commit().await?;
        self.counters.leases_taken.add(1);
        let (store, counters) = (self.store.clone(), Arc::clone(&self.counters));
        Ok(Acquired::Held(Lease { store, counters, name: name.to_owned(), fence, ttl }))
    }
}

impl<S: Store> Lease<S> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its fence. Give it to outside systems that can compare it: they refuse a smaller one than they have seen.
    #[must_use]
    pub const fn fence(&self) -> i64 {
        self.fence
    }

    /// Checks in `tx` that the lease is held and has not ended, and keeps it from being taken until `tx` ends (`FOR SHARE`; on SQLite
    /// `tx` has the only write lock). First statement of every transaction of the work.
    ///
    /// **Safe to repeat: yes.** It locks and reads.
    ///
    /// # Errors
    /// [`OnceError::LeaseLost`]: roll back and stop. [`OnceError::Store`].
    pub async fn check<T: Transaction>(&self, tx: &T) -> Result<(), OnceError> {
        let sql =
            "SELECT 1 FROM once_leases WHERE name = $1 AND fence = $2 AND expires_ms > {now} {for_share}";
        match tx.query_row(sql, &[self.name.as_str().into(), self.fence.into()]).await? {
            Some(_) => Ok(()),
            None => Err(self.lost()),
        }
    }

    /// Extends the lease by its full life from now, unless it has ended.
    ///
    /// **Safe to repeat: yes.** It moves a time, under the fence.
    ///
    /// # Errors
    /// [`OnceError::LeaseLost`]: stop. [`OnceError::Store`]: not known; it may be held still.
    pub async fn renew(&self) -> Result<(), OnceError> {
        let sql = "UPDATE once_leases SET expires_ms = {now} + $3 WHERE name = $1 AND fence = $2 AND expires_ms > {now}";
        self.change(sql, &[self.name.as_str().into(), self.fence.into(), ms(self.ttl).into()]).await
    }

    /// Ends the lease now, so that another may have it at once.
    ///
    /// **Safe to repeat: yes.** The second time it has ended, and the error can be passed over.
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub async fn release(&self) -> Result<(), OnceError> {
        let sql =
            "UPDATE once_leases SET expires_ms = {now} WHERE name = $1 AND fence = $2 AND expires_ms > {now}";
        self.change(sql, &[self.name.as_str().into(), self.fence.into()]).await
    }

    async fn change(&self, sql: &str, params: &[crate::store::Value<'_>]) -> Result<(), OnceError> {
        let tx = self.store.begin().await?;
        if tx.execute(sql, params).await? != 1 {
            return Err(self.lost());
        }
        Ok(tx.commit().await?)
    }

    /// Renews the lease in the background, three times in its life, until what is returned is dropped or the lease is lost.
    #[must_use]
    pub fn keep(&self) -> Kept {
        let lease = self.clone();
        let pause = self.ttl / 3;
        Kept(spawn("once lease", async move {
            loop {
                tokio::time::sleep(pause).await;
                match lease.renew().await {
                    Ok(()) => {}
                    Err(OnceError::LeaseLost { .. }) => {
                        tracing::warn!(lease = lease.name, fence = lease.fence, "the lease was lost");
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(lease = lease.name, %error, "the lease could not be renewed; it is tried again")
                    }
                }
            }
        }))
    }

    fn lost(&self) -> OnceError {
        self.counters.leases_lost.add(1);
        OnceError::LeaseLost { name: self.name.clone(), fence: self.fence }
    }
}

/// Renews a lease until dropped. Made by [`Lease::keep`].
#[derive(Debug)]
pub struct Kept(Task);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A name for this process as an owner, other than that of any other process: its id, and a random number.
#[must_use]
pub fn owner_name() -> String {
    format!("process-{}-{:016x}", std::process::id(), random::number())
}
