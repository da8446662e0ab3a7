//! The remote tier as the engine uses it: settled entries out, genuine entries in, every failure a miss.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    locks::FleetLocks,
    remote_counts::{Counters, RemoteCounts, add},
};
use crate::{
    class::AtRest,
    entry::{
        Body, EncodeError, Envelope, EnvelopeError, EnvelopeRef, Expected, Header, KeyRing,
        LIFE_UNBOUNDED_MS, compress,
    },
    env::{self, Clock, Nanos, Task, unix_ms},
    proof::{Ledger, Position, Proof, Rejected, Standing, Tag, Tags},
    tier::{RemoteError, RemoteKey, RemotePlace, RemotePut, RemoteResult, RemoteServer, RemoteTier},
};

/// Entries that wait to be written. Beyond, they are not shared: the remote tier only saves loads.
const WAITING_MAX: usize = 8192;
/// Bytes of values that wait to be written.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Envelopes written by one call.
const BATCH_MAX: usize = 128;
/// Bytes of envelopes after which a call is not made larger, so that it ends within its deadline.
const BATCH_BYTES: usize = 1 << 20;

/// The way to the remote tier and back.
#[derive(Debug)]
pub(crate) struct Outbox {
    tier: Arc<dyn RemoteTier>,
    keys: KeyRing,
    clock: Clock,
    waiting: mpsc::Sender<Sharing>,
    waiting_bytes: AtomicUsize,
    counts: Counters,
    /// Locks whose owners wait for what is written here; none where the tier has no locks.
    locks: Option<Arc<FleetLocks>>,
}

/// A settled entry that waits to be sealed and written. Sealing is left to the writer: entries are shared from where the
/// feed is applied, and that must not wait for ciphers.
#[derive(Debug)]
struct Sharing {
    key: RemoteKey,
    header: Header,
    tags: Vec<u64>,
    value: Option<Bytes>,
    at_rest: AtRest,
    life: Duration,
    loaded: Nanos,
}

/// Where an entry belongs in the remote tier, how it lies there, and for how long.
pub(crate) struct Place<'a> {
    pub(crate) key: &'a RemoteKey,
    pub(crate) class_digest: [u8; 16],
    pub(crate) at_rest: AtRest,
    /// How long the tier keeps it.
    pub(crate) life: Duration,
    /// How long a node may keep it, from now on; none if only its proof bounds it.
    pub(crate) hard_life: Option<Duration>,
    /// When its load began.
    pub(crate) loaded: Nanos,
}

/// What a class takes from the remote tier.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) class_digest: [u8; 16],
    pub(crate) class_epoch: u64,
    /// The most that a value may take, unpacked.
    pub(crate) value_bytes_max: usize,
}

/// An entry read from the remote tier: genuine, and of this node's epoch.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) proof: Proof,
    pub(crate) value: Option<Bytes>,
    pub(crate) version: u64,
    /// How long it has lain there, by the wall clocks of two machines.
    pub(crate) age: Duration,
    /// What is left of its hard age by the same clocks, counted from the read.
    pub(crate) hard_life: Option<Duration>,
}

/// Why bytes of the remote tier are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("its proof can't be taken over: {0}")]
    Proof(#[from] Rejected),
    #[error("the entry has no row version")]
    NoVersion,
}

impl Refusal {
    /// The reason's name; never changes.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Envelope(error) => error.as_str(),
            Self::Proof(Rejected::OtherEpoch) => "other_epoch",
            Self::Proof(_) => "foreign_proof",
            Self::NoVersion => "no_version",
        }
    }
}

/// What the remote tier holds under a key.
pub(crate) enum Looked {
    Nothing,
    Failed(RemoteError),
    Refused(Refusal),
    Held(Fetched),
}

impl Outbox {
    /// Starts writing to `tier` in the background.
    pub(crate) fn start(tier: Arc<dyn RemoteTier>, keys: KeyRing, clock: Clock) -> (Arc<Self>, Task) {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let outbox = Self {
            tier: Arc::clone(&tier),
            keys,
            clock,
            waiting,
            waiting_bytes: AtomicUsize::new(0),
            counts: Counters::default(),
            locks: FleetLocks::new(&tier),
        };
        let outbox = Arc::new(outbox);
        let task = env::spawn("remote tier writer", write_all(tier, Arc::downgrade(&outbox), queue));
        (outbox, task)
    }

    pub(crate) fn counts(&self) -> RemoteCounts {
        self.counts.counts()
    }

    /// The locks by which nodes agree who loads a key.
    pub(crate) const fn locks(&self) -> Option<&Arc<FleetLocks>> {
        self.locks.as_ref()
    }

