//! Reads of several keys.

use std::sync::Arc;

use super::{ClassCore, hit::receipt_of};
use crate::{
    entry::CacheValue,
    env::Nanos,
    error::ReadError,
    fill::{Carried, Ending, Filled, Lead, Role},
    key::Key,
    proof::{Need, Position},
    receipt::{Cached, Miss, ServedBy},
    source::{LoadError, LoadedMany},
    tier::Entry,
};

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Each key as a read of its own would; the loads that nobody else has begun go out as one.
    pub(super) async fn each(
        self: &Arc<Self>,
        keys: &[K],
        canonical: &[Key],
        need: &Need,
    ) -> Result<Vec<Cached<V>>, ReadError> {
        let mut answers: Vec<Option<Cached<V>>> = Vec::with_capacity(keys.len());
        let mut missed = Vec::new();
        for (index, (key, text)) in keys.iter().zip(canonical).enumerate() {
            match self.hit(key, text.as_str(), need) {
                Ok(answer) => answers.push(Some(answer)),
                Err(why) => {
                    answers.push(None);
                    missed.push((index, why));
                }
            }
        }
        if missed.len() > 1 && self.outbox.is_none() {
            self.load_together(missed.iter().map(|(index, _)| (&keys[*index], &canonical[*index]))).await;
        }
        for (index, why) in missed {
            let (key, text) = (&keys[index], &canonical[index]);
            // What was loaded just now for this very read is found in memory; the rest goes the way of a single read.
            let answer = match self.hit(key, text.as_str(), need) {
                Ok(answer) => answer,
                Err(_) => self.miss(key, text, need, why).await?,
            };
            answers[index] = Some(answer);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Loads, in one snapshot, those of the keys that nobody else is loading.
    async fn load_together<'a>(self: &Arc<Self>, keys: impl Iterator<Item = (&'a K, &'a Key)>)
    where
        K: 'a,
    {
        let led: Vec<(K, Lead<V>)> = keys
            .filter_map(|(key, text)| match self.flights.join(text) {
                Role::Lead(lead) => Some((key.clone(), lead)),
                Role::Follow(_) => None,
            })
            .collect();
        let core = Arc::clone(self);
        Carried::new("load of several keys", async move { core.fill_together(led).await }).await;
    }

    async fn fill_together(&self, led: Vec<(K, Lead<V>)>) {
        let (keys, leads): (Vec<K>, Vec<Lead<V>>) = led.into_iter().unzip();
        let names: Vec<Key> = leads.iter().map(|lead| lead.key().clone()).collect();
        let sending = |now| leads.iter().for_each(|lead| lead.sending(now));
        match self.load_in_one_snapshot(&keys, &names, sending).await {
            Ok(entries) => leads.into_iter().zip(entries).for_each(|(lead, entry)| {
                lead.end(Ending::Filled(Filled { entry, from: ServedBy::Source }));
            }),
            Err(error) => leads.into_iter().for_each(|lead| lead.end(Ending::Failed(error.clone()))),
        }
    }

    /// One state of the database (P8): all from memory at one position, or else all from one snapshot.
    pub(super) async fn one_state(
        self: &Arc<Self>,
        keys: &[K],
        canonical: &[Key],
        need: &Need,
    ) -> Result<Vec<Cached<V>>, ReadError> {
        if let Some(answers) = self.one_state_from_memory(canonical, need) {
            return Ok(answers);
        }
        let arrived = self.clock.now();
        let core = Arc::clone(self);
        let (keys, names) = (keys.to_vec(), canonical.to_vec());
        let entries =
            core.load_in_one_snapshot(&keys, &names, |_| ()).await.inspect_err(|e| self.stats.failed(e))?;
        if need.token.is_some_and(|token| token < Position::MAX && token > self.ledger.told()) {
            return Err(ReadError::TokenUnknown);
        }
        Ok(entries.into_iter().map(|entry| self.loaded_answer(entry, arrived)).collect())
    }

    fn loaded_answer(&self, entry: Arc<Entry<V>>, arrived: Nanos) -> Cached<V> {
        self.stats.missed(Miss::Bypass);
        self.stats.served(ServedBy::Source);
        let receipt = self.receipt_of_load(&entry, Miss::Bypass, arrived);
        Cached::new(entry, receipt)
    }

    fn one_state_from_memory(&self, canonical: &[Key], need: &Need) -> Option<Vec<Cached<V>>> {
        if !self.provable {
            return None;
        }
        let entries: Vec<_> =
            canonical.iter().map(|key| self.tier.get(key.as_str())).collect::<Option<_>>()?;
        let proofs = entries.iter().map(|entry| entry.proof());
        let proven = self.ledger.check_together(proofs, &self.class_epoch, need, &self.clock).ok()?;
        if entries.iter().any(|entry| proven.now > entry.hard_expires()) {
            return None;
        }
        let receipt = receipt_of(&proven, ServedBy::L1, None);
        Some(
            entries
                .into_iter()
                .map(|entry| {
                    self.stats.hit();
                    Cached::new(entry, receipt)
                })
                .collect(),
        )
    }

    async fn load_in_one_snapshot(
        &self,
        keys: &[K],
        names: &[Key],
        sending: impl FnOnce(Nanos),
    ) -> Result<Vec<Arc<Entry<V>>>, LoadError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let _permit = self.budget.acquire().await?;
        let started = self.clock.now();
        let class_epoch = self.class_epoch.load(std::sync::atomic::Ordering::Acquire);
        let loads: Vec<_> = keys.iter().map(|_| self.ledger.begin_load(started, class_epoch)).collect();
        sending(started);
        let limit = self.plan.hard_timeout;
        let result = match tokio::time::timeout(limit, self.loader.load_many(keys)).await {
            Ok(result) => result,
            Err(_) => Err(LoadError::TimedOut { limit_ms: limit.as_millis() as u64 }),
        };
        let took = self.clock.now().since(started);
        self.stats.loaded(result.as_ref().map(|_| true), took);
        let LoadedMany { values, seen } = result?;
        let judged = loads.into_iter().zip(names).zip(values);
        Ok(judged
            .map(|((load, name), (value, tags))| {
                self.admit(load, name.clone(), value, tags, seen.clone(), took)
            })
            .collect())
    }
}
