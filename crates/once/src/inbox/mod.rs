//! Messages that arrive: each has its effect once, however often it is delivered.
//!
//! ```text
//! begin -> receive -> effect, outbox -> commit -> acknowledge
//! ```
//!
//! A broker delivers again whatever was not acknowledged, and knows nothing of a crash between the commit and the
//! acknowledgement: its own detection of duplicates does not help there. The name that counts is the business id, not the
//! broker's message id: what was sent twice has two of these.

#[cfg(feature = "redis")]
pub mod redis;

use std::sync::Arc;

use crate::{
    counters::Counters,
    error::{OnceError, check_name},
    store::Transaction,
};

/// Receives messages. Made by [`Once::inbox`](crate::Once::inbox).
#[derive(Clone, Debug)]
pub struct Inbox {
    counters: Arc<Counters>,
}

/// A message as it was delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    consumer: &'a str,
    business_id: &'a str,
    order: Option<Order<'a>>,
}

/// Guards against messages that come out of order.
#[derive(Clone, Copy)]
enum Order<'a> {
    Latest(&'a str, i64),
    Next(&'a str, i64),
}

impl<'a> Delivery<'a> {
    /// A message for `consumer` (each consumer has every message once) about what `business_id` names.
    #[must_use]
    pub const fn new(consumer: &'a str, business_id: &'a str) -> Self {
        Self { consumer, business_id, order: None }
    }

    /// The message says how `entity` is as of `version`: one older than what this consumer has seen is
    /// [`Received::Outdated`]. For messages that carry a state, of which the last counts.
    #[must_use]
    pub const fn latest(mut self, entity: &'a str, version: i64) -> Self {
        self.order = Some(Order::Latest(entity, version));
        self
    }

    /// The message says how `entity` changed, in the step to `version`: one that leaves a step out is [`Received::Early`]. For messages
    /// that carry a change, of which each counts, such as those of an outbox, whose sequence has no gaps.
    #[must_use]
    pub const fn next(mut self, entity: &'a str, version: i64) -> Self {
        self.order = Some(Order::Next(entity, version));
        self
    }
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Have its effect in this transaction, commit, acknowledge.
    First,
    /// It has had its effect. Commit or roll back, and acknowledge.
    Repeated,
    /// Something newer is known; it must have no effect. Commit (so that this stays known) and acknowledge.
    Outdated,
    /// An earlier one is missing. Roll back and do not acknowledge: it comes again.
    Early,
}

impl Inbox {
    pub(crate) const fn new(counters: Arc<Counters>) -> Self {
        Self { counters }
    }

    /// Records in `tx` that a message arrived, and says what to do with it. Its effect, and what the effect puts into the outbox, belong into the same
    /// transaction; acknowledge after the commit.
    ///
    /// **Safe to repeat: yes**, which is the point: the row is unique in (consumer, business id), so of all deliveries one has the effect, and
    /// one that runs at the same time waits for its transaction's end.
    ///
    /// # Errors
    /// [`OnceError::Store`]: roll back and do not acknowledge.
    pub async fn receive<T: Transaction>(
        &self,
        tx: &T,
        delivery: &Delivery<'_>,
    ) -> Result<Received, OnceError> {
        check_name("the consumer", delivery.consumer)?;
        check_name("the business id", delivery.business_id)?;
        let sql = "INSERT INTO once_inbox (consumer, business_id, received_ms) VALUES ($1, $2, {now}) \
                   ON CONFLICT (consumer, business_id) DO NOTHING";
        if tx.execute(sql, &[delivery.consumer.into(), delivery.business_id.into()]).await? == 0 {
            self.counters.inbox_repeated.add(1);
            return Ok(Received::Repeated);
        }
        let received = match delivery.order {
            None => Received::First,
            Some(Order::Latest(entity, version)) => self.latest(tx, delivery, entity, version).await?,
            Some(Order::Next(entity, version)) => self.next(tx, delivery, entity, version).await?,
        };
        match received {
            Received::First => self.counters.inbox_first.add(1),
            Received::Outdated => self.counters.inbox_outdated.add(1),
            Received::Early => self.counters.inbox_early.add(1),
            Received::Repeated => self.counters.inbox_repeated.add(1),
        }
        Ok(received)
    }

    async fn latest<T: Transaction>(
        &self,
        tx: &T,
        delivery: &Delivery<'_>,
        entity: &str,
        version: i64,
    ) -> Result<Received, OnceError> {
        check_name("the entity of a message", entity)?;
        let sql = "INSERT INTO once_inbox_versions AS v (consumer, entity, version) VALUES ($1, $2, $3) \
                   ON CONFLICT (consumer, entity) DO UPDATE SET version = excluded.version WHERE v.version < excluded.version";
        let newer = tx.execute(sql, &[delivery.consumer.into(), entity.into(), version.into()]).await? == 1;
        Ok(if newer { Received::First } else { Received::Outdated })
    }

    async fn next<T: Transaction>(
        &self,
        tx: &T,
        delivery: &Delivery<'_>,
        entity: &str,
        version: i64,
    ) -> Result<Received, OnceError> {
        check_name("the entity of a message", entity)?;
        let params = [delivery.consumer.into(), entity.into(), version.into()];
        let first = "INSERT INTO once_inbox_versions (consumer, entity, version) VALUES ($1, $2, 0) \
                     ON CONFLICT (consumer, entity) DO NOTHING";
        tx.execute(first, &params[..2]).await?;
        let step = "UPDATE once_inbox_versions SET version = $3 WHERE consumer = $1 AND entity = $2 AND version = $3 - 1";
        if tx.execute(step, &params).await? == 1 {
            return Ok(Received::First);
        }
        let known = "SELECT version FROM once_inbox_versions WHERE consumer = $1 AND entity = $2";
        let known = tx.query_row(known, &params[..2]).await?.map_or(Ok(0), |row| row.int(0))?;
        if known >= version {
            return Ok(Received::Outdated);
        }
        // The caller may commit after all: it must not be known as received then.
        let forget = "DELETE FROM once_inbox WHERE consumer = $1 AND business_id = $2";
        tx.execute(forget, &[delivery.consumer.into(), delivery.business_id.into()]).await?;
        Ok(Received::Early)
    }
}

impl std::fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Latest(..) => "Latest",
            Self::Next(..) => "Next",
        })
    }
}