    pub(crate) fn servers(&self) -> Vec<RemoteServer> {
        self.tier.servers()
    }

    pub(crate) fn place(&self, key: &RemoteKey) -> RemotePlace {
        self.tier.place(key)
    }

    /// Queues a settled entry for the remote tier. Does nothing when the proof is not settled (any more).
    pub(crate) fn share(
        &self,
        place: &Place<'_>,
        ledger: &Ledger,
        proof: &Proof,
        value: Option<Bytes>,
        version: u64,
    ) {
        // Never `Ledger::epoch`: a proof that was settled just before a new epoch would be shared under its name.
        let (Standing::Settled(proven_at), Some(epoch)) = (proof.standing(), ledger.epoch_of(proof)) else {
            return;
        };
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
        let tags = proof.tags().iter().map(|tag| tag.0).collect();
        let (key, at_rest, life, loaded) = (place.key.clone(), place.at_rest, place.life, place.loaded);
        self.queue(Sharing { key, header, tags, value, at_rest, life, loaded });
    }

    fn queue(&self, sharing: Sharing) {
        let bytes = sharing.bytes();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if before.saturating_add(bytes) > WAITING_BYTES_MAX {
            Some(sharing)
        } else {
            self.waiting.try_send(sharing).err().map(TrySendError::into_inner)
        };
        if let Some(sharing) = refused {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            add(&self.counts.overflowed, 1);
            self.done_with(&sharing.key);
        }
    }

    /// The entry under `key` has been written, or never will be.
    fn done_with(&self, key: &RemoteKey) {
        if let Some(locks) = self.locks.as_ref().filter(|locks| locks.any_held()) {
            locks.shared(key);
        }
    }

    /// Looks keys up, all at once. Everything that is not a genuine entry of this node's epoch is a miss.
    pub(crate) async fn fetch(
        &self,
        keys: &[RemoteKey],
        wanted: Wanted,
        ledger: &Ledger,
    ) -> Vec<Option<Fetched>> {
        let started = self.clock.now();
        let answers = match keys {
            [key] => vec![self.tier.get(key).await],
            _ => self.tier.get_many(keys).await,
        };
        self.counts.gets.took(self.clock.now().since(started));
        let open = |(key, answer)| match self.look_at(key, answer, wanted, ledger) {
            Looked::Held(fetched) => {
                add(&self.counts.found, 1);
                Some(fetched)
            }
            Looked::Nothing => {
                add(&self.counts.missing, 1);
                None
            }
            Looked::Refused(why) => {
                add(&self.counts.refused, 1);
                tracing::debug!(reason = why.as_str(), "an envelope is not used");
                None
            }
            Looked::Failed(error) => {
                add(&self.counts.errors, 1);
                tracing::debug!(%error, "the remote tier is passed over");
                None
            }
        };
        keys.iter().zip(answers).map(open).collect()
    }

    /// What the tier holds under one key: for people who ask why.
    pub(crate) async fn look(&self, key: &RemoteKey, wanted: Wanted, ledger: &Ledger) -> Looked {
        self.look_at(key, self.tier.get(key).await, wanted, ledger)
    }

    fn look_at(
        &self,
        key: &RemoteKey,
        answer: RemoteResult<Option<Bytes>>,
        wanted: Wanted,
        ledger: &Ledger,
    ) -> Looked {
        match answer {
            Ok(Some(bytes)) => {
                add(&self.counts.bytes_in, bytes.len());
                self.open(&bytes, key, wanted, ledger).map_or_else(Looked::Refused, Looked::Held)
            }
            Ok(None) => Looked::Nothing,
            Err(error) => Looked::Failed(error),
        }
    }

    fn open(
        &self,
        bytes: &Bytes,
        key: &RemoteKey,
        wanted: Wanted,
        ledger: &Ledger,
    ) -> Result<Fetched, Refusal> {
        let expected =
            Expected { class_digest: wanted.class_digest, key_digest: key.digest(), keys: &self.keys };
        let mut room = Vec::new();
        let envelope = EnvelopeRef::decode(bytes, &expected, &mut room)?;
        let header = envelope.header;
        let version = header.row_version.ok_or(Refusal::NoVersion)?;
        let tags: Tags = envelope.tags.iter().map(Tag).collect();
        let (upper, proven_at) = (Position(header.upper), Position(header.proven_at));
        let proof = ledger.adopt(tags, upper, proven_at, header.epoch, wanted.class_epoch)?;
        let value = envelope.value(bytes, wanted.value_bytes_max)?;
        // Neither bound is a matter of truth, which is the proof's: where clocks differ an entry stays a little longer.
        let age = Duration::from_millis(unix_ms().saturating_sub(header.created_ms));
        let hard_life = (header.life_ms != LIFE_UNBOUNDED_MS)
            .then(|| Duration::from_millis(header.life_ms).saturating_sub(age));
        Ok(Fetched { proof, value, version, age, hard_life })
    }
}

