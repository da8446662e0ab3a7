//! The remote tier as the engine uses it: settled entries out, genuine entries in, every failure a miss.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    entry::{Body, Envelope, EnvelopeRef, Expected, Header, KeyRing, LIFE_UNBOUNDED_MS},
    env::{self, Task, unix_ms},
    proof::{Ledger, Position, Proof, Standing, Tag, Tags},
    tier::{RemoteKey, RemotePut, RemoteResult, RemoteTier},
};

/// Envelopes that wait to be written. Beyond, they are not shared: the remote tier only saves loads.
const WAITING_MAX: usize = 8192;
/// Envelopes written by one call.
const BATCH_MAX: usize = 128;

/// The way to the remote tier and back.
#[derive(Debug)]
pub(crate) struct Outbox {
    tier: Arc<dyn RemoteTier>,
    keys: KeyRing,
    waiting: mpsc::Sender<RemotePut>,
    counts: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    overflowed: AtomicU64,
}

/// What the remote tier has done, as counted by this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteCounts {
    /// Bytes of envelopes read.
    pub bytes_in: u64,
    /// Bytes of envelopes written.
    pub bytes_out: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Envelopes that were not genuine, of another plan, or of another epoch.
    pub refused: u64,
    /// Entries not shared because too many were waiting.
    pub overflowed: u64,
}

/// Where an entry belongs in the remote tier, and for how long.
pub(crate) struct Place<'a> {
    pub(crate) key: &'a RemoteKey,
    pub(crate) class_digest: [u8; 16],
    /// How long the tier keeps it.
    pub(crate) life: Duration,
    /// How long a node may keep it, from now on; none if only its proof bounds it.
    pub(crate) hard_life: Option<Duration>,
}

/// An entry read from the remote tier: genuine, and of this node's epoch.
pub(crate) struct Fetched {
    pub(crate) proof: Proof,
    pub(crate) value: Option<Bytes>,
    pub(crate) version: u64,
    /// How long it has lain there, by the wall clocks of two machines.
    pub(crate) age: Duration,
    /// What is left of its hard age by the same clocks, counted from the read.
    pub(crate) hard_life: Option<Duration>,
}

impl Outbox {
    /// Starts writing to `tier` in the background.
    pub(crate) fn start(tier: Arc<dyn RemoteTier>, keys: KeyRing) -> (Arc<Self>, Task) {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let outbox = Arc::new(Self { tier: Arc::clone(&tier), keys, waiting, counts: Counters::default() });
        let task = env::spawn("remote tier writer", write_all(tier, Arc::downgrade(&outbox), queue));
        (outbox, task)
    }

