//! Holding the slot: reading the log, telling others, confirming what is saved.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::Nanos,
    proof::{Barrier, Position},
};

use super::{
    asker::{Asker, Ended, Progress},
    assemble::Assembler,
    connection::Replication,
    control::{Control, FeedRow, Slot},
    error::FeedError,
    history::{Proof, Replay},
    host::Host,
    node::{Fleet, identity, save},
    reader::{Confirm, Reader},
    saved::Ends,
    single::{make_slot, random_u64},
    status::Role,
    telling::Telling,
};
use crate::postgres::names::PUBLICATION;

/// A node that knows nothing leaves a free slot so long to those that know more.
const NEWCOMER_WAIT: Duration = Duration::from_secs(2);
/// How often the holder looks whether it still is the one.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How often the holder's heartbeat moves at least: how much a copy of the files can be behind without the counter telling.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Where the log is told from, once the slot is ours.
struct Held {
    replication: Replication,
    confirmed: Position,
    row: FeedRow,
}

/// Where this node begins.
struct Entered {
    epoch: EpochId,
    barrier: Option<Barrier>,
    /// What the log has to show before it continues what was applied.
    replay: Option<Replay>,
    /// Nobody in the epoch has applied anything beyond.
    covers: Position,
}

impl Fleet {
    pub(super) async fn hold(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: Control,
        row: FeedRow,
        slot: Option<Slot>,
    ) -> Result<Ended, FeedError> {
        let memory = self.memory();
        // After a restart of the server only the node that led before knows whether anything that was told is lost.
        let knows_less = feed.epoch().is_none() || (memory.instance != Some(row.instance) && !memory.led);
        if slot.is_some() && knows_less && !self.has_waited(host, &row) {
            return Ok(Ended::Moved("the slot is left to nodes that know more"));
        }
        let Held { replication, confirmed, row } = self.take_slot(host, feed, &control, row, slot).await?;
        let timeline = replication.system.timeline;
        let instance = row.instance;
        let Entered { epoch, barrier, replay, covers } =
            self.enter(host, feed, &control, row, timeline, confirmed).await?;
        let (connection, slot) = (random_u64()?, self.options().slot.as_str());
        control.set_holder(self.options().advertise.as_deref()).await?;
        host.status().enter(Role::Holder, Some(slot), connection);
        self.remember(|memory| (memory.holds, memory.free_since) = (true, None));
        tracing::info!(%epoch, %confirmed, connection, "this node holds the slot");

        let progress = Arc::new(Progress::default());
        progress.saw_xid(control.own_xid().await?);
        progress.replays(replay.is_some());
        let kept = Arc::new(AtomicU64::new(confirmed.0));
        let ends = Ends::default();
        ends.push(confirmed);
        let sink = Telling { fleet: self, ends: &ends, instance, covers, replay: Mutex::new(replay) };
        let reader = Reader {
            host,
            feed,
            progress: Arc::clone(&progress),
            epoch,
            connection,
            replication,
            assembler: Assembler::new(confirmed, progress.near()),
            confirm: Confirm::Saved(Arc::clone(&kept)),
            sink: Some(&sink),
            mapped_by: None,
        };
        let asker = Asker {
            host,
            feed,
            progress,
            epoch,
            timeline,
            instance,
            barrier: barrier.map(|barrier| barrier.xid),
            control: None,
            sends_beats: true,
            beaten: (Position::ZERO, Nanos::ZERO),
            stands: (Position::ZERO, Nanos::ZERO),
            named_at: Nanos::ZERO,
        };
        let outcome = tokio::select! {
            ended = reader.run() => ended,
            ended = asker.run() => ended,
            ended = self.keep(feed, &control, epoch, host, &ends, &kept) => ended,
        };
        if let Err(error) = &outcome
            && error.is_unreadable()
        {
            // Once the publication is there again, or the message is gone, the log before it still cannot be read.
            self.remember(|memory| memory.remake = true);
        }
        outcome
    }

    /// A node that knows nothing waits a little, where another node has held the slot.
    fn has_waited(&self, host: &dyn Host, row: &FeedRow) -> bool {
        let now = host.clock().now();
        let since = self.memory().free_since.unwrap_or(now);
        self.remember(|memory| memory.free_since = Some(since));
        row.holder.is_none() || row.holder == self.options().advertise || now.since(since) >= NEWCOMER_WAIT
    }

    /// Makes the slot where it is missing, and takes it.
    async fn take_slot(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: &Control,
        row: FeedRow,
        slot: Option<Slot>,
    ) -> Result<Held, FeedError> {
        let name = &self.options().slot;
        let mut replication = Replication::connect(&host.conninfo()?, host.system_id()).await?;
        if slot.is_none_or(|slot| slot.is_lost) || self.memory().remake {
            if slot.is_some() {
                control.drop_slot(name).await?;
            }
            // Before the slot is there: whoever takes it finds the new generation.
            control.renew_generation(row.generation).await?;
            make_slot(host, feed, &mut replication, name, false).await?;
            self.remember(|memory| memory.remake = false);
        }
        replication.start(name, PUBLICATION).await?;
        // Only now: nobody else can confirm it any further.
        let slot = control.slot(name).await?.filter(|slot| slot.active_pid == Some(replication.pid));
        let confirmed = slot.and_then(|slot| slot.confirmed).ok_or(FeedError::SlotInUse)?;
        Ok(Held { replication, confirmed, row: control.row().await? })
    }