impl Sharing {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }

    fn seal(&self, keys: &KeyRing) -> Result<Bytes, EncodeError> {
        // What is encrypted is not compressed: its length would tell what it holds to whoever can write part of it.
        let packed = match (&self.value, self.at_rest) {
            (Some(value), AtRest::Sealed) => compress(value),
            _ => None,
        };
        let body = match (&packed, &self.value) {
            (Some(packed), _) => Body::Packed(packed),
            (None, Some(value)) => Body::Value(value),
            (None, None) => Body::Absent,
        };
        let envelope = Envelope { header: self.header, tags: &self.tags, body };
        match self.at_rest {
            AtRest::Sealed => envelope.encode(self.key.digest(), keys.sealing()),
            AtRest::Encrypted => envelope.encrypt(self.key.digest(), keys.sealing()),
        }
    }
}

/// Ends when the engine, and with it the last sender, is gone.
async fn write_all(tier: Arc<dyn RemoteTier>, outbox: Weak<Outbox>, mut queue: mpsc::Receiver<Sharing>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut taken, BATCH_MAX).await > 0 {
        let mut waiting = taken.drain(..);
        while !waiting.as_slice().is_empty() {
            let Some(outbox) = outbox.upgrade() else { return };
            let batch = outbox.seal_batch(&mut waiting);
            outbox.write(&*tier, batch).await;
        }
    }
}

impl Outbox {
    /// As many envelopes as one call takes.
    fn seal_batch(&self, waiting: &mut impl Iterator<Item = Sharing>) -> Vec<RemotePut> {
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_MAX), 0);
        let now = self.clock.now();
        for sharing in waiting {
            self.waiting_bytes.fetch_sub(sharing.bytes(), Ordering::Relaxed);
            match sharing.seal(&self.keys) {
                Ok(envelope) => {
                    bytes += envelope.len();
                    let age = now.since(sharing.loaded);
                    batch.push(RemotePut { key: sharing.key, envelope, life: sharing.life, age });
                }
                Err(error) => {
                    add(&self.counts.not_sealed, 1);
                    tracing::debug!(%error, "an entry is not shared");
                    self.done_with(&sharing.key);
                }
            }
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        batch
    }

    async fn write(&self, tier: &dyn RemoteTier, batch: Vec<RemotePut>) {
        let sizes: Vec<usize> = batch.iter().map(|put| put.envelope.len()).collect();
        let keys: Vec<RemoteKey> = match &self.locks {
            Some(locks) if locks.any_held() => batch.iter().map(|put| put.key.clone()).collect(),
            _ => Vec::new(),
        };
        let started = self.clock.now();
        let outcomes = tier.put_many(batch).await;
        self.counts.puts.took(self.clock.now().since(started));
        keys.iter().for_each(|key| self.done_with(key));
        for (outcome, bytes) in outcomes.into_iter().zip(sizes) {
            match outcome {
                Ok(()) => {
                    add(&self.counts.stored, 1);
                    add(&self.counts.bytes_out, bytes);
                }
                Err(error) => {
                    add(&self.counts.errors, 1);
                    tracing::debug!(%error, "an entry was not shared");
                }
            }
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
        let (outbox, _task) =
            Outbox::start(Arc::clone(&remote) as _, KeyRing::generate().unwrap(), clock.clone());
        let (ledger, at, epoch) = (Ledger::new(16, 16), Position(10), EpochId::from_bytes([1; 16]));
        ledger.begin_epoch(epoch, at, None);
        let seen = Seen { snapshot: Snapshot::Sequence(at), upper: at, epoch };
        let load = ledger.begin_load(clock.now(), 1);
        let (entry, kept) = load.admit(Tags::new(), seen, |proof| Arc::new(Settled(proof)));
        assert_eq!(kept, Ok(()));
        let key = RemoteKey::new("item", [0; 32]);
        let life = Duration::from_secs(1);
        let place = Place {
            key: &key,
            class_digest: [0; 16],
            at_rest: AtRest::Sealed,
            life,
            hard_life: None,
            loaded: clock.now(),
        };
        for (shared, next) in [(true, [2; 16]), (false, [3; 16])] {
            outbox.share(&place, &ledger, &entry.0, Some(Bytes::from_static(b"value")), 1);
            tokio::task::yield_now().await;
            assert_eq!(remote.held(&key).is_some(), shared);
            remote.lose_all();
            ledger.begin_epoch(EpochId::from_bytes(next), at, None);
        }
    }
}
