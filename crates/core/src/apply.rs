//! From the feed to the ledger: what an adapter tells, counted and applied.

mod delays;
mod unproven;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::{
    delays::{DELAY_BOUNDS_US, StageDelays},
    unproven::UnprovenTime,
};
use crate::{
    entry::EpochId,
    env::{BoxFuture, Clock, Nanos, unix_us},
    proof::{Ask, BadSave, Barrier, Ledger, Message, Position, Refused, SavedLedger, SavedPlace, Snapshot},
};

/// What the feed has done so far.
#[derive(Debug, Default)]
pub struct FeedStats {
    /// Tags raised by the changes applied; a row change raises several.
    pub changes: AtomicU64,
    /// Transactions applied.
    pub transactions: AtomicU64,
    /// Messages that did not continue where the feed was.
    pub gaps: AtomicU64,
    /// Times that following the feed failed and was begun again.
    pub failures: AtomicU64,
    /// From a change's own time to its application here: the whole way.
    pub applied: StageDelays,
    /// From a change's own time until a node took it from the source's log.
    pub to_feed: StageDelays,
    /// From then on to its application here.
    pub to_node: StageDelays,
    /// How long the node could not prove its answers.
    pub unproven: UnprovenTime,
    problem: Mutex<Option<Arc<str>>>,
    in_trouble: AtomicBool,
}

impl FeedStats {
    /// What is wrong with the feed at the moment, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<Arc<str>> {
        self.problem.lock().clone()
    }
}

/// Where an adapter tells what it reads from the change log.
#[derive(Clone, Debug)]
pub struct Feed {
    ledger: Arc<Ledger>,
    clock: Clock,
    stats: Arc<FeedStats>,
    signals: Arc<Signals>,
    places: Arc<[SavedPlace]>,
    beside: Option<Beside>,
}

/// What is saved beside what the node knows of the feed, and before it.
#[derive(Clone)]
struct Beside(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beside")
    }
}

#[derive(Debug, Default)]
struct Signals {
    stop_asked: AtomicBool,
    stop: Notify,
    moved: Notify,
    /// The highest position that a reader would have liked to be confirmed since the last question was sent.
    wished: AtomicU64,
    wish: Notify,
    /// When following failed the last time, by the feed's clock; 0 before.
    failed_at: AtomicU64,
}

