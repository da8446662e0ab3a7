//! Asking the source how far it is, again and again: what makes answers fresh.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::Nanos,
    proof::{Ask, Barrier, Position, Snapshot, Xid},
};

use super::{control::Control, error::FeedError, host::Host};
use crate::postgres::identity::Instance;

/// After so long without a word of the log while an answer waits for it, a heartbeat is sent.
const BEAT_AFTER: Duration = Duration::from_millis(20);
/// The same where somebody waits for it, a reader's token or an entry to be shared: after so long without a word...
const BEAT_AFTER_WISH: Duration = Duration::from_millis(10);
/// ...and so long after the answer, for what has just been committed is on its way by itself.
const WISH_PATIENCE: Duration = Duration::from_millis(3);
/// A heartbeat that has not come back is not sent again before this has passed.
const BEAT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked whether what was applied has been met again.
const REPLAY_LOOK_EVERY: Duration = Duration::from_millis(2);
/// Pause after a question that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long nothing can be kept before somebody is named for it, and how often that is looked up.
const NAME_BLOCKER_EVERY: Duration = Duration::from_secs(1);
/// How long a question may take, whatever the source's own limits are.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Why following ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Positions and ids mean something else from here on.
    Broken(&'static str),
    /// The slot is to be made anew, or another node is to be followed.
    Moved(&'static str),
}

/// What the parts of one session tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A transaction id of these days.
    near: AtomicU64,
    /// The highest heartbeat seen in the log.
    beat: AtomicU64,
    /// What was applied before has not been met again: the log may be another one.
    is_replaying: AtomicBool,
}

impl Progress {
    pub(super) fn near(&self) -> Xid {
        Xid(self.near.load(Ordering::Relaxed))
    }

    pub(super) fn saw_xid(&self, xid: Xid) {
        self.near.fetch_max(xid.0, Ordering::Relaxed);
    }

    /// Whether what was applied before has still to be met again.
    pub(super) fn is_replaying(&self) -> bool {
        self.is_replaying.load(Ordering::Acquire)
    }

    pub(super) fn replays(&self, is_replaying: bool) {
        self.is_replaying.store(is_replaying, Ordering::Release);
    }

    pub(super) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Relaxed)
    }

    pub(super) fn saw_beat(&self, beat: u64) {
        self.beat.fetch_max(beat, Ordering::Relaxed);
    }
}

/// Asks for one session.
pub(super) struct Asker<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) feed: &'a Feed,
    pub(super) progress: Arc<Progress>,
    pub(super) epoch: EpochId,
    pub(super) timeline: u32,
    pub(super) instance: Instance,
    /// What must become visible before anything is kept.
    pub(super) barrier: Option<Xid>,
    pub(super) control: Option<Control>,
    /// Whether this node sends heartbeats though nobody here waits for one: one of a fleet is enough.
    pub(super) sends_beats: bool,
    /// How far the log was applied when a heartbeat was sent last, and when that was.
    pub(super) beaten: (Position, Nanos),
    /// How far the log was applied when it was looked at last, and since when.
    pub(super) stands: (Position, Nanos),
    pub(super) named_at: Nanos,
}

