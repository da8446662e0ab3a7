//! One node of a fleet: what it remembers between sessions, and whether it holds or follows.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::Nanos,
    proof::{Position, SavedLedger},
};

use super::{
    asker::Ended,
    control::{Control, FeedRow},
    error::FeedError,
    history::{History, Proof},
    host::Host,
    message::Told,
    options::FleetOptions,
    ring::Ring,
    saved::Saved,
};
use crate::postgres::identity::{Identity, Instance};

/// What this node tells others, and what it keeps. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: FleetOptions,
    ring: Ring,
    history: Mutex<History>,
    feed: ArcSwapOption<Feed>,
    memory: Mutex<Memory>,
}

/// What outlasts a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// The highest heartbeat seen.
    pub(super) beat: u64,
    /// An epoch whose positions mean something else by now.
    pub(super) broken: Option<EpochId>,
    /// The start of the server whose log is what was applied.
    pub(super) instance: Option<Instance>,
    /// Whether this node held the slot then, and had applied all that anybody can have applied.
    pub(super) led: bool,
    /// The slot's log cannot be read on: a new slot is needed.
    pub(super) remake: bool,
    /// Since when the slot has been seen free.
    pub(super) free_since: Option<Nanos>,
    /// Whether this node holds the slot.
    pub(super) holds: bool,
}

impl Fleet {
    pub(in crate::postgres::feed) fn new(options: FleetOptions) -> Self {
        let ring = Ring::new(options.ring_bytes);
        let (history, memory) = (Mutex::default(), Mutex::default());
        let inner = Inner { options, ring, history, feed: ArcSwapOption::empty(), memory };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.inner.ring
    }

    pub(super) fn options(&self) -> &FleetOptions {
        &self.inner.options
    }

    pub(super) fn memory(&self) -> Memory {
        *self.inner.memory.lock()
    }

    pub(super) fn remember(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.inner.memory.lock());
    }

    /// The node begins in `epoch` at `start`, with the log of `instance`.
    pub(super) fn begin(&self, epoch: EpochId, start: Position, instance: Instance) {
        self.inner.history.lock().begin(epoch, start);
        self.continues_in(instance);
    }

    /// What was applied is known to be of the log of `instance`.
    pub(super) fn continues_in(&self, instance: Instance) {
        self.remember(|memory| (memory.instance, memory.led) = (Some(instance), false));
    }

    /// A message was applied.
    pub(super) fn note(&self, told: &Told) {
        self.remember(|memory| memory.beat = memory.beat.max(told.beat));
        self.inner.history.lock().note(&told.message, &told.committed_at_us);
    }

    /// What a log has to show that is told from `confirmed` on, to continue what this node has applied.
    pub(super) fn proof(&self, epoch: EpochId, applied: Position, confirmed: Position) -> Proof {
        self.inner.history.lock().proof(epoch, applied, confirmed)
    }

    /// Lets go of those that follow this node, and tells nobody any more: for a server that is about to end.
    pub fn close(&self) {
        self.ring().close();
    }

    /// What a new node begins with: none while this one has no floor.
    pub async fn ledger(&self) -> Option<Vec<u8>> {
        let feed = self.inner.feed.load_full()?;
        save(&feed).await.map(|saved| saved.encode())
    }

    /// Holds the slot, or follows the node that does, until that is over.
    pub(in crate::postgres::feed) async fn follow(
        &self,
        host: &dyn Host,
        feed: &Feed,
    ) -> Result<Ended, FeedError> {
        self.inner.feed.store(Some(Arc::new(feed.clone())));
        let control = Control::open(host).await?;
        let row = control.row().await?;
        let slot = control.slot(&self.options().slot).await?;
        let is_held = slot.is_some_and(|slot| slot.active_pid.is_some() || slot.confirmed.is_none());
        let outcome = if is_held {
            self.remember(|memory| memory.free_since = None);
            Box::pin(self.follow_other(host, feed, control, row)).await
        } else {
            let outcome = Box::pin(self.hold(host, feed, control, row, slot)).await;
            self.remember(|memory| memory.holds = false);
            outcome
        };
        match &outcome {
            Ok(Ended::Broken(_)) => {
                let epoch = feed.epoch();
                self.remember(|memory| memory.broken = epoch.or(memory.broken));
            }
            Err(FeedError::SlotInUse) => return Ok(Ended::Moved("another node holds the slot")),
            _ => {}
        }
        outcome
    }

    /// The node is about to end: saves what it knows.
    pub(in crate::postgres::feed) async fn shut_down(&self, feed: &Feed) {
        if let Some(ledger) = save(feed).await {
            self.write(ledger).await;
        }
    }

    /// Writes to the state folder, where there is one.
    pub(super) async fn write(&self, ledger: SavedLedger) -> bool {
        let Some(folder) = self.options().state_dir.clone() else { return true };
        let memory = self.memory();
        // Of no known log, it could not be begun with.
        let Some(instance) = memory.instance else { return true };
        // A filter that is behind the ledger could not go on from it: what lies between would be told to nobody any more.
        if let Some(feed) = self.inner.feed.load_full() {
            feed.save_beside().await;
        }
        let saved = Saved { beat: memory.beat, instance, ledger };
        let shown = folder.clone();
        match blocking(move || saved.write(&folder)).await {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                tracing::warn!(folder = %shown.display(), %error, "the ledger cannot be saved; check the folder and its disk");
                false
            }
            None => false,
        }
    }

    /// What was written before, if the log can be replayed from where it ends.
    pub(super) async fn read(
        &self,
        epoch: EpochId,
        confirmed: Position,
        row: &FeedRow,
    ) -> Option<SavedLedger> {
        let folder: PathBuf = self.options().state_dir.clone()?;
        let shown = folder.clone();
        let saved = match blocking(move || Saved::read(&folder)).await? {
            Ok(saved) => saved?,
            Err(error) => {
                tracing::warn!(folder = %shown.display(), %error, "the saved ledger cannot be read; beginning anew");
                return None;
            }
        };
        // A counter that went back: the database was restored from a copy that is older than what was saved. And other nodes
        // may have known more than this one: after another start of the server nobody can tell whether that was lost.
        let fits = saved.ledger.epoch == epoch
            && saved.ledger.floor >= confirmed
            && saved.beat <= row.beat
            && saved.instance == row.instance;
        fits.then_some(saved.ledger)
    }
}

pub(super) fn identity(host: &dyn Host, row: &FeedRow) -> Identity {
    Identity { system_id: host.system_id(), feed_nonce: row.nonce, generation: row.generation }
}

/// Reading the buckets takes milliseconds.
pub(super) async fn save(feed: &Feed) -> Option<SavedLedger> {
    let feed = feed.clone();
    blocking(move || feed.save()).await.flatten()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
