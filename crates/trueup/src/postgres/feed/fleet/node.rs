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
    host::Host,
    options::FleetOptions,
    ring::Ring,
    saved::Saved,
};
use crate::postgres::identity::Identity;

/// What this node tells others, and what it keeps. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: FleetOptions,
    ring: Ring,
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
        let inner = Inner { options, ring, feed: ArcSwapOption::empty(), memory: Mutex::default() };
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
        let saved = Saved { beat: self.memory().beat, ledger };
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
    pub(super) async fn read(&self, epoch: EpochId, confirmed: Position, beat: u64) -> Option<SavedLedger> {
        let folder: PathBuf = self.options().state_dir.clone()?;
        let shown = folder.clone();
        let saved = match blocking(move || Saved::read(&folder)).await? {
            Ok(saved) => saved?,
            Err(error) => {
                tracing::warn!(folder = %shown.display(), %error, "the saved ledger cannot be read; beginning anew");
                return None;
            }
        };
        // A counter that went back: the database was restored from a copy that is older than what was saved.
        let fits = saved.ledger.epoch == epoch && saved.ledger.floor >= confirmed && saved.beat <= beat;
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