impl Asker<'_> {
    /// Asks until the session is over.
    pub(super) async fn run(mut self) -> Result<Ended, FeedError> {
        self.named_at = self.host.clock().now();
        loop {
            let applied = self.feed.applied();
            // Before the question is sent: every commit acknowledged before this moment shows in the answer.
            let (at, discards) = (self.host.clock().now(), self.feed.discards());
            let wished = self.feed.wished();
            self.feed.forget_wishes();
            let doing = "asking how far it is";
            let answer = match tokio::time::timeout(ASK_LIMIT, self.host.ask()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    self.trouble(&error).await;
                    continue;
                }
                Err(_) => {
                    self.trouble(&FeedError::Late { doing, limit: ASK_LIMIT }).await;
                    continue;
                }
            };
            if answer.timeline != self.timeline {
                return Ok(Ended::Broken("the source is on another timeline: a standby was promoted"));
            }
            if answer.position < applied {
                return Ok(Ended::Broken(
                    "the source's log ends before a position that it had: it was restored",
                ));
            }
            if answer.instance != self.instance {
                return Ok(Ended::Moved("the server was restarted"));
            }
            self.progress.saw_xid(answer.snapshot.xmax);
            if answer.moved {
                self.catalogue_moved(answer.position).await?;
                continue;
            }
            let xmin = answer.snapshot.xmin;
            let ask = Ask { at, position: answer.position, discards };
            if self.progress.is_replaying() {
                // Whose log this is stands not yet: how far it goes says nothing.
                self.await_replay().await;
                continue;
            }
            self.feed.answered(self.epoch, ask, Some(&Snapshot::Xids(answer.snapshot)));
            self.name_blocker(xmin).await;
            self.wait(ask, wished).await;
        }
    }

    /// Reads the catalogue anew. Changes told so far may have been mapped by the old one: nothing is kept until all of
    /// them are visible. The question is not counted.
    async fn catalogue_moved(&mut self, position: Position) -> Result<(), FeedError> {
        tracing::info!("the catalogue has moved: classes that read what was altered begin anew");
        self.host.catalogue_moved().await?;
        // After the registry is in use: what is mapped by the old one has a lower id.
        let xid = self.control().await?.own_xid().await?;
        self.feed.freeze(Barrier { xid, end: position });
        self.barrier = self.barrier.max(Some(xid));
        Ok(())
    }

    /// Waits until the log that is told again has passed what was applied, helping on a log that has nothing to tell.
    async fn await_replay(&mut self) {
        let began_at = self.host.clock().now();
        while self.progress.is_replaying() {
            tokio::time::sleep(REPLAY_LOOK_EVERY).await;
            if self.since(began_at) >= BEAT_AFTER {
                self.beat().await;
            }
        }
    }

    /// Waits for the time of the next question; `wished` is how far somebody wished the log to be when the last was asked.
    async fn wait(&mut self, ask: Ask, wished: Position) {
        let busy = self.host.options().ask_busy;
        let idle = self.host.ask_idle().max(busy);
        tokio::time::sleep(busy.saturating_sub(self.since(ask.at))).await;
        let applied = self.feed.applied();
        if applied != self.stands.0 {
            self.stands = (applied, self.host.clock().now());
        }
        // A reader whose token lies there is sent to the source until then, and what is to be shared is not.
        let is_wished = self.feed.wished().max(wished) > applied;
        if applied < ask.position && (self.sends_beats || is_wished) {
            let since_ask = self.since(ask.at);
            let patience = if is_wished {
                let of_log = BEAT_AFTER_WISH.saturating_sub(self.since(self.stands.1));
                of_log.max(WISH_PATIENCE.saturating_sub(since_ask))
            } else {
                BEAT_AFTER.saturating_sub(since_ask)
            };
            let reached = tokio::time::timeout(patience, self.feed.until_applied(ask.position)).await;
            if reached.is_err() && self.feed.applied() == applied {
                self.beat().await;
            }
        }
        // Whatever is told beyond the answer asks for another one; so does a reader whose token lies there, and a load that may
        // have seen more: what it brought is shared with other nodes only once the log has come so far, and an idle log has to
        // be asked to move.
        let beyond = Position(ask.position.0.saturating_add(1));
        let patience = idle.saturating_sub(self.since(ask.at));
        tokio::select! {
            () = self.feed.until_beyond(ask.position) => {}
            () = self.feed.until_wished(beyond) => {}
            () = tokio::time::sleep(patience) => {}
        }
    }

    async fn beat(&mut self) {
        let (from, at) = self.beaten;
        let is_under_way = self.feed.applied() <= from;
        if is_under_way && self.since(at) < BEAT_AGAIN_AFTER {
            return;
        }
        let sent = match self.control().await {
            Ok(control) => control.beat().await,
            Err(error) => Err(error),
        };
        self.beaten = (self.feed.applied(), self.host.clock().now());
        if let Err(error) = sent {
            self.control = None;
            self.feed.failed(error.to_string());
        }
    }

    /// Says which transaction is waited for, where nothing can be kept for long.
    async fn name_blocker(&mut self, xmin: Xid) {
        let Some(barrier) = self.barrier else { return };
        if xmin > barrier {
            self.barrier = None;
            self.host.status().wait_for(None);
            return;
        }
        if self.since(self.named_at) < NAME_BLOCKER_EVERY {
            return;
        }
        self.named_at = self.host.clock().now();
        let Ok(control) = self.control().await else { return };
        if let Ok(Some(who)) = control.oldest().await
            && self.host.status().wait_for(Some(who.clone()))
        {
            tracing::info!(waiting_for = %who, "answers are given but not kept until an older transaction ends");
        }
    }

    async fn control(&mut self) -> Result<&Control, FeedError> {
        if self.control.as_ref().is_none_or(Control::is_closed) {
            self.control = Some(Control::open(self.host).await?);
        }
        self.control.as_ref().ok_or(FeedError::Thread("lost its connection"))
    }

    async fn trouble(&self, error: &FeedError) {
        self.feed.failed(error.to_string());
        tokio::time::sleep(RETRY_PAUSE).await;
    }

    fn since(&self, at: Nanos) -> Duration {
        self.host.clock().now().since(at)
    }
}
