//! Write-behind: writes are durable in a journal before they are answered, and reach the source later.
//!
//! ```text
//! accept -> journal (one sync for all who wait) -> overlay, batch -> answer
//!                                                           |
//!                                      source <- one transaction a batch
//! ```
//!
//! Applied once: the source holds, beside the rows and written in the same transaction, through which sequence of this journal it
//! has them. What is replayed after a crash begins there. Batches go in order and one at a time, so one number is enough.

mod counts;
mod generation;
mod journal;
mod overlay;
mod record;
mod sink;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use self::overlay::{Overlay, Pending};
pub use self::{
    counts::BehindCounts,
    generation::{Batch, Change},
    journal::JournalError,
    record::{
        BadSegment, FRAME_BYTES_MAX, Frame, JournalId, Record, SegmentHeader, decode_frame, decode_header,
        encode_frame, encode_header, has_frame_after,
    },
    sink::{Applied, ApplyError, Sink},
};
use self::{
    counts::{Counters, add},
    generation::Generation,
    journal::Journal,
    record::frame_bytes,
};
use crate::{
    change::RowChange,
    class::ClassName,
    env::{self, Clock, Nanos},
    error::AcceptError,
    source::LoadError,
};

/// Bytes of the journal, unless stated.
pub const JOURNAL_BYTES_MAX_DEFAULT: usize = 64 << 20;
/// How long a write may wait for others of the same row before it goes to the source, unless stated.
pub const FLUSH_EVERY_DEFAULT: Duration = Duration::from_millis(50);
/// Writers that wait for one sync at most.
const GROUP_MAX: usize = 1_024;
/// Bytes of one frame after which the next is begun.
const GROUP_BYTES: usize = 4 << 20;
/// Shortest pause after a failure to apply.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause after failures to apply.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// When a writer may try again after the disk has failed, in milliseconds.
const DISK_RETRY_MS: u64 = 1_000;
/// When a writer may try again at another node, in milliseconds.
const STOPPING_RETRY_MS: u64 = 1_000;

/// How writes are kept until the source has them.
#[derive(Clone, Debug)]
pub struct BehindConfig {
    /// The folder of the journal; no other process may use it.
    pub folder: PathBuf,
    /// The most that the journal may take on disk, in bytes. Beyond it writes are refused.
    pub bytes_max: usize,
    /// How long a write may wait for others of the same row before it goes to the source.
    pub flush_every: Duration,
    /// The clock to read.
    pub clock: Clock,
}

impl BehindConfig {
    /// The defaults, with the journal in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: JOURNAL_BYTES_MAX_DEFAULT,
            flush_every: FLUSH_EVERY_DEFAULT,
            clock: Clock::system(),
        }
    }
}

/// Write-behind could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BehindError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What the journal held could not be brought to the source.
    #[error("{pending} accepted writes are in the journal and cannot be brought to the source: {why}")]
    Source {
        /// How many.
        pending: usize,
        /// Why not.
        why: ApplyError,
    },
}

/// Accepts writes for the source. Cheap to clone.
#[derive(Clone)]
pub struct WriteBehind {
    inner: Arc<Inner>,
}

struct Inner {
    config: BehindConfig,
    id: JournalId,
    sink: Arc<dyn Sink>,
    /// Held while the disk is waited for: only on threads that may block.
    journal: Mutex<Journal>,
    journal_bytes: AtomicUsize,
    queue: mpsc::Sender<Waiting>,
    state: Mutex<State>,
    /// There is a full batch, or the process is about to end.
    due: Arc<Notify>,
    /// The source has a batch more.
    flushed: Notify,
    closing: AtomicBool,
    counts: Counters,
}

#[derive(Default)]
struct State {
    overlays: HashMap<String, Arc<Overlay>>,
    generations: VecDeque<Generation>,
    /// On its way to the source: writes in it, and when the first of them was accepted.
    flushing: Option<(u64, Nanos)>,
    /// Through which sequence the source has everything.
    applied: u64,
}

/// A write that waits for the disk.
struct Waiting {
    record: Record,
    whole: bool,
    bytes: usize,
    answer: oneshot::Sender<Result<u64, AcceptError>>,
}

