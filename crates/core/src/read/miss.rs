//! What happens when memory has no answer.

use std::{sync::Arc, time::Duration};

use super::{
    ClassCore,
    hit::{Missed, receipt_of},
};
use crate::{
    entry::CacheValue,
    env::Nanos,
    error::ReadError,
    fill::{Carried, Ending, Filled, Flight, Lead, Role},
    key::Key,
    proof::{Need, Position, Standing, Unproven},
    receipt::{Cached, Miss, Receipt, ServedBy},
    source::LoadError,
    tier::Entry,
};

/// How a wait for a load ended.
enum Waited<V> {
    Ended(Ending<V>),
    /// The reader may have a stale value and has waited long enough for a better one.
    SoftTimeout,
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Answers from the remote tier or the source, through single-flight.
    #[cold]
    pub(super) async fn miss(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
        need: &Need,
        missed: Missed<V>,
    ) -> Result<Cached<V>, ReadError> {
        let arrived = self.clock.now();
        self.stats.missed(missed.why);
        let stand_in = missed.unproven.filter(|entry| self.may_stand_in(entry, need, arrived));
        if let Some(entry) = &stand_in
            && entry.retry_at() > arrived
        {
            return Ok(self.stale(entry, missed.why));
        }
        // What another node stored can help neither a reader ahead of the feed, nor a node that does not know how
        // far the source is.
        let remote = !matches!(missed.why, Miss::Bypass | Miss::Unproven(Unproven::TooOld));
        match self.through_flight(key, canonical, need, arrived, stand_in.is_some(), remote).await {
            Waited::Ended(Ending::Filled(filled)) => self.answer(filled, need, missed.why, arrived),
            Waited::SoftTimeout => {
                let entry = stand_in.ok_or(LoadError::Lost)?;
                Ok(self.stale(&entry, missed.why))
            }
            Waited::Ended(Ending::Failed(error)) => {
                if let Some(entry) = stand_in.filter(|_| error.is_outage()) {
                    entry.hold_off(self.clock.now().after(self.plan.failure_backoff));
                    return Ok(self.stale(&entry, missed.why));
                }
                self.stats.failed(&error);
                Err(error.into())
            }
        }
    }

    /// Loads, or waits for a load whose answer this reader may take.
    async fn through_flight(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
        need: &Need,
        arrived: Nanos,
        has_stand_in: bool,
        mut remote: bool,
    ) -> Waited<V> {
        loop {
            let (flight, work, unchecked) = match self.flights.join(canonical) {
                Role::Lead(lead) => {
                    let flight = lead.flight();
                    (flight, Some(self.carry(lead, key, remote)), true)
                }
                Role::Follow(flight) => {
                    self.stats.coalesced();
                    let unchecked = flight.is_after(arrived);
                    (flight, None, unchecked)
                }
            };
            let waited = self.wait(&flight, work, has_stand_in).await;
            let Waited::Ended(Ending::Filled(filled)) = &waited else { return waited };
            // The query was sent before this reader arrived, or another node's entry was found: the answer counts only
            // if it passes the check by this reader's own demands.
            let loaded_after = unchecked && filled.from == ServedBy::Source;
            if loaded_after || self.judge(&filled.entry, need).is_ok() {
                return waited;
            }
            remote = false;
        }
    }

    /// The load as a future that goes on when the reader is gone.
    fn carry(self: &Arc<Self>, lead: Lead<V>, key: &K, remote: bool) -> Carried {
        let (core, key) = (Arc::clone(self), key.clone());
        Carried::new("load", async move { core.fill(lead, &key, remote).await })
    }

    async fn wait(&self, flight: &Flight<V>, work: Option<Carried>, has_stand_in: bool) -> Waited<V> {
        let ended = async {
            match work {
                // The load runs in this very task; its end is set when it returns.
                Some(work) => {
                    work.await;
                    flight.ending().await
                }
                None => flight.ending().await,
            }
        };
        let soft = self.plan.soft_timeout.filter(|_| has_stand_in);
        let limit = soft.unwrap_or_else(|| self.wait_max());
        match tokio::time::timeout(limit, ended).await {
            Ok(ending) => Waited::Ended(ending),
            Err(_) if soft.is_some() => Waited::SoftTimeout,
            Err(_) => {
                Waited::Ended(Ending::Failed(LoadError::TimedOut { limit_ms: limit.as_millis() as u64 }))
            }
        }
    }

    /// Longest wait of a reader: for a place among the loads, and for the load.
    fn wait_max(&self) -> Duration {
        self.plan.hard_timeout.saturating_mul(2)
    }

    fn answer(
        &self,
        filled: Filled<V>,
        need: &Need,
        miss: Miss,
        arrived: Nanos,
    ) -> Result<Cached<V>, ReadError> {
        let entry = filled.entry;
        // A position beyond all that the source has told, after it was asked: it never gave such a token.
        if need.token.is_some_and(|token| token < Position::MAX && token > self.ledger.told()) {
            return Err(ReadError::TokenUnknown);
        }
        let receipt = match filled.from {
            ServedBy::Source => self.receipt_of_load(&entry, miss, arrived),
            from => match self.ledger.check(entry.proof(), &self.class_epoch, need, &self.clock) {
                Ok(proven) => receipt_of(&proven, from, Some(miss)),
                // It passed a moment ago, and has been invalidated since: as true as a load that started then.
                Err(_) => self.receipt_of_load(&entry, miss, arrived),
            },
        };
        self.stats.served(receipt.served_by);
        Ok(Cached::new(entry, receipt))
    }

    /// A value read on the primary is true as of the load's start.
    pub(super) fn receipt_of_load(&self, entry: &Entry<V>, miss: Miss, arrived: Nanos) -> Receipt {
        let age = self.clock.now().since(entry.loaded().max(arrived));
        let watermark = entry.proof().upper();
        Receipt { served_by: ServedBy::Source, age, proven: true, watermark, miss: Some(miss) }
    }

    /// Whether an unproven entry may be served, labelled stale, if the source fails.
    fn may_stand_in(&self, entry: &Entry<V>, need: &Need, now: Nanos) -> bool {
        let Some(limit) = self.plan.serve_stale else { return false };
        let epochs = entry.proof().epochs();
        // A reader with a token was promised its own write; an entry of an older epoch or schema may be of another world.
        let same_world = self.ledger.epoch_number() == epochs.source
            && self.class_epoch.load(std::sync::atomic::Ordering::Acquire) == epochs.class;
        need.token.is_none() && same_world && now.since(self.last_true(entry)) <= limit
    }

    /// When the entry was last known to be true.
    fn last_true(&self, entry: &Entry<V>) -> Nanos {
        let by_proof = match entry.proof().standing() {
            Standing::Settled(_) if self.provable => entry.proof().proven_moment(),
            _ => Nanos::ZERO,
        };
        by_proof.max(entry.loaded())
    }

    fn stale(&self, entry: &Arc<Entry<V>>, miss: Miss) -> Cached<V> {
        let age = self.clock.now().since(self.last_true(entry));
        let watermark = self.ledger.applied();
        self.stats.served(ServedBy::Stale);
        let receipt = Receipt { served_by: ServedBy::Stale, age, proven: false, watermark, miss: Some(miss) };
        Cached::new(Arc::clone(entry), receipt)
    }
}