    pub(crate) fn counts(&self) -> RemoteCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RemoteCounts {
            bytes_in: get(&self.counts.bytes_in),
            bytes_out: get(&self.counts.bytes_out),
            errors: get(&self.counts.errors),
            refused: get(&self.counts.refused),
            overflowed: get(&self.counts.overflowed),
        }
    }

    /// Queues a settled entry for the remote tier. Does nothing when the proof is not settled (any more).
    pub(crate) fn share(
        &self,
        place: &Place<'_>,
        ledger: &Ledger,
        proof: &Proof,
        value: Option<&[u8]>,
        version: u64,
    ) {
        // Never `Ledger::epoch`: a proof that was settled just before a new epoch would be shared under its name.
        let (Standing::Settled(proven_at), Some(epoch)) = (proof.standing(), ledger.epoch_of(proof)) else {
            return;
        };
        let tags: Vec<u64> = proof.tags().iter().map(|tag| tag.0).collect();
        let left_ms = |life: Duration| u64::try_from(life.as_millis()).unwrap_or(LIFE_UNBOUNDED_MS);
        let header = Header {
            class_digest: place.class_digest,
            epoch,
            created_ms: unix_ms(),
            life_ms: place.hard_life.map_or(LIFE_UNBOUNDED_MS, left_ms),
            upper: proof.upper().0,
            proven_at: proven_at.0,
            row_version: Some(version),
        };
        let envelope = Envelope { header, tags: &tags, body: value.map_or(Body::Absent, Body::Value) };
        let Ok(envelope) = envelope.encode(place.key.digest(), self.keys.sealing()) else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let put = RemotePut { key: place.key.clone(), envelope, life: place.life };
        if self.waiting.try_send(put).is_err() {
            self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks keys up, all at once. Everything that is not a genuine entry of this node's epoch is a miss.
    pub(crate) async fn fetch(
        &self,
        keys: &[RemoteKey],
        class_digest: [u8; 16],
        ledger: &Ledger,
        class_epoch: u64,
    ) -> Vec<Option<Fetched>> {
        let answers = match keys {
            [key] => vec![self.tier.get(key).await],
            _ => self.tier.get_many(keys).await,
        };
        let open = |(key, answer)| self.open_answer(key, answer, class_digest, ledger, class_epoch);
        keys.iter().zip(answers).map(open).collect()
    }

    fn open_answer(
        &self,
        key: &RemoteKey,
        answer: RemoteResult<Option<Bytes>>,
        class_digest: [u8; 16],
        ledger: &Ledger,
        class_epoch: u64,
    ) -> Option<Fetched> {
        match answer {
            Ok(bytes) => {
                let bytes = bytes?;
                self.counts.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let opened = self.open(&bytes, key, class_digest, ledger, class_epoch);
                if opened.is_none() {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                }
                opened
            }
            Err(error) => {
                self.counts.errors.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "the remote tier is passed over");
                None
            }
        }
    }

    fn open(
        &self,
        bytes: &Bytes,
        key: &RemoteKey,
        class_digest: [u8; 16],
        ledger: &Ledger,
        class_epoch: u64,
    ) -> Option<Fetched> {
        let expected = Expected { class_digest, key_digest: key.digest(), keys: &self.keys };
        let envelope = EnvelopeRef::decode(bytes, &expected)
            .inspect_err(|error| tracing::debug!(reason = error.as_str(), "envelope refused"))
            .ok()?;
        let header = envelope.header;
        let tags: Tags = envelope.tags.iter().map(Tag).collect();
        let proof = ledger
            .adopt(tags, Position(header.upper), Position(header.proven_at), header.epoch, class_epoch)
            .inspect_err(|why| tracing::debug!(%why, "foreign proof refused"))
            .ok()?;
        let value = match envelope.body {
            Body::Value(value) => Some(bytes.slice_ref(value)),
            Body::Absent => None,
        };
        // Neither bound is a matter of truth, which is the proof's: where clocks differ an entry stays a little longer.
        let age = Duration::from_millis(unix_ms().saturating_sub(header.created_ms));
        let hard_life = (header.life_ms != LIFE_UNBOUNDED_MS)
            .then(|| Duration::from_millis(header.life_ms).saturating_sub(age));
        Some(Fetched { proof, value, version: header.row_version?, age, hard_life })
    }
}

/// Ends when the engine, and with it the last sender, is gone.
async fn write_all(
    tier: Arc<dyn RemoteTier>,
    outbox: std::sync::Weak<Outbox>,
    mut queue: mpsc::Receiver<RemotePut>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let bytes: usize = batch.iter().map(|put| put.envelope.len()).sum();
        let failed = tier
            .put_many(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_MAX)))
            .await
            .into_iter()
            .filter_map(Result::err)
            .inspect(|error| tracing::debug!(%error, "an entry was not shared"))
            .count();
        if let Some(outbox) = outbox.upgrade() {
            outbox.counts.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
            outbox.counts.errors.fetch_add(failed as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::EpochId,
        env::Clock,
        proof::{Carrier, Seen, Snapshot},
        tier::testing::RemoteDouble,
    };

    struct Settled(Proof);

    impl Carrier for Settled {
        fn proof(&self) -> &Proof {
            &self.0
        }

        fn settled(self: Arc<Self>) {}
    }

    #[tokio::test]
    async fn an_entry_is_never_shared_under_the_name_of_a_later_epoch() {
        let clock = Clock::stepped();
        let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
        let (outbox, _task) = Outbox::start(Arc::clone(&remote) as _, KeyRing::generate().unwrap());
        let (ledger, at, epoch) = (Ledger::new(16, 16), Position(10), EpochId::from_bytes([1; 16]));
        ledger.begin_epoch(epoch, at, None);
        let seen = Seen { snapshot: Snapshot::Sequence(at), upper: at, epoch };
        let load = ledger.begin_load(clock.now(), 1);
        let (entry, kept) = load.admit(Tags::new(), seen, |proof| Arc::new(Settled(proof)));
        assert_eq!(kept, Ok(()));
        let key = RemoteKey::new("item", [0; 32]);
        let life = Duration::from_secs(1);
        let place = Place { key: &key, class_digest: [0; 16], life, hard_life: None };
        for (shared, next) in [(true, [2; 16]), (false, [3; 16])] {
            outbox.share(&place, &ledger, &entry.0, Some(b"value"), 1);
            tokio::task::yield_now().await;
            assert_eq!(remote.held(&key).is_some(), shared);
            remote.lose_all();
            ledger.begin_epoch(EpochId::from_bytes(next), at, None);
        }
    }
}
