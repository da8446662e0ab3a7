//! Reads of several keys.

use std::sync::{Arc, atomic::Ordering};

use tokio::{sync::oneshot, task::coop};

use super::{
    ClassCore,
    hit::receipt_of,
    load::InFlight,
    miss::{Asking, Boarded},
    together::Member,
};
use crate::{
    entry::CacheValue,
    env::{self, Nanos},
    error::ReadError,
    fill::{Ending, Lead, Role},
    guard::Admission,
    key::{Key, KeyName},
    proof::Need,
    receipt::{Cached, Miss, ServedBy},
    source::{LoadError, LoadedMany},
    tier::Entry,
};

/// Keys that memory answers in about the time for which a task of the runtime has one unit of its budget.
const KEYS_A_UNIT: usize = 16;

/// What memory answers is answered without a pause: a task that reads many keys again and again would keep a thread of the runtime for
/// itself, and the feed or a load of its own could be waiting for that thread.
pub(super) async fn let_others_run(keys: usize) {
    for _ in 0..keys.div_ceil(KEYS_A_UNIT) {
        coop::consume_budget().await;
    }
}

/// A load that one reader of several keys has to make.
struct Led<K, V> {
    key: K,
    lead: Lead<V>,
    tiers: bool,
}

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
    ) -> Vec<Result<Cached<V>, ReadError>> {
        let mut answers: Vec<Option<Result<Cached<V>, ReadError>>> = Vec::with_capacity(keys.len());
        let mut asked = Vec::new();
        for (index, (key, name)) in keys.iter().zip(canonical).enumerate() {
            if let Some(found) = self.hit(key, KeyName::of(name.as_str()), need) {
                answers.push(Some(Ok(found.answer())));
                continue;
            }
            let missed = match self.hit_or_missed(key, name, need) {
                Ok(found) => {
                    answers.push(Some(Ok(found.answer())));
                    continue;
                }
                Err(missed) => missed,
            };
            if let Some(absent) = self.surely_absent(key, name, need) {
                answers.push(Some(Ok(absent)));
                continue;
            }
            self.note_asked(name);
            match self.ask(need, missed) {
                Ok(asking) => {
                    answers.push(None);
                    asked.push((index, asking));
                }
                Err(stale) => answers.push(Some(Ok(stale))),
            }
        }
        let boarded = self.board_all(keys, canonical, &asked);
        for ((index, asking), boarded) in asked.into_iter().zip(boarded) {
            answers[index] = Some(self.finish(&keys[index], &canonical[index], asking, boarded).await);
        }
        answers.into_iter().flatten().collect()
    }

    /// Joins the loads that are under way, and begins the rest as one.
    fn board_all(
        self: &Arc<Self>,
        keys: &[K],
        canonical: &[Key],
        asked: &[(usize, Asking<'_, V>)],
    ) -> Vec<Boarded<V>> {
        let mut led = Vec::new();
        let boarded = asked
            .iter()
            .map(|(index, asking)| match self.flights.join(&canonical[*index]) {
                Role::Lead(lead) => {
                    let flight = lead.flight();
                    led.push(Led { key: keys[*index].clone(), lead, tiers: asking.tiers });
                    Boarded::led(flight)
                }
                Role::Follow(flight) => self.follow(flight, asking),
            })
            .collect();
        if !led.is_empty() {
            let core = Arc::clone(self);
            env::spawn("load of several keys", async move { core.fill_all(led).await });
        }
        boarded
    }

    /// Fills several keys and ends their flights, whatever happens.
    async fn fill_all(self: Arc<Self>, led: Vec<Led<K, V>>) {
        let mut rest = self.fill_from_tiers(led).await;
        if self.is_aside() {
            rest.drain(..).for_each(|led| led.lead.end(Ending::Failed(LoadError::Unfilled)));
        }
        match rest.len() {
            0 => {}
            1 => {
                let Led { key, lead, tiers } = rest.remove(0);
                self.load_in_turn(lead, key, tiers, false).await;
            }
            _ => {
                let member = |Led { key, lead, .. }| Member { lead, key, standby: false, hold: None };
                if let Err((members, error)) =
                    self.load_together(rest.into_iter().map(member).collect()).await
                {
                    self.end_all(members, &error);
                }
            }
        }
    }

    /// Ends the flights that memory or the remote tier can end; returns the others.
    async fn fill_from_tiers(&self, led: Vec<Led<K, V>>) -> Vec<Led<K, V>> {
        let (wanted, mut rest): (Vec<_>, Vec<_>) = led.into_iter().partition(|led| led.tiers);
        let names: Vec<&Key> = wanted.iter().map(|led| led.lead.key()).collect();
        let found = self.look_up_tiers(&names).await;
        for (led, filled) in wanted.into_iter().zip(found) {
            match filled {
                Some(filled) => led.lead.end(Ending::Filled(filled)),
                None => rest.push(led),
            }
        }
        rest
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
        keys.iter().for_each(|_| self.stats.missed(Miss::Bypass));
        self.wish(need);
        canonical.iter().for_each(|name| self.note_asked(name));
        let result = self.load_one_state(keys, canonical, need).await;
        if let Err(error) = &result {
            keys.iter().for_each(|_| self.stats.failed(error));
        }
        let answer = |entry: Arc<Entry<V>>| {
            self.stats.served(ServedBy::Source);
            let receipt = self.receipt_of_load(&entry, Miss::Bypass);
            Cached::new(entry, receipt)
        };
        Ok(result?.into_iter().map(answer).collect())
    }

    /// The load runs in a task of its own, so that a reader who leaves leaves its values to others.
    async fn load_one_state(
        self: &Arc<Self>,
        keys: &[K],
        canonical: &[Key],
        need: &Need,
    ) -> Result<Vec<Arc<Entry<V>>>, ReadError> {
        let (sender, loaded) = oneshot::channel();
        let (core, keys, names) = (Arc::clone(self), keys.to_vec(), canonical.to_vec());
        env::spawn("load of one state", async move {
            // Nobody listens any more if the reader has left; what was loaded is in memory.
            let _ = sender.send(core.load_in_one_snapshot(&keys, &names, |_| ()).await);
        });
        let entries = loaded.await.map_err(|_| LoadError::Lost)??;
        entries.iter().try_for_each(|entry| self.check_token(need, entry))?;
        Ok(entries)
    }

    fn one_state_from_memory(&self, canonical: &[Key], need: &Need) -> Option<Vec<Cached<V>>> {
        if !self.provable {
            return None;
        }
        let entries: Vec<_> =
            canonical.iter().map(|key| self.tier.get(key.as_str())).collect::<Option<_>>()?;
        let proofs = entries.iter().map(|entry| entry.proof());
        let proven = self.ledger.check_together(proofs, self.catalogue.number(), need, &self.clock).ok()?;
        if entries.iter().any(|entry| proven.now > entry.hard_expires()) {
            return None;
        }
        let receipt = receipt_of(&proven, ServedBy::L1, None);
        let answer = |entry: Arc<Entry<V>>| {
            self.stats.hit();
            if entry.value().is_none() {
                self.stats.hit_absent();
            }
            Cached::new(entry, receipt)
        };
        Some(entries.into_iter().map(answer).collect())
    }

    pub(super) async fn load_in_one_snapshot(
        &self,
        keys: &[K],
        names: &[Key],
        sending: impl FnOnce(Nanos),
    ) -> Result<Vec<Arc<Entry<V>>>, LoadError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let admission = self.gate.admit().await?;
        self.load_in_place(admission, keys, names, sending).await
    }

    /// The same, in a place that has been found for it.
    pub(super) async fn load_in_place(
        &self,
        admission: Admission<'_>,
        keys: &[K],
        names: &[Key],
        sending: impl FnOnce(Nanos),
    ) -> Result<Vec<Arc<Entry<V>>>, LoadError> {
        let _counted = InFlight::begin(self);
        let started = self.clock.now();
        let class_epoch = self.catalogue.number().load(Ordering::Acquire);
        let loads: Vec<_> = keys.iter().map(|_| self.ledger.begin_load(started, class_epoch)).collect();
        sending(started);
        let limit = self.plan.hard_timeout;
        let result = match tokio::time::timeout(limit, self.loader.load_many(keys)).await {
            Ok(result) => result.and_then(|loaded| all_answered(loaded, keys.len())),
            Err(_) => Err(LoadError::TimedOut { limit_ms: limit.as_millis() as u64 }),
        };
        let took = self.clock.now().since(started);
        self.stats.loaded(result.as_ref().map(|_| true), took);
        admission.ended(result.as_ref().map(drop), took);
        let LoadedMany { values, seen } = result?;
        self.load_time.note(took);
        let judged = loads.into_iter().zip(names).zip(values);
        Ok(judged
            .map(|((load, name), (value, tags))| {
                self.note_found(value.is_some());
                self.admit(load, name.clone(), value, tags, seen.clone(), took)
            })
            .collect())
    }
}

/// A loader that answers for fewer or more keys than it was asked cannot be matched to them.
fn all_answered<V>(loaded: LoadedMany<V>, asked: usize) -> Result<LoadedMany<V>, LoadError> {
    let answered = loaded.values.len();
    if answered == asked {
        return Ok(loaded);
    }
    let what =
        format!("its loader answered for {answered} of {asked} keys; `load_many` owes one value for each");
    Err(LoadError::Refused(what.into()))
}