impl WriteBehind {
    /// Opens the journal, and brings to the source whatever it held: from then on readers can be served.
    ///
    /// # Errors
    /// [`BehindError`], naming the file or what the source said.
    pub async fn open(config: BehindConfig, sink: Arc<dyn Sink>) -> Result<Self, BehindError> {
        let (folder, bytes_max) = (config.folder.clone(), config.bytes_max);
        let opening = tokio::task::spawn_blocking(move || Journal::open(&folder, bytes_max)).await;
        let (mut journal, held) =
            opening.map_err(|_| BehindError::Source { pending: 0, why: LoadError::Lost.into() })??;
        let counts = Counters::default();
        let applied = replay(&mut journal, held.records, &*sink, &counts, &config.clock).await?;
        if held.torn_bytes > 0 {
            tracing::info!(bytes = held.torn_bytes, "the journal ended in a write that nobody was told of");
        }
        let (queue, waiting) = mpsc::channel(GROUP_MAX);
        let inner = Arc::new(Inner {
            id: journal.id(),
            journal_bytes: AtomicUsize::new(journal.bytes()),
            journal: Mutex::new(journal),
            config,
            sink,
            queue,
            state: Mutex::new(State { applied, ..State::default() }),
            due: Arc::default(),
            flushed: Notify::new(),
            closing: AtomicBool::new(false),
            counts,
        });
        // Both end with the last handle.
        drop(env::spawn("journal", write_all(Arc::downgrade(&inner), waiting)));
        drop(env::spawn("write-behind", flush_all(Arc::downgrade(&inner))));
        Ok(Self { inner })
    }

    /// What readers see of a class's writes.
    pub(crate) fn overlay(&self, class: &ClassName) -> Arc<Overlay> {
        Arc::clone(self.inner.state.lock().overlays.entry(class.to_string()).or_default())
    }

    /// Accepts a write, and returns once it is durable here; its sequence. `whole` says that it gives every column of the value.
    ///
    /// # Errors
    /// [`AcceptError`], which says when to come back.
    pub(crate) async fn accept(
        &self,
        class: &ClassName,
        key: &str,
        change: RowChange,
        whole: bool,
    ) -> Result<u64, AcceptError> {
        let inner = &self.inner;
        let stopping = AcceptError::Stopping { retry_after_ms: STOPPING_RETRY_MS };
        let accepted = async {
            if inner.closing.load(Ordering::Acquire) {
                return Err(stopping.clone());
            }
            let record = Record { class: class.to_string(), key: key.to_owned(), change };
            let bytes = record.encoded_len();
            if inner.journal_bytes.load(Ordering::Relaxed) + frame_bytes(bytes) > inner.config.bytes_max {
                return Err(inner.full());
            }
            let (answer, answered) = oneshot::channel();
            let waiting = Waiting { record, whole, bytes, answer };
            inner.queue.send(waiting).await.map_err(|_| stopping.clone())?;
            answered.await.unwrap_or(Err(stopping.clone()))
        };
        let result = accepted.await;
        match &result {
            Ok(_) => add(&inner.counts.accepted, 1),
            Err(why) => inner.counts.refused(why),
        }
        result
    }

    /// Accepts no more writes, and returns once the source has all that were accepted, or after `wait_max`; how many are left in
    /// the journal for the next start.
    pub async fn shut_down(&self, wait_max: Duration) -> u64 {
        let inner = &self.inner;
        inner.closing.store(true, Ordering::Release);
        let drained = async {
            loop {
                let flushed = inner.flushed.notified();
                if inner.pending().0 == 0 {
                    return;
                }
                inner.due.notify_one();
                flushed.await;
            }
        };
        let _ = tokio::time::timeout(wait_max, drained).await;
        inner.pending().0
    }

    /// What has been done.
    #[must_use]
    pub fn counts(&self) -> BehindCounts {
        let inner = &self.inner;
        let (pending, since) = inner.pending();
        let age = since.map_or(Duration::ZERO, |since| inner.config.clock.now().since(since));
        BehindCounts {
            pending,
            journal_bytes: inner.journal_bytes.load(Ordering::Relaxed) as u64,
            journal_bytes_max: inner.config.bytes_max as u64,
            oldest_s: age.as_secs_f64(),
            ..inner.counts.copy()
        }
    }

