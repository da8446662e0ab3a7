//! Following the node that holds the slot.

use std::{sync::Arc, time::Duration};

use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::Nanos,
    proof::{Barrier, Position, Refused, Xid},
};

use super::{
    asker::{Asker, Ended, Progress},
    client::{CannotFollow, Holder, Stream},
    control::{Control, FeedRow},
    error::FeedError,
    host::Host,
    message::Told,
    node::{Fleet, identity, save},
    status::Role,
};

/// How often a follower looks whether the holder still is the one.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// A holder that has just taken the slot says where it is a moment later.
const ADDRESS_WAIT: Duration = Duration::from_secs(2);

impl Fleet {
    pub(super) async fn follow_other(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: Control,
        row: FeedRow,
    ) -> Result<Ended, FeedError> {
        let own = self.options().advertise.as_ref();
        let Some(address) = row.holder.clone().filter(|address| Some(address) != own) else {
            return self.await_address(&control, &row).await;
        };
        let failed =
            |error: CannotFollow| FeedError::Holder { holder: address.clone(), problem: error.to_string() };
        let holder = Holder::new(&address, self.options().token.clone(), row.instance).map_err(failed)?;
        let answer = host.ask().await?;
        if answer.instance != row.instance {
            return Err(FeedError::Restarted);
        }
        let timeline = answer.timeline;
        let epoch = identity(host, &row).epoch(timeline);
        let memory = self.memory();
        // Who knew all that was told before the server was restarted is this node: another one that went on in the epoch
        // cannot tell what has been lost.
        let is_contested = feed.epoch() == Some(epoch) && memory.led && memory.instance != Some(row.instance);
        if memory.broken == Some(epoch) || is_contested {
            control.renew_generation(row.generation).await?;
            self.remember(|memory| memory.led = false);
            return Ok(Ended::Moved("that epoch is over"));
        }
        let joined = match self.resume_own(host, feed, &row, &holder, epoch, answer.position).await {
            Some(stream) => Ok((stream, None)),
            None => self.join(host, feed, &control, &row, &holder, epoch).await,
        };
        let (stream, barrier) = match joined {
            Ok(joined) => joined,
            Err(Joining::Follow(CannotFollow::OtherEpoch)) => {
                return Ok(Ended::Moved("the holder is in another epoch"));
            }
            Err(Joining::Follow(error)) => return Err(failed(error)),
            Err(Joining::Feed(error)) => return Err(error),
        };
        host.status().enter(Role::Follower { of: address.clone() }, Some(&self.options().slot), 0);
        tracing::info!(%epoch, holder = %address, "this node follows the one that holds the slot");
        let asker = Asker {
            host,
            feed,
            progress: Arc::new(Progress::default()),
            epoch,
            timeline,
            instance: row.instance,
            barrier,
            control: None,
            sends_beats: false,
            beaten: (Position::ZERO, Nanos::ZERO),
            stands: (Position::ZERO, Nanos::ZERO),
            named_at: Nanos::ZERO,
        };
        tokio::select! {
            ended = self.read_stream(host, feed, &control, stream, &failed) => ended,
            ended = asker.run() => ended,
            ended = self.watch(host, feed, &control, &row) => ended,
        }
    }

    async fn await_address(&self, control: &Control, row: &FeedRow) -> Result<Ended, FeedError> {
        let mut waited = Duration::ZERO;
        while waited < ADDRESS_WAIT {
            let step = ADDRESS_WAIT / 10;
            tokio::time::sleep(step).await;
            waited += step;
            if control.row().await?.holder != row.holder {
                return Ok(Ended::Moved("the holder has said where it is"));
            }
            if control.slot(&self.options().slot).await?.is_none_or(|slot| slot.active_pid.is_none()) {
                return Ok(Ended::Moved("the slot is free"));
            }
        }
        let problem = "it holds the slot and does not say where it is; set its advertised address";
        Err(FeedError::Holder { holder: "an unknown address".to_owned(), problem: problem.to_owned() })
    }

    /// Begins with what this node has saved itself before it was restarted, as long as the holder still has all that it missed: that
    /// reaches further back than what the holder would hand over, and so does whatever else it has kept.
    async fn resume_own(
        &self,
        host: &dyn Host,
        feed: &Feed,
        row: &FeedRow,
        holder: &Holder,
        epoch: EpochId,
        told: Position,
    ) -> Option<Stream> {
        if self.memory().instance.is_some() {
            return None;
        }
        let saved = self.read(epoch, Position::ZERO, row).await.filter(|saved| saved.floor <= told)?;
        let (_, stream) = holder.stream(epoch, Some(saved.floor)).await.ok()?;
        if let Err(error) = feed.resume(&saved) {
            tracing::warn!(%error, "the saved ledger is of no use");
            return None;
        }
        tracing::info!(floor = %saved.floor, "beginning from the saved ledger");
        self.begin(epoch, saved.floor, row.instance);
        host.set_identity(Some(identity(host, row)));
        Some(stream)
    }

