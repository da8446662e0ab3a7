//! Reading the log from a replication connection, and applying it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::{Nanos, unix_us},
    proof::{Message, Position, Refused},
};

use super::{
    asker::{Ended, Progress},
    assemble::{Assembler, Batch},
    connection::Replication,
    error::FeedError,
    fleet::{Told, Verdict},
    host::Host,
    mapper::Mapper,
    pgoutput::{Frame, decode},
};

/// How often the server hears from us: several times within its patience of three seconds.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// A server that has nothing to tell, and hears from us, says nothing: after so long it is asked for a word.
const SILENCE_ASKED_AFTER: Duration = Duration::from_secs(1);
/// After so long without a word the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// Most units that are taken before what is complete is applied.
const FRAMES_AT_ONCE_MAX: usize = 1024;

/// What need never be told again.
#[derive(Clone, Debug)]
pub(super) enum Confirm {
    /// All that was applied: the slot is gone with the connection.
    Applied,
    /// What a saved ledger holds.
    Saved(Arc<AtomicU64>),
}

/// Who else wants to know what was applied.
pub(super) trait Sink: Send + Sync {
    /// Whether the log that is told goes on where this node is: asked of each message before it is applied.
    fn judge(&self, message: &Message, committed_at_us: &[u64]) -> Verdict;

    /// A message was applied here, now or before.
    fn applied(&self, told: &Told);
}

/// Reads for one session.
pub(super) struct Reader<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) feed: &'a Feed,
    pub(super) progress: Arc<Progress>,
    pub(super) epoch: EpochId,
    pub(super) connection: u64,
    pub(super) replication: Replication,
    pub(super) assembler: Assembler,
    pub(super) confirm: Confirm,
    pub(super) sink: Option<&'a dyn Sink>,
    /// How the changes before were mapped.
    pub(super) mapped_by: Option<[u8; 16]>,
}

impl Reader<'_> {
    /// Reads until the connection or the session is over.
    pub(super) async fn run(mut self) -> Result<Ended, FeedError> {
        let (mut heard_at, mut reported_at) = (self.host.clock().now(), Nanos::ZERO);
        loop {
            let first = tokio::select! {
                biased;
                next = self.replication.next() => Some(next?),
                () = tokio::time::sleep(REPORT_EVERY) => None,
            };
            let (now, taken_at_us) = (self.host.clock().now(), unix_us());
            let mut wants_reply = false;
            match first {
                Some(first) => {
                    heard_at = now;
                    self.assembler.near(self.progress.near());
                    let mapping = self.host.mapping();
                    if self.mapped_by.replace(mapping.digest).is_some_and(|before| before != mapping.digest) {
                        self.assembler.remapped();
                    }
                    wants_reply = self.take_all(&first, &*mapping.mapper).await?;
                    if let Some(batch) = self.assembler.take_batch()
                        && let Some(ended) = self.apply(batch, mapping.digest, taken_at_us)
                    {
                        return Ok(ended);
                    }
                }
                None if now.since(heard_at) >= SILENCE_MAX => return Err(FeedError::Silent(SILENCE_MAX)),
                None => {}
            }
            if wants_reply || now.since(reported_at) >= REPORT_EVERY {
                self.report(now.since(heard_at) >= SILENCE_ASKED_AFTER).await?;
                reported_at = now;
            }
        }
    }

    /// Takes `first` and whatever has arrived behind it. No other future runs in between, so that all of it is mapped by
    /// one registry and applied before another one is in use.
    async fn take_all(&mut self, first: &[u8], mapper: &dyn Mapper) -> Result<bool, FeedError> {
        let mut wants_reply = self.take(first, mapper)?;
        for _ in 1..FRAMES_AT_ONCE_MAX {
            let more = tokio::select! {
                biased;
                next = self.replication.next() => next?,
                () = std::future::ready(()) => break,
            };
            wants_reply |= self.take(&more, mapper)?;
        }
        Ok(wants_reply)
    }

    fn take(&mut self, frame: &[u8], mapper: &dyn Mapper) -> Result<bool, FeedError> {
        match Frame::decode(frame)? {
            Frame::Data(bytes) => {
                let event = decode(bytes, self.assembler.in_stream())?;
                self.assembler.take(event, mapper)?;
                Ok(false)
            }
            Frame::Keepalive { wal_end, wants_reply } => {
                self.assembler.keepalive(Position(wal_end));
                Ok(wants_reply)
            }
        }
    }

    fn apply(&self, batch: Batch, mapping: [u8; 16], taken_at_us: u64) -> Option<Ended> {
        if let Some(beat) = batch.beat {
            self.progress.saw_beat(beat);
        }
        let message = Message {
            epoch: self.epoch,
            connection: self.connection,
            previous: batch.previous,
            end: batch.end,
            transactions: batch.transactions,
        };
        let committed_at_us = batch.committed_at_us;
        match self.sink.map_or(Verdict::Same, |sink| sink.judge(&message, &committed_at_us)) {
            Verdict::Same => self.progress.replays(false),
            // All of it was applied before, here at least.
            Verdict::Pending => return None,
            Verdict::Other => {
                return Some(Ended::Broken(
                    "the source's log is another one than before: it was restored from an older copy",
                ));
            }
        }
        let committed = committed_at_us.iter().copied().filter(|at_us| *at_us > 0);
        let applied = self.feed.apply(&message, committed.clone());
        if applied.is_ok() {
            self.feed.came(taken_at_us, committed);
        }
        if let (Some(sink), Ok(()) | Err(Refused::Old)) = (self.sink, &applied) {
            sink.applied(&Told {
                message,
                committed_at_us,
                mapping,
                beat: self.progress.beat(),
                taken_at_us,
            });
        }
        match applied {
            Ok(()) | Err(Refused::Old) => None,
            Err(Refused::OtherEpoch) => Some(Ended::Moved("the node has left the epoch")),
            Err(Refused::Gap { .. } | Refused::Malformed) => {
                Some(Ended::Broken("the log does not continue where this node is"))
            }
        }
    }

    async fn report(&mut self, wants_answer: bool) -> Result<(), FeedError> {
        let applied = self.feed.applied();
        let confirmed = match &self.confirm {
            Confirm::Applied => applied,
            Confirm::Saved(position) => Position(position.load(Ordering::Acquire)),
        };
        self.replication.report(applied, confirmed, wants_answer).await
    }
}