    /// Where the journal is, for people.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.inner.config.folder
    }
}

impl std::fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBehind").field("folder", &self.inner.config.folder).finish_non_exhaustive()
    }
}

/// Brings what the journal held to the source; through which sequence the source has everything then.
async fn replay(
    journal: &mut Journal,
    records: Vec<(u64, Record)>,
    sink: &dyn Sink,
    counts: &Counters,
    clock: &Clock,
) -> Result<u64, BehindError> {
    let id = journal.id();
    let failed = |pending: usize| move |why: ApplyError| BehindError::Source { pending, why };
    let total = records.len();
    let mut applied = sink.prepare(&id).await.map_err(|why| failed(total)(why.into()))?;
    let mut records: VecDeque<(u64, Record)> = records.into();
    loop {
        while records.front().is_some_and(|(sequence, _)| *sequence <= applied) {
            records.pop_front();
        }
        let Some((first, _)) = records.front() else { break };
        let mut generation = Generation::new(*first, clock.now());
        for (sequence, record) in records.iter().cloned() {
            if generation.is_full() {
                break;
            }
            generation.add(sequence, record);
        }
        let batch = generation.seal(applied);
        match sink.apply(&id, &batch).await {
            Ok(done) => {
                note_applied(counts, &batch, &done);
                add(&counts.replayed, batch.writes);
                applied = batch.through;
            }
            // The end of the process before had its last transaction still under way.
            Err(ApplyError::Moved(through)) if through > applied => applied = through,
            Err(why) => return Err(failed(records.len())(why)),
        }
    }
    journal.skip_to(applied);
    let tidy = journal.applied(applied);
    if let Err(error) = tidy {
        tracing::warn!(%error, "what was applied cannot be removed from the journal yet");
    }
    Ok(applied)
}

fn note_applied(counts: &Counters, batch: &Batch, done: &Applied) {
    let rows = batch.changes.len() as u64;
    add(&counts.applied, rows.saturating_sub(done.refused.len() as u64));
    add(&counts.rejected, done.refused.len() as u64);
    add(&counts.coalesced, batch.writes.saturating_sub(rows));
    if !done.refused.is_empty() {
        tracing::error!(
            rows = done.refused.len(),
            "the source has refused accepted writes for what they hold: see its table of refused writes"
        );
    }
}

impl Inner {
    fn full(&self) -> AcceptError {
        let pace = self.config.flush_every.as_millis() as u64;
        AcceptError::Full { retry_after_ms: pace.max(100) }
    }

    /// Writes that the source does not have, and when the oldest of them was accepted.
    fn pending(&self) -> (u64, Option<Nanos>) {
        let state = self.state.lock();
        let waiting: u64 = state.generations.iter().map(Generation::writes).sum();
        let flushing = state.flushing.map_or(0, |(writes, _)| writes);
        let oldest = state.flushing.map(|(_, since)| since);
        (waiting + flushing, oldest.or_else(|| state.generations.front().map(Generation::since)))
    }

    /// Takes up writes that are durable, the first numbered `first`, and answers them.
    fn take_up(&self, first: u64, group: Vec<Waiting>) {
        let now = self.config.clock.now();
        let mut answers = Vec::with_capacity(group.len());
        let mut state = self.state.lock();
        for (sequence, waiting) in (first..).zip(group) {
            let Waiting { record, whole, answer, .. } = waiting;
            let overlay = state.overlays.entry(record.class.clone()).or_default();
            overlay.lay(&record.key, record.change.clone(), whole, sequence, now);
            if state.generations.back().is_none_or(Generation::is_full) {
                state.generations.push_back(Generation::new(sequence, now));
            }
            if let Some(generation) = state.generations.back_mut() {
                generation.add(sequence, record);
            }
            answers.push((answer, sequence));
        }
        let full = state.generations.front().is_some_and(Generation::is_full);
        drop(state);
        if full {
            self.due.notify_one();
        }
        for (answer, sequence) in answers {
            // A writer who has gone has written all the same.
            let _ = answer.send(Ok(sequence));
        }
    }