    /// Continues where this node is, begins with the holder's ledger, or begins anew; and the messages from there.
    async fn join(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: &Control,
        row: &FeedRow,
        holder: &Holder,
        epoch: EpochId,
    ) -> Result<(Stream, Option<Xid>), Joining> {
        if feed.epoch() == Some(epoch) {
            match holder.stream(epoch, Some(feed.applied())).await {
                Ok((_, stream)) => {
                    self.continues_in(row.instance);
                    return Ok((stream, None));
                }
                Err(CannotFollow::Gone) => {
                    tracing::info!("the holder does not hold what this node has missed")
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Ok(saved) = holder.ledger().await
            && saved.epoch == epoch
            && let Ok((_, stream)) = holder.stream(epoch, Some(saved.floor)).await
        {
            match feed.restore(&saved) {
                Ok(()) => {
                    self.begin(epoch, saved.floor, row.instance);
                    host.set_identity(Some(identity(host, row)));
                    return Ok((stream, None));
                }
                Err(error) => tracing::warn!(%error, "the holder's ledger is of no use here; beginning anew"),
            }
        }
        let (start, stream) = holder.stream(epoch, None).await?;
        // After the start is known: every transaction that ended before it has a lower id. See docs/rfc/0001.
        let barrier = Barrier { xid: control.own_xid().await?, end: start };
        host.set_identity(Some(identity(host, row)));
        feed.begin_epoch(epoch, start, Some(barrier));
        self.begin(epoch, start, row.instance);
        Ok((stream, Some(barrier.xid)))
    }

    async fn read_stream(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: &Control,
        mut stream: Stream,
        failed: &(dyn Fn(CannotFollow) -> FeedError + Sync),
    ) -> Result<Ended, FeedError> {
        loop {
            let told = stream.next().await.map_err(failed)?;
            if told.mapping != host.mapping().digest && !self.maps_alike(host, feed, control, &told).await? {
                // What the holder leaves out, or names otherwise, this node would never hear of.
                host.set_identity(None);
                feed.end_epoch();
                return Ok(Ended::Moved("the holder does not see the tables as this node does, yet"));
            }
            host.status().connection(told.message.connection);
            let committed = told.committed_at_us.iter().copied().filter(|at_us| *at_us > 0);
            let applied = feed.apply(&told.message, committed.clone());
            if applied.is_ok() {
                self.note(&told);
                feed.came(told.taken_at_us, committed);
            }
            match applied {
                Ok(()) | Err(Refused::Old) => self.ring().push(&told),
                Err(Refused::OtherEpoch) => return Ok(Ended::Moved("the holder is in another epoch")),
                Err(Refused::Gap { .. }) => {
                    return Ok(Ended::Moved("messages are missing; they are asked for again"));
                }
                Err(Refused::Malformed) => {
                    return Err(failed(CannotFollow::Problem("its message contradicts itself".to_owned())));
                }
            }
        }
    }

    /// Reads the catalogue anew, which may have moved without this node having noticed yet; whether it then maps as the
    /// holder does.
    async fn maps_alike(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: &Control,
        told: &Told,
    ) -> Result<bool, FeedError> {
        host.catalogue_moved().await?;
        let barrier = Barrier { xid: control.own_xid().await?, end: told.message.end };
        feed.freeze(barrier);
        Ok(told.mapping == host.mapping().digest)
    }

    /// Watches whether the holder still holds the slot: it may be cut off from the source, and not from this node. Saves what
    /// this node knows, in case it is the one that begins after all have ended.
    async fn watch(
        &self,
        host: &dyn Host,
        feed: &Feed,
        control: &Control,
        row: &FeedRow,
    ) -> Result<Ended, FeedError> {
        let mut saved_at = host.clock().now();
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            if control.slot(&self.options().slot).await?.is_none_or(|slot| slot.active_pid.is_none()) {
                return Ok(Ended::Moved("the slot is free"));
            }
            let now_row = control.row().await?;
            if now_row.holder != row.holder || now_row.generation != row.generation {
                return Ok(Ended::Moved("another node holds the slot"));
            }
            let now = host.clock().now();
            if self.options().state_dir.is_some() && now.since(saved_at) >= self.options().save_every {
                saved_at = now;
                if let Some(saved) = save(feed).await {
                    self.write(saved).await;
                }
            }
        }
    }
}

/// Why joining failed.
enum Joining {
    Follow(CannotFollow),
    Feed(FeedError),
}

impl From<CannotFollow> for Joining {
    fn from(error: CannotFollow) -> Self {
        Self::Follow(error)
    }
}

impl From<FeedError> for Joining {
    fn from(error: FeedError) -> Self {
        Self::Feed(error)
    }
}
