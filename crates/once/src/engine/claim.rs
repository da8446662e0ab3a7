//! Asking for a key: new, taken over, answered already, or in somebody else's hands.

use std::time::Duration;

use super::{
    Once,
    held::{Held, KeyId, Point},
    row::{COLUMNS, KeyRow},
};
use crate::{
    error::OnceError,
    key::{BusinessId, Fingerprint, Scope, StoredResponse},
    limits::{LOOKS_MAX, RETRY_AFTER_S, ms},
    store::{Store, StoreError, StoreErrorKind, Transaction, Value},
};

/// A request that is to have its effect once.
#[derive(Clone, Debug)]
pub struct Request {
    scope: Scope,
    fingerprint: Fingerprint,
    business: Option<BusinessId>,
}

impl Request {
    /// A request with the key of `scope`, which asks for what `fingerprint` says.
    #[must_use]
    pub const fn new(scope: Scope, fingerprint: Fingerprint) -> Self {
        Self { scope, fingerprint, business: None }
    }

    /// With the client's own name for what is wanted: unique for ever, so that no expired key repeats it.
    #[must_use]
    pub fn business(mut self, id: BusinessId) -> Self {
        self.business = Some(id);
        self
    }

    /// The key and whose it is.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What is asked for.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// What a look at a key shows, without taking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// Nobody has used the key, or it has been forgotten.
    New,
    /// Answered for good: give the same answer again, byte for byte.
    Replay(StoredResponse),
    /// Accepted, and to be followed at its location; look at the present state there.
    Accepted {
        /// Where the state can be found.
        location: String,
        /// Whether the work has ended.
        finished: bool,
    },
    /// Somebody works on it.
    InFlight {
        /// After how long it is worth asking again.
        retry_after: Duration,
        /// Where the state can be found, once that exists.
        location: Option<String>,
    },
    /// The worker's lease has ended: a claim would take it over.
    Lapsed,
    /// The key was used for something else.
    Mismatch,
}

/// What came of asking for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is new, and this transaction's if it commits. Do the work from the beginning.
    Granted(Held),
    /// It was begun by somebody whose lease has ended, and is this transaction's if it commits. Go on from
    /// [`Held::point`]: what is before that has happened.
    Resumed(Held),
    /// As [`LookUp::Replay`].
    Replay(StoredResponse),
    /// As [`LookUp::Accepted`].
    Accepted {
        /// Where the state can be found.
        location: String,
        /// Whether the work has ended.
        finished: bool,
    },
    /// As [`LookUp::InFlight`].
    InFlight {
        /// After how long it is worth asking again.
        retry_after: Duration,
        /// Where the state can be found, once that exists.
        location: Option<String>,
    },
    /// As [`LookUp::Mismatch`].
    Mismatch,
    /// The key is new, but its business id is not: what is asked for was begun under another key, maybe one long forgotten.
    Known(Known),
}

impl From<LookUp> for Claim {
    fn from(seen: LookUp) -> Self {
        match seen {
            LookUp::Replay(response) => Self::Replay(response),
            LookUp::Accepted { location, finished } => Self::Accepted { location, finished },
            LookUp::InFlight { retry_after, location } => Self::InFlight { retry_after, location },
            LookUp::Mismatch => Self::Mismatch,
            // A look that found the way free, where another worker was quicker to take it.
            LookUp::New | LookUp::Lapsed => {
                Self::InFlight { retry_after: Duration::from_secs(1), location: None }
            }
        }
    }
}

/// A business id that was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where its outcome can be found: the reference that the first request gave.
    pub reference: String,
    /// Whether the first request asked for the same.
    pub same: bool,
}

