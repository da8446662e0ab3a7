//! Keys that are read before anybody asks for them.
//!
//! They go the way of any read: memory, the remote tier, the source, the proof; but in the last place among loads, and joined by
//! readers only once they have found a place at the source, so that no reader waits with them for one.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{Class, ClassCore};
use crate::{
    entry::CacheValue,
    env,
    error::ReadError,
    fill::{Ending, Filled, Lead, Role},
    guard::Admission,
    key::{CacheKey, Key},
    policy::RecordedKey,
    receipt::ServedBy,
    source::LoadError,
    stats::{Warmed, WarmedFrom},
};

/// Keys that are read together: one request to the remote tier, one load.
pub const WARM_BATCH: usize = 64;
/// Most batches under way at once, unless stated.
pub const WARM_LOADS_DEFAULT: NonZeroU32 = NonZeroU32::new(4).expect("4 is not zero");
/// How long a batch waits for a place at the source before it asks again.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Pause before a batch that was refused asks again, at least and at most.
const REFUSED_PAUSE: std::ops::Range<Duration> = Duration::from_millis(5)..Duration::from_millis(500);

/// What bounds a warming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmRules {
    /// It ends after this long, with whatever it has.
    pub within: Duration,
    /// Most batches of [`WARM_BATCH`] keys under way at once.
    pub loads_max: NonZeroU32,
    /// Most keys begun in a second; none: as fast as the source lets it.
    pub keys_per_second_max: Option<NonZeroU32>,
}

impl WarmRules {
    /// As fast as the source lets it, for so long at most.
    #[must_use]
    pub const fn within(within: Duration) -> Self {
        Self { within, loads_max: WARM_LOADS_DEFAULT, keys_per_second_max: None }
    }
}

impl<K: Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// The hot keys of the class, as far as samples of its reads show, the hottest first; empty unless the plan says
    /// `cold_start = "warm"`, or has them refreshed in the background.
    #[must_use]
    pub fn record_hot_keys(&self, most: usize) -> Vec<RecordedKey> {
        self.core.refresher.as_ref().map(|refresher| refresher.hot().lock().record(most)).unwrap_or_default()
    }

    /// The same keys, to be read.
    #[must_use]
    pub fn hot_keys(&self, most: usize) -> Vec<K> {
        let hottest = self.core.refresher.as_ref().map(|refresher| refresher.hot().lock().hottest(most));
        hottest.unwrap_or_default().into_iter().map(|(key, _)| key).collect()
    }
}

impl<K: CacheKey + Clone + Send + Sync + 'static, V: CacheValue> Class<K, V> {
    /// Reads `keys` before anybody asks for them, the first ones first, in the last place among loads; `done` is told of each
    /// batch. Wait for [`Cache::ready`](crate::cache::Cache::ready) first: until then nothing can be kept.
    ///
    /// # Errors
    /// [`ReadError::Key`] when one is not a key of the class; none was read then.
    pub async fn warm(
        &self,
        keys: &[K],
        rules: &WarmRules,
        done: impl Fn(&Warmed) + Send + Sync + 'static,
    ) -> Result<Warmed, ReadError> {
        let form = &self.core.form;
        let keys =
            keys.iter().map(|key| Ok((key.clone(), form.key(key)?))).collect::<Result<_, ReadError>>()?;
        Ok(self.core.warm(keys, rules, done).await)
    }
}

impl<V: CacheValue> Class<Key, V> {
    /// Reads keys that are in normal form already, as [`warm`](Class::warm) does.
    pub async fn warm_canonical(
        &self,
        keys: &[Key],
        rules: &WarmRules,
        done: impl Fn(&Warmed) + Send + Sync + 'static,
    ) -> Warmed {
        let keys = keys.iter().map(|key| (key.clone(), key.clone())).collect();
        self.core.warm(keys, rules, done).await
    }