    /// The next batch, if there is one.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        let batch = state.generations.pop_front()?.seal(state.applied);
        state.flushing = Some((batch.writes, batch.since));
        Some(batch)
    }

    /// Applies a batch, however often that takes.
    async fn bring(self: &Arc<Self>, batch: &Batch) {
        let mut pause = PAUSE_MIN;
        let done = loop {
            let error = match self.sink.apply(&self.id, batch).await {
                Ok(done) => break done,
                Err(error) => error,
            };
            add(&self.counts.failures, 1);
            tracing::warn!(%error, writes = batch.writes, "accepted writes wait: the source does not take them");
            if Arc::strong_count(self) == 1 {
                // Nobody is left who could ask for it: the next start brings it.
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        };
        note_applied(&self.counts, batch, &done);
        let now = self.config.clock.now();
        let overlays: HashMap<String, Arc<Overlay>> = {
            let mut state = self.state.lock();
            (state.applied, state.flushing) = (batch.through, None);
            state.overlays.clone()
        };
        for (place, change) in batch.changes.iter().enumerate() {
            let Some(overlay) = overlays.get(&change.class) else { continue };
            if done.refused.contains(&place) {
                overlay.refused(&change.key, change.sequence);
            } else {
                overlay.applied(&change.key, change.sequence, done.token, now);
            }
        }
        let (inner, through) = (Arc::clone(self), batch.through);
        let tidied = tokio::task::spawn_blocking(move || {
            let mut journal = inner.journal.lock();
            let tidied = journal.applied(through);
            inner.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
            tidied
        });
        if let Ok(Err(error)) = tidied.await {
            tracing::warn!(%error, "what was applied cannot be removed from the journal yet");
        }
        self.flushed.notify_waiters();
    }

    /// Makes a group durable.
    async fn sync(self: &Arc<Self>, group: Vec<Waiting>) {
        let records: Vec<Record> = group.iter().map(|waiting| waiting.record.clone()).collect();
        let inner = Arc::clone(self);
        let appended = tokio::task::spawn_blocking(move || {
            let mut journal = inner.journal.lock();
            let appended = journal.append(&records);
            inner.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
            appended
        });
        add(&self.counts.syncs, 1);
        let reason: Arc<str> = match appended.await {
            Ok(Ok(first)) => return self.take_up(first, group),
            Ok(Err(error)) => error.to_string().into(),
            Err(_) => "the write was lost".into(),
        };
        tracing::error!(%reason, writes = group.len(), "the journal's disk failed: writes are refused");
        for waiting in group {
            let refused = AcceptError::Disk { reason: Arc::clone(&reason), retry_after_ms: DISK_RETRY_MS };
            let _ = waiting.answer.send(Err(refused));
        }
    }
}

/// Writes what waits to the journal, as much as waits with one sync. Ends with the last handle.
async fn write_all(inner: Weak<Inner>, mut queue: mpsc::Receiver<Waiting>) {
    let mut taken = Vec::with_capacity(GROUP_MAX);
    while queue.recv_many(&mut taken, GROUP_MAX).await > 0 {
        let Some(inner) = inner.upgrade() else { return };
        let (mut group, mut bytes) = (Vec::new(), 0);
        for waiting in taken.drain(..) {
            let held = inner.journal_bytes.load(Ordering::Relaxed);
            if held + frame_bytes(bytes + waiting.bytes) > inner.config.bytes_max {
                let _ = waiting.answer.send(Err(inner.full()));
                continue;
            }
            bytes += waiting.bytes;
            group.push(waiting);
            if bytes >= GROUP_BYTES {
                inner.sync(std::mem::take(&mut group)).await;
                bytes = 0;
            }
        }
        if !group.is_empty() {
            inner.sync(group).await;
        }
    }
}

/// Brings batches to the source, one at a time and in order. Ends with the last handle.
async fn flush_all(weak: Weak<Inner>) {
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let pace = inner.config.flush_every;
        let closing = inner.closing.load(Ordering::Acquire);
        while let Some(batch) = inner.next_batch() {
            inner.bring(&batch).await;
        }
        let due = Arc::clone(&inner.due);
        drop(inner);
        let wait = if closing { PAUSE_MIN.min(pace) } else { pace };
        let _ = tokio::time::timeout(wait, due.notified()).await;
    }
}

#[cfg(test)]
mod tests;