    /// Continues, begins from what was saved, or begins anew.
    async fn enter(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: &Control,
        mut row: FeedRow,
        timeline: u32,
        confirmed: Position,
    ) -> Result<Entered, FeedError> {
        let answer = host.ask().await?;
        if answer.instance != row.instance {
            return Err(FeedError::Restarted);
        }
        let (instance, covers) = (row.instance, answer.position);
        let memory = self.memory();
        let mut epoch = identity(host, &row).epoch(timeline);
        let was_here = feed.epoch() == Some(epoch);
        let is_restored = was_here && (row.beat < memory.beat || answer.position < feed.applied());
        let is_known = memory.instance == Some(instance);
        // What others knew beyond this node may be lost as well, and stand in the remote tier.
        let has_led = memory.led && row.holder == self.options().advertise;
        let mut is_broken =
            is_restored || memory.broken == Some(epoch) || (was_here && !is_known && !has_led);
        if was_here && !is_broken && feed.applied() >= confirmed {
            let replay = match self.proof(epoch, feed.applied(), confirmed) {
                Proof::Replay(replay) => Some(Some(replay)),
                Proof::None => Some(None),
                // Within one start of the server nothing can have been lost.
                Proof::Impossible => is_known.then_some(None),
            };
            if let Some(replay) = replay {
                if is_known || replay.is_none() {
                    self.continues_in(instance);
                }
                host.set_identity(Some(identity(host, &row)));
                return Ok(Entered { epoch, barrier: None, replay, covers });
            }
            is_broken = true;
        }
        is_broken |= was_here && !is_known;
        if !was_here
            && !is_broken
            && let Some(saved) = self.read(epoch, confirmed, &row).await
            && saved.floor <= answer.position
        {
            match feed.resume(&saved) {
                Ok(()) => {
                    tracing::info!(floor = %saved.floor, "beginning from the saved ledger");
                    self.begin(epoch, saved.floor, instance);
                    host.set_identity(Some(identity(host, &row)));
                    return Ok(Entered { epoch, barrier: None, replay: None, covers });
                }
                Err(error) => tracing::warn!(%error, "the saved ledger is of no use; beginning anew"),
            }
        }
        // A node that was in the epoch and fell behind begins at the slot's start in the same one: others go on in it.
        if is_broken || !was_here {
            control.renew_generation(row.generation).await?;
            row = control.row().await?;
            epoch = identity(host, &row).epoch(timeline);
            // The counters before belong to another history.
            self.remember(|memory| memory.beat = row.beat);
        }
        // After the start is known: every transaction that ended before it has a lower id. See docs/rfc/0001.
        let barrier = Barrier { xid: control.own_xid().await?, end: confirmed };
        host.set_identity(Some(identity(host, &row)));
        feed.begin_epoch(epoch, confirmed, Some(barrier));
        self.begin(epoch, confirmed, instance);
        Ok(Entered { epoch, barrier: Some(barrier), replay: None, covers })
    }

    /// Saves, confirms, and watches whether this node still is the one that holds.
    async fn keep(
        &self,
        feed: &Feed,
        control: &Control,
        epoch: EpochId,
        host: &dyn Host,
        ends: &Ends,
        kept: &AtomicU64,
    ) -> Result<Ended, FeedError> {
        let started = host.clock().now();
        let (mut saved_at, mut beaten_at, timeline_epoch) = (started, started, epoch);
        loop {
            tokio::time::sleep(WATCH_EVERY.min(self.options().save_every)).await;
            let row = control.row().await?;
            let now = host.clock().now();
            if feed.epoch() != Some(timeline_epoch) {
                return Ok(Ended::Moved("the node has left the epoch"));
            }
            if host.identity() != Some(identity(host, &row)) {
                return Ok(Ended::Moved("another node has begun a new generation"));
            }
            if row.holder != self.options().advertise {
                control.set_holder(self.options().advertise.as_deref()).await?;
            }
            let is_due = now.since(saved_at) >= self.options().save_every;
            if is_due || now.since(beaten_at) >= BEAT_EVERY {
                beaten_at = now;
                let beat = control.beat().await?;
                self.remember(|memory| memory.beat = memory.beat.max(beat.unwrap_or_default()));
            }
            if !is_due {
                continue;
            }
            saved_at = now;
            if let Some(saved) = save(feed).await.filter(|saved| saved.epoch == epoch) {
                let floor = saved.floor;
                if self.write(saved).await
                    && let Some(end) = ends.at_or_below(floor)
                {
                    kept.fetch_max(end.0, Ordering::AcqRel);
                }
            }
        }
    }
}