    /// Counts the hot keys on from what was recorded before a restart, where hot keys are recorded at all; the keys that are
    /// keys of the class by its plan of today, the hottest first.
    #[must_use]
    pub fn restore_hot_keys(&self, recorded: &[RecordedKey]) -> Vec<Key> {
        let form = &self.core.form;
        let known: Vec<(Key, &RecordedKey)> =
            recorded.iter().filter_map(|one| Some((form.parse(&one.key).ok()?, one))).collect();
        if let Some(refresher) = &self.core.refresher {
            let mut hot = refresher.hot().lock();
            for (key, one) in &known {
                hot.restore(key.clone(), key.clone(), one.count, one.error);
            }
            drop(hot);
            refresher.knows_some();
        }
        known.into_iter().map(|(key, _)| key).collect()
    }
}

/// Batches that are still to be read, and when the next may begin.
struct Queue<K> {
    batches: std::vec::IntoIter<Vec<(K, Key)>>,
    next_at: Instant,
}

/// No batch is begun any more once this is dropped: whoever asked for the warming has left. Those under way are carried to
/// their end, because readers may wait for them.
struct Asked<K>(Arc<Mutex<Queue<K>>>);

impl<K> Drop for Asked<K> {
    fn drop(&mut self) {
        self.0.lock().batches = Vec::new().into_iter();
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    async fn warm(
        self: &Arc<Self>,
        mut keys: Vec<(K, Key)>,
        rules: &WarmRules,
        done: impl Fn(&Warmed) + Send + Sync + 'static,
    ) -> Warmed {
        let deadline = Instant::now() + rules.within;
        let mut batches = Vec::with_capacity(keys.len().div_ceil(WARM_BATCH));
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(WARM_BATCH));
            batches.push(std::mem::replace(&mut keys, rest));
        }
        let pause = rules.keys_per_second_max.map(|rate| Duration::from_secs(1) / rate.get());
        let queue = Arc::new(Mutex::new(Queue { batches: batches.into_iter(), next_at: Instant::now() }));
        let _asked = Asked(Arc::clone(&queue));
        let done = Arc::new(done);
        let (sender, mut ended) = mpsc::channel(rules.loads_max.get() as usize);
        for _ in 0..rules.loads_max.get() {
            let (core, queue, done, sender) =
                (Arc::clone(self), Arc::clone(&queue), Arc::clone(&done), sender.clone());
            let _ = env::spawn("warming", async move {
                while let Some((batch, begin_at)) = next_batch(&queue, pause) {
                    let warmed = core.warm_batch(batch, begin_at, deadline).await;
                    done(&warmed);
                    if sender.send(warmed).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut total = Warmed::default();
        while let Some(warmed) = ended.recv().await {
            total.add(&warmed);
        }
        total
    }

    async fn warm_batch(
        self: &Arc<Self>,
        batch: Vec<(K, Key)>,
        begin_at: Instant,
        deadline: Instant,
    ) -> Warmed {
        let mut warmed = Warmed::default();
        if begin_at >= deadline || Instant::now() >= deadline {
            warmed.count(WarmedFrom::Refused, batch.len());
        } else {
            sleep_until(begin_at).await;
            let rest = self.warm_from_tiers(batch, &mut warmed).await;
            if self.is_aside() {
                warmed.count(WarmedFrom::Failed, rest.len());
            } else if !rest.is_empty() {
                self.warm_from_source(rest, deadline, &mut warmed).await;
            }
        }
        self.stats.warming.add(&warmed);
        warmed
    }

    /// Takes what memory or another node has; returns the others.
    async fn warm_from_tiers(&self, batch: Vec<(K, Key)>, warmed: &mut Warmed) -> Vec<(K, Key)> {
        let names: Vec<&Key> = batch.iter().map(|(_, name)| name).collect();
        let found = self.look_up_tiers(&names).await;
        let mut rest = Vec::new();
        for ((key, name), found) in batch.into_iter().zip(found) {
            match found {
                Some(Filled { from: ServedBy::L2, .. }) => warmed.count(WarmedFrom::Remote, 1),
                Some(_) => warmed.count(WarmedFrom::Memory, 1),
                None if self.is_known_absent(&key) => warmed.count(WarmedFrom::Memory, 1),
                None => rest.push((key, name)),
            }
        }
        rest
    }

    async fn warm_from_source(self: &Arc<Self>, rest: Vec<(K, Key)>, deadline: Instant, warmed: &mut Warmed) {
        let count = rest.len();
        match self.load_last(&rest, deadline, warmed).await {
            Ok(()) => {}
            Err(error) if error.is_outage() || count == 1 => {}
            // One of them cannot be read: the others can.
            Err(_) => {
                for one in rest {
                    let _ = self.load_last(std::slice::from_ref(&one), deadline, warmed).await;
                }
            }
        }
    }

    /// Loads keys together, in the last place among loads; a source in trouble is asked again while there is time. An error of
    /// several keys that is none of the source's is counted for none of them.
    async fn load_last(
        self: &Arc<Self>,
        rest: &[(K, Key)],
        deadline: Instant,
        warmed: &mut Warmed,
    ) -> Result<(), LoadError> {
        loop {
            let error = match self.attempt(rest, deadline).await {
                Ok(part) => {
                    warmed.add(&part);
                    return Ok(());
                }
                Err(error) => error,
            };
            let was_asked = error.retry_after_ms().is_none();
            let left = deadline.saturating_duration_since(Instant::now());
            if was_asked && error.is_outage() && !left.is_zero() {
                sleep(REFUSED_PAUSE.end.min(left)).await;
                continue;
            }
            if error.is_outage() || rest.len() == 1 {
                warmed.count(if was_asked { WarmedFrom::Failed } else { WarmedFrom::Refused }, rest.len());
            }
            return Err(error);
        }
    }

    /// One load, once there is a place for it.
    async fn attempt(self: &Arc<Self>, rest: &[(K, Key)], deadline: Instant) -> Result<Warmed, LoadError> {
        let mut warmed = Warmed::default();
        let admission = self.place(deadline).await?;
        let (mut keys, mut leads): (Vec<K>, Vec<Lead<V>>) = Default::default();
        for (key, name) in rest {
            match self.flights.join(name) {
                Role::Lead(lead) => {
                    if let Some(admission) = &self.admission {
                        admission.vouch(name.as_str());
                    }
                    keys.push(key.clone());
                    leads.push(lead);
                }
                // A reader has begun to load it.
                Role::Follow(_) => warmed.count(WarmedFrom::Memory, 1),
            }
        }
        if keys.is_empty() {
            return Ok(warmed);
        }
        let names: Vec<Key> = leads.iter().map(|lead| lead.key().clone()).collect();
        let sending = |now| leads.iter().for_each(|lead| lead.sending(now));
        match self.load_in_place(admission, &keys, &names, sending).await {
            Ok(entries) => {
                warmed.count(WarmedFrom::Source, entries.len());
                leads.into_iter().zip(entries).for_each(|(lead, entry)| {
                    lead.end(Ending::Filled(Filled { entry, from: ServedBy::Source, at_once: true }));
                });
                Ok(warmed)
            }
            Err(error) => {
                leads.into_iter().for_each(|lead| lead.end(Ending::Failed(error.clone())));
                Err(error)
            }
        }
    }

    /// A place among the loads, behind all others.
    async fn place(&self, deadline: Instant) -> Result<Admission<'_>, LoadError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.gate.admit_last(left.min(PLACE_WAIT_MAX)).await {
                Ok(admission) => return Ok(admission),
                Err(error) => error,
            };
            let pause = Duration::from_millis(error.retry_after_ms().unwrap_or_default())
                .clamp(REFUSED_PAUSE.start, REFUSED_PAUSE.end);
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// Whether the keys there are answer a read of `key`: there is nothing to warm.
    fn is_known_absent(&self, key: &K) -> bool {
        self.absence.as_ref().is_some_and(|absence| {
            matches!(
                absence.judge(key, &self.ledger, self.catalogue.number(), &self.need, &self.clock),
                Some(Ok(_))
            )
        })
    }
}

/// The next batch, and when it may begin.
fn next_batch<K>(queue: &Mutex<Queue<K>>, pause: Option<Duration>) -> Option<(Vec<(K, Key)>, Instant)> {
    let mut queue = queue.lock();
    let batch = queue.batches.next()?;
    let begin_at = queue.next_at.max(Instant::now());
    if let Some(pause) = pause {
        queue.next_at = begin_at + pause * batch.len() as u32;
    }
    Some((batch, begin_at))
}