impl<S: Store> Once<S> {
    /// Looks at a key without taking it: the gate before anything that could refuse a repeat of what has succeeded.
    ///
    /// **Safe to repeat: yes.** It only reads. Nothing follows from [`LookUp::New`] or [`LookUp::Lapsed`] but that a claim is worth making.
    ///
    /// # Errors
    /// [`OnceError::Store`]: answer 503 and do nothing. Going on without knowing would be how money is spent twice.
    pub async fn look_up(&self, request: &Request) -> Result<LookUp, OnceError> {
        let rows = self.store().read(&find_sql(), &find_params(&request.scope)).await?;
        let Some(row) = rows.first() else { return Ok(LookUp::New) };
        let row = KeyRow::read(row)?;
        Ok(match self.judge(row, &request.fingerprint) {
            Ok(settled) => {
                self.count(&settled);
                settled
            }
            Err(_) => LookUp::Lapsed,
        })
    }

    /// Takes a key, if it is to be had: inserts it, or takes it over from a worker whose lease has ended (by the database's clock).
    /// The work belongs into the same transaction, or after its commit.
    ///
    /// A second request with the same key waits here while the first one's transaction is open (on PostgreSQL for no longer than its
    /// `lock_timeout`), and then sees what came of it.
    ///
    /// **Safe to repeat: yes**, in a new transaction: the row is unique in (principal, key), so of all that run together exactly
    /// one is granted, and a repeat sees what became of that one. If COMMIT's answer was lost, a repeat is told
    /// [`Claim::InFlight`] until the lease ends.
    ///
    /// # Errors
    /// [`OnceError::Store`]; [`StoreErrorKind::Busy`] where the first request holds its row for too long, which is the same to the
    /// client as [`Claim::InFlight`].
    pub async fn claim<T: Transaction>(&self, tx: &T, request: &Request) -> Result<Claim, OnceError> {
        for _ in 0..LOOKS_MAX {
            if let Some(held) = self.insert(tx, request).await? {
                return self.with_business_id(tx, request, held).await;
            }
            // Gone again: reaped between the two statements.
            let Some(row) = find(tx, &request.scope).await? else { continue };
            return match self.judge(row, &request.fingerprint) {
                Ok(settled) => {
                    self.count(&settled);
                    Ok(settled.into())
                }
                Err(lapsed) => self.take_over(tx, *lapsed).await,
            };
        }
        Err(StoreError::new(StoreErrorKind::Busy, "the key's row came and went while it was claimed").into())
    }

    async fn insert<T: Transaction>(&self, tx: &T, request: &Request) -> Result<Option<Held>, OnceError> {
        let sql = "INSERT INTO once_keys (principal, idempotency_key, fingerprint, recovery_point, fence, lease_until_ms, \
                   attempts, asynchronous, created_ms) \
                   VALUES ($1, $2, $3, 'STARTED', 1, {now} + $4, 0, FALSE, {now}) \
                   ON CONFLICT (principal, idempotency_key) DO NOTHING RETURNING id, created_ms";
        let principal = request.scope.principal();
        let params = [
            principal.into(),
            request.scope.key().as_str().into(),
            request.fingerprint.as_bytes().into(),
            ms(self.options().lease).into(),
        ];
        let Some(row) = tx.query_row(sql, &params).await? else { return Ok(None) };
        Ok(Some(Held {
            id: KeyId(row.int(0)?),
            fence: 1,
            point: Point::STARTED,
            principal: principal.to_owned(),
            attempts: 0,
            location: None,
            asynchronous: false,
            data: None,
            created_ms: row.int(1)?,
        }))
    }

