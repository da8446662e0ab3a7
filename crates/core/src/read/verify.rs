//! The online checker: samples proven answers and compares them with the source.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Class, ClassCore};
use crate::{
    entry::CacheValue,
    env::{self, Task},
    proof::{Position, Tags},
    receipt::Cached,
    source::LoadError,
    stats::CheckVerdict,
};

/// Samples that wait to be checked; more are dropped, for the checker must never slow a read.
const WAITING_MAX: usize = 64;
/// How long samples gather once all that waited were checked: to wake a task for each would cost its reader far more than a hit does.
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// How long a check waits for the feed to reach what the source said.
const FEED_WAIT_MAX: Duration = Duration::from_secs(10);

/// Draws samples from the hit path.
pub(crate) struct Checker<K> {
    one_in: u32,
    waiting: mpsc::Sender<Sample<K>>,
}

struct Sample<K> {
    key: K,
    version: u64,
    watermark: Position,
    tags: Tags,
    proven: bool,
    /// The number of the source's epoch in which the answer was loaded.
    epoch: u64,
}

impl<K: Clone> Checker<K> {
    /// Draws `share` (0 to 1) of the answers; none if the share is zero.
    pub(super) fn new(share: f64) -> Option<(Self, Samples<K>)> {
        let one_in = (1.0 / share).round();
        (share > 0.0 && one_in <= f64::from(u32::MAX)).then(|| {
            let (waiting, samples) = mpsc::channel(WAITING_MAX);
            (Self { one_in: (one_in as u32).max(1), waiting }, Samples(samples))
        })
    }

    /// Whether the read that counted to `tick` is drawn.
    #[inline]
    pub(super) fn draws(&self, tick: u32) -> bool {
        tick.is_multiple_of(self.one_in)
    }

    /// Takes an answer for a later check, if it claims to be proven.
    #[cold]
    pub(super) fn sample<V>(&self, key: &K, answer: &Cached<V>) {
        if answer.receipt().proven
            && let Ok(place) = self.waiting.try_reserve()
        {
            place.send(Sample::of(key, answer));
        }
    }
}

impl<K: Clone> Sample<K> {
    fn of<V>(key: &K, answer: &Cached<V>) -> Self {
        Self {
            key: key.clone(),
            version: answer.version(),
            watermark: answer.receipt().watermark,
            tags: answer.entry().proof().tags().clone(),
            proven: answer.receipt().proven,
            epoch: answer.entry().proof().epochs().source,
        }
    }
}

/// The samples drawn by a [`Checker`].
pub(crate) struct Samples<K>(mpsc::Receiver<Sample<K>>);

impl<K> Samples<K>
where
    K: Clone + Send + Sync + 'static,
{
    /// Checks every sample until the class is gone.
    pub(crate) fn check_all<V: CacheValue>(mut self, core: &Arc<ClassCore<K, V>>) -> Task {
        let core = Arc::downgrade(core);
        env::spawn("online checker", async move {
            while let Some(sample) = self.0.recv().await {
                let mut next = Some(sample);
                while let Some(sample) = next.take() {
                    let Some(core) = core.upgrade() else { return };
                    match core.verify(&sample).await {
                        Ok(verdict) => core.count(verdict),
                        Err(error) => tracing::debug!(%error, "an answer could not be checked"),
                    }
                    next = self.0.try_recv().ok();
                }
                tokio::time::sleep(GATHERED_FOR).await;
            }
        })
    }
}

impl<K, V> Class<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Compares an answer with what the source says now, and counts the verdict.
    ///
    /// # Errors
    /// [`LoadError`] when the source does not answer.
    pub async fn verify(&self, key: &K, answer: &Cached<V>) -> Result<CheckVerdict, LoadError> {
        let verdict = self.core.verify(&Sample::of(key, answer)).await?;
        self.core.count(verdict);
        Ok(verdict)
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    async fn verify(&self, sample: &Sample<K>) -> Result<CheckVerdict, LoadError> {
        let limit = self.plan.hard_timeout;
        let timed_out = |_| LoadError::TimedOut { limit_ms: limit.as_millis() as u64 };
        let loading = async {
            // A check asks the source, too, and is the first thing that it can be spared.
            let permit = self.gate.idle().await?;
            let started = self.clock.now();
            let loaded = self.loader.load(&sample.key).await;
            permit.ended(loaded.as_ref().map(drop), self.clock.now().since(started), self.gate.times());
            loaded
        };
        let loaded = tokio::time::timeout(limit, loading).await.map_err(timed_out)??;
        if super::load::version_of(loaded.value.as_ref()) == sample.version {
            return Ok(CheckVerdict::Fresh);
        }
        // The source says otherwise. Once the feed has told everything that this load can have seen, either it has told
        // of a change after the answer was checked, or the answer was wrong.
        let told = self.feed.until_applied(loaded.seen.upper);
        let waited = tokio::time::timeout(FEED_WAIT_MAX, told).await;
        let changed_since = self.ledger.last_change(&sample.tags) > sample.watermark;
        // An unproven answer promised nothing, and changes of another epoch are not told here.
        let cannot_tell = waited.is_err() || !sample.proven || self.ledger.epoch_number() != sample.epoch;
        Ok(if changed_since || cannot_tell { CheckVerdict::InFlight } else { CheckVerdict::Stale })
    }

    fn count(&self, verdict: CheckVerdict) {
        self.stats.checked(verdict);
        if verdict == CheckVerdict::Stale {
            tracing::error!(
                class = self.plan.name.as_str(),
                "a proven answer differs from the source and no change explains it"
            );
        }
    }
}