impl Feed {
    /// A feed into `ledger`.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, clock: Clock, stats: Arc<FeedStats>) -> Self {
        let feed =
            Self { ledger, clock, stats, signals: Arc::default(), places: Arc::default(), beside: None };
        feed.moved();
        feed
    }

    /// As it is, with the places in the log that an earlier process has left, the earliest first.
    #[must_use]
    pub fn from_places(self, mut places: Vec<SavedPlace>) -> Self {
        places.sort_by_key(|place| place.position);
        Self { places: places.into(), ..self }
    }

    /// As it is, with something else to be saved: see [`Feed::save_beside`].
    #[must_use]
    pub fn saving(self, beside: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { beside: Some(Beside(Arc::new(beside))), ..self }
    }

    /// An adapter is about to write what [`Feed::save`] has given it: what has to be no further behind than that is written first.
    pub async fn save_beside(&self) {
        if let Some(Beside(save)) = &self.beside {
            save().await;
        }
    }

    /// Places in the log that an earlier process has left, the earliest first: where the log still continues from one, an adapter
    /// that begins may tell everything since, and say so by [`Feed::begin_resumed`].
    #[must_use]
    pub fn saved_places(&self) -> &[SavedPlace] {
        &self.places
    }

    /// What the node knows has moved, or may have.
    fn moved(&self) {
        self.stats.unproven.moved(self.clock.now(), self.ledger.moment());
        self.signals.moved.notify_waiters();
    }

    /// The clock by which the adapter times its asks.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The position through which the feed has been applied.
    #[must_use]
    pub fn applied(&self) -> Position {
        self.ledger.applied()
    }

    /// The epoch that the node is in.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.ledger.epoch()
    }

    /// What an [`Ask`] notes before its question is sent: see [`Ledger::discards`].
    #[must_use]
    pub fn discards(&self) -> u64 {
        self.ledger.discards()
    }

    /// Continuity was lost or never was: see [`Ledger::begin_epoch`].
    pub fn begin_epoch(&self, id: EpochId, start: Position, barrier: Option<Barrier>) {
        self.ledger.begin_epoch(id, start, barrier);
        self.signals.wished.store(0, Ordering::Release);
        self.moved();
    }

    /// Begins with what is told since an earlier process: see [`Ledger::begin_resumed`].
    pub fn begin_resumed(&self, id: EpochId, start: Position, of: EpochId) {
        self.ledger.begin_resumed(id, start, of);
        self.signals.wished.store(0, Ordering::Release);
        self.moved();
    }

    /// Continuity was lost and there is no new epoch yet: see [`Ledger::end_epoch`].
    pub fn end_epoch(&self) {
        self.ledger.end_epoch();
        self.moved();
    }

    /// Changes up to `barrier` may have gone untold: see [`Ledger::freeze`].
    pub fn freeze(&self, barrier: Barrier) {
        self.ledger.freeze(barrier);
        self.stats.gaps.fetch_add(1, Ordering::Relaxed);
        self.signals.moved.notify_waiters();
    }

    /// What another node, or this one after a restart, can begin with: see [`Ledger::save`].
    #[must_use]
    pub fn save(&self) -> Option<SavedLedger> {
        self.ledger.save()
    }

    /// Begins in the epoch, and at the floor, of a saved ledger: see [`Ledger::restore`].
    ///
    /// # Errors
    /// [`BadSave`]; nothing has changed.
    pub fn restore(&self, saved: &SavedLedger) -> Result<(), BadSave> {
        self.ledger.restore(saved)?;
        self.signals.wished.store(0, Ordering::Release);
        self.moved();
        Ok(())
    }

    /// Begins with what this node itself has saved, of the same log: see [`Ledger::resume`].
    ///
    /// # Errors
    /// [`BadSave`]; nothing has changed.
    pub fn resume(&self, saved: &SavedLedger) -> Result<(), BadSave> {
        self.ledger.resume(saved)?;
        self.signals.wished.store(0, Ordering::Release);
        self.moved();
        Ok(())
    }

    /// Applies a message. `written_at_us`, microseconds since 1970 by the database's clock, is when its changes were
    /// written, for the delay metric only.
    ///
    /// # Errors
    /// [`Refused`]; after a gap, replay from [`Feed::applied`] or begin a new epoch.
    pub fn apply(
        &self,
        message: &Message,
        written_at_us: impl IntoIterator<Item = u64>,
    ) -> Result<(), Refused> {
        let result = self.ledger.apply(message);
        match result {
            Ok(()) => {
                self.moved();
                let changes = message.transactions.iter().map(|t| t.tags.len() as u64).sum::<u64>();
                self.stats.changes.fetch_add(changes, Ordering::Relaxed);
                self.stats.transactions.fetch_add(message.transactions.len() as u64, Ordering::Relaxed);
                let now_us = unix_us();
                for at_us in written_at_us {
                    self.stats.applied.add(Duration::from_micros(now_us.saturating_sub(at_us)));
                }
            }
            Err(Refused::Gap { .. }) => {
                self.stats.gaps.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        result
    }

    /// The source answered, in `epoch`, how far it is: see [`Ledger::answered`].
    pub fn answered(&self, epoch: EpochId, ask: Ask, snapshot: Option<&Snapshot>) {
        self.ledger.answered(epoch, ask, snapshot);
        if self.stats.in_trouble.swap(false, Ordering::Relaxed) {
            self.stats.problem.lock().take();
        }
        self.moved();
    }

    /// Counts the two stages of the way of what was just applied: the log was read at `taken_at_us`, here or on the node that
    /// told it; `written_at_us` as for [`Feed::apply`]. The clocks are those of several machines: for metrics only.
    pub fn came(&self, taken_at_us: u64, written_at_us: impl IntoIterator<Item = u64>) {
        let on_the_way = Duration::from_micros(unix_us().saturating_sub(taken_at_us));
        for at_us in written_at_us {
            self.stats.to_feed.add(Duration::from_micros(taken_at_us.saturating_sub(at_us)));
            self.stats.to_node.add(on_the_way);
        }
    }

    /// A reader had to be sent to the source because no answer of the source confirms `position` yet: the adapter is to
    /// ask as soon as it may.
    pub fn wish(&self, position: Position) {
        if self.signals.wished.fetch_max(position.0, Ordering::AcqRel) < position.0 {
            self.signals.wish.notify_waiters();
        }
    }

    /// What readers wish to be confirmed.
    #[must_use]
    pub fn wished(&self) -> Position {
        Position(self.signals.wished.load(Ordering::Acquire))
    }

    /// The next question answers all wishes so far, or they are none that the source can fulfil.
    pub fn forget_wishes(&self) {
        self.signals.wished.store(0, Ordering::Release);
    }

    /// Returns when a reader wishes that `position` is confirmed, or something later.
    pub async fn until_wished(&self, position: Position) {
        loop {
            let wish = self.signals.wish.notified();
            if self.wished() >= position {
                return;
            }
            wish.await;
        }
    }

    /// Following failed and will be tried again: `problem` says what failed, on what, and what to do.
    pub fn failed(&self, problem: impl Into<Arc<str>>) {
        let problem = problem.into();
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        self.signals.failed_at.store(self.clock.now().0, Ordering::Release);
        self.stats.in_trouble.store(true, Ordering::Relaxed);
        let mut standing = self.stats.problem.lock();
        if standing.as_ref() != Some(&problem) {
            tracing::warn!(%problem, "the feed is interrupted; answers become unproven");
            *standing = Some(problem);
        }
    }

    /// Asks the adapter to stop following.
    pub fn stop(&self) {
        self.signals.stop_asked.store(true, Ordering::Release);
        self.signals.stop.notify_waiters();
    }

    /// Whether [`Feed::stop`] was called.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.signals.stop_asked.load(Ordering::Acquire)
    }

    /// Returns when [`Feed::stop`] is called.
    pub async fn until_stopped(&self) {
        let woken = self.signals.stop.notified();
        if !self.stopped() {
            woken.await;
        }
    }

    /// Returns when the feed has been applied through `position`, or once the epoch has moved.
    pub async fn until_applied(&self, position: Position) {
        let epoch = self.epoch();
        loop {
            let moved = self.signals.moved.notified();
            if self.applied() >= position || self.epoch() != epoch {
                return;
            }
            moved.await;
        }
    }

    /// A load may have seen everything up to `upper`: where that is more than has been applied, whoever asks the source asks
    /// again soon, for the entry waits for it.
    pub(crate) fn seen(&self, upper: Position) {
        if upper > self.applied() {
            self.signals.moved.notify_waiters();
        }
    }

    /// Returns when there is more than `position` to know: the feed has been applied beyond it, a load may have seen more, or
    /// the epoch has moved.
    pub async fn until_beyond(&self, position: Position) {
        let epoch = self.epoch();
        loop {
            let moved = self.signals.moved.notified();
            let told = self.ledger.told();
            if self.applied() > position || told > position || self.epoch() != epoch {
                return;
            }
            moved.await;
        }
    }

    /// Returns when the primary certainly shows everything that ends at or below `position`, or once the epoch has moved.
    pub async fn until_visible(&self, position: Position) {
        let epoch = self.epoch();
        loop {
            let moved = self.signals.moved.notified();
            let visible = self.ledger.status().floor.is_some_and(|floor| floor >= position);
            if visible || self.epoch() != epoch {
                return;
            }
            moved.await;
        }
    }

    /// Returns when the node is in an epoch and knows how fresh it is: see [`Feed::is_fresh`].
    pub async fn until_fresh(&self) {
        loop {
            let moved = self.signals.moved.notified();
            if self.is_fresh() {
                return;
            }
            moved.await;
        }
    }

    /// Whether the node is in an epoch and has learned how far the source is, at least once and, where following has failed,
    /// since then: the answer to an ask that was sent later has been reached. That answer alone is not enough, for what was
    /// told meanwhile may still have to be replayed, and until then entries are too old to be proven.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let moment = self.ledger.moment();
        let failed_at = Nanos(self.signals.failed_at.load(Ordering::Acquire));
        self.epoch().is_some() && moment > Nanos::ZERO && moment >= failed_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Transaction, Xid};

    #[test]
    fn a_feed_that_failed_is_fresh_again_when_it_has_reached_what_the_source_has_told_since() {
        let clock = Clock::stepped();
        let feed = Feed::new(Ledger::new(64, 64), clock.clone(), Arc::default());
        let ask = |position| {
            clock.advance(Duration::from_millis(1));
            Ask { at: clock.now(), position: Position(position), discards: feed.discards() }
        };
        let epoch = "000000000000000000000000000000ab".parse().unwrap();
        feed.begin_epoch(epoch, Position(1), None);
        assert!(!feed.is_fresh(), "it has not asked yet");
        let before = ask(1);
        feed.answered(epoch, before, None);
        assert!(feed.is_fresh());

        let asked_before = ask(1);
        clock.advance(Duration::from_millis(1));
        feed.failed("the network is cut");
        assert!(!feed.is_fresh());
        feed.answered(epoch, asked_before, None);
        assert!(!feed.is_fresh(), "the source was asked before the failure");

        feed.answered(epoch, ask(3), None);
        assert!(feed.stats.problem().is_none());
        assert!(!feed.is_fresh(), "two changes are to be replayed");
        let missed = |end| Transaction { xid: Xid(0), end: Position(end), tags: vec![] };
        let replay = Message {
            epoch,
            connection: 1,
            previous: Position(1),
            end: Position(3),
            transactions: vec![missed(2), missed(3)],
        };
        feed.apply(&replay, []).unwrap();
        assert!(feed.is_fresh());
    }
}