    async fn with_business_id<T: Transaction>(
        &self,
        tx: &T,
        request: &Request,
        held: Held,
    ) -> Result<Claim, OnceError> {
        let Some(business) = &request.business else {
            self.counters().claims_granted.add(1);
            return Ok(Claim::Granted(held));
        };
        let sql = "INSERT INTO once_business_ids (namespace, business_id, fingerprint, reference, created_ms) \
                   VALUES ($1, $2, $3, $4, {now}) ON CONFLICT (namespace, business_id) DO NOTHING";
        let params = [
            business.namespace().into(),
            business.id().into(),
            request.fingerprint.as_bytes().into(),
            business.reference().into(),
        ];
        if tx.execute(sql, &params).await? == 1 {
            self.counters().claims_granted.add(1);
            return Ok(Claim::Granted(held));
        }
        let sql =
            "SELECT reference, fingerprint FROM once_business_ids WHERE namespace = $1 AND business_id = $2";
        let row = tx.query_row(sql, &params[..2]).await?;
        let row =
            row.ok_or_else(|| StoreError::new(StoreErrorKind::Busy, "the business id came and went"))?;
        // The caller may commit for reasons of its own: no key may stay that nobody will finish.
        tx.execute("DELETE FROM once_keys WHERE id = $1", &[held.id.0.into()]).await?;
        self.counters().business_ids_known.add(1);
        Ok(Claim::Known(Known {
            reference: row.text(0)?.to_owned(),
            same: row.bytes(1)? == request.fingerprint.as_bytes(),
        }))
    }

    /// What a row says; the row itself where its lease has ended.
    fn judge(&self, row: KeyRow, fingerprint: &Fingerprint) -> Result<LookUp, Box<KeyRow>> {
        if row.fingerprint != *fingerprint {
            return Ok(LookUp::Mismatch);
        }
        let finished = row.is_finished();
        if row.held.asynchronous
            && let Some(location) = row.held.location
        {
            return Ok(LookUp::Accepted { location, finished });
        }
        if let Some(response) = row.response {
            return Ok(LookUp::Replay(response));
        }
        let left_ms = row.lease_until_ms - row.now_ms;
        if left_ms <= 0 && !row.in_review {
            return Err(Box::new(row));
        }
        let left_s = u64::try_from(left_ms).unwrap_or(0).div_ceil(1_000);
        let retry_after = Duration::from_secs(left_s.clamp(*RETRY_AFTER_S.start(), *RETRY_AFTER_S.end()));
        Ok(LookUp::InFlight { retry_after, location: row.held.location })
    }

    fn count(&self, settled: &LookUp) {
        let counters = self.counters();
        match settled {
            LookUp::Replay(_) | LookUp::Accepted { .. } => counters.replays.add(1),
            LookUp::Mismatch => counters.mismatches.add(1),
            LookUp::InFlight { .. } => counters.in_flight.add(1),
            LookUp::New | LookUp::Lapsed => {}
        }
    }

    async fn take_over<T: Transaction>(&self, tx: &T, row: KeyRow) -> Result<Claim, OnceError> {
        let sql = "UPDATE once_keys SET fence = fence + 1, attempts = attempts + 1, lease_until_ms = {now} + $3 \
                   WHERE id = $1 AND fence = $2 AND finished_ms IS NULL AND review_reason IS NULL \
                   AND lease_until_ms <= {now}";
        let params = [row.held.id.0.into(), row.held.fence.into(), ms(self.options().lease).into()];
        if tx.execute(sql, &params).await? == 0 {
            // Another worker was quicker.
            self.counters().in_flight.add(1);
            return Ok(Claim::InFlight { retry_after: Duration::from_secs(1), location: row.held.location });
        }
        self.counters().claims_taken_over.add(1);
        let mut held = row.held;
        held.fence += 1;
        held.attempts = held.attempts.saturating_add(1);
        Ok(Claim::Resumed(held))
    }
}

async fn find<T: Transaction>(tx: &T, scope: &Scope) -> Result<Option<KeyRow>, OnceError> {
    tx.query_row(&find_sql(), &find_params(scope)).await?.as_ref().map(KeyRow::read).transpose()
}

fn find_sql() -> String {
    format!("SELECT {COLUMNS} FROM once_keys WHERE principal = $1 AND idempotency_key = $2")
}

fn find_params(scope: &Scope) -> [Value<'_>; 2] {
    [scope.principal().into(), scope.key().as_str().into()]
}
