//! The ledger of one node: what it knows of the feed, readable without a lock on the hot path.

mod load;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

pub use load::Load;

use super::{
    Ask, Barrier, Beginning, Book, Buckets, Change, Epochs, Hold, Known, Listener, Listening, Position,
    Proof, Refused, Rejected, SavedLedger, Snapshot, Standing, Tag, Tags, Transaction,
};
use crate::{entry::EpochId, env::Nanos};

/// One message of the feed: whole transactions, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The epoch in which the positions count.
    pub epoch: EpochId,
    /// Number of the feed's connection to the source; moves when the connection is made anew.
    pub connection: u64,
    /// Where the message before this one ended.
    pub previous: Position,
    /// Every change at or below this is in this message or an earlier one.
    pub end: Position,
    /// The transactions that ended in between and changed something.
    pub transactions: Vec<Transaction>,
}

/// What a load saw, as its source tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which changes the load certainly saw.
    pub snapshot: Snapshot,
    /// A position read after the load: nothing that ends later can have been seen.
    pub upper: Position,
    /// The epoch of the source that answered.
    pub epoch: EpochId,
}

/// Something that carries a proof and can wait to be settled.
pub trait Carrier: Send + Sync {
    /// The proof.
    fn proof(&self) -> &Proof;

    /// The proof has just been settled: the entry may now be shared with other nodes.
    fn settled(self: Arc<Self>);
}

/// Counts and positions of a ledger, for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How many epochs this process has seen.
    pub epoch: u64,
    /// The applied position, W.
    pub applied: Position,
    /// The floor, while it is defined.
    pub floor: Option<Position>,
    /// What must become visible before a floor is defined.
    pub barrier: Option<Barrier>,
    /// The moment, T.
    pub moment: Nanos,
    /// The highest position the source has told.
    pub told: Position,
    /// Changes held for loads in flight.
    pub recent: usize,
    /// Entries that wait to be settled.
    pub unsettled: usize,
}

/// What the node knows of the feed: last change of each tag, applied position, floor, moment, epoch.
pub struct Ledger {
    pub(super) hot: CachePadded<Hot>,
    pub(super) buckets: Buckets,
    epoch: ArcSwapOption<EpochId>,
    state: Mutex<State>,
    recent_max: usize,
}

/// What each hit reads. One cache line, written only when the feed moves.
pub(super) struct Hot {
    pub(super) epoch: AtomicU64,
    pub(super) moment: AtomicU64,
    pub(super) applied: AtomicU64,
    pub(super) confirmed: AtomicU64,
}

struct State {
    book: Book,
    start: Position,
    /// Of the last message applied in this epoch.
    connection: Option<u64>,
    next_number: u64,
    unsettled: BTreeMap<(Position, u64), Waiting>,
    listeners: Vec<Weak<dyn Listener>>,
}

struct Waiting {
    carrier: Arc<dyn Carrier>,
    pending: Pending,
}

/// What an unsettled entry still needs to be judged.
#[derive(Clone, Debug)]
struct Pending {
    hold: Hold,
    saw: Snapshot,
}

impl Ledger {
    /// A ledger in no epoch: nothing is proven until [`Ledger::begin_epoch`].
    ///
    /// `buckets` is rounded up to a power of two (8 bytes each); `recent_max` bounds the changes held for loads in
    /// flight (about 100 bytes each).
    #[must_use]
    pub fn new(buckets: usize, recent_max: usize) -> Arc<Self> {
        Arc::new(Self {
            hot: CachePadded::new(Hot {
                epoch: AtomicU64::new(0),
                moment: AtomicU64::new(0),
                applied: AtomicU64::new(0),
                confirmed: AtomicU64::new(0),
            }),
            buckets: Buckets::new(buckets),
            epoch: ArcSwapOption::empty(),
            state: Mutex::new(State {
                book: Book::new(Position::ZERO, None, recent_max),
                start: Position::ZERO,
                connection: None,
                next_number: 1,
                unsettled: BTreeMap::new(),
                listeners: Vec::new(),
            }),
            recent_max,
        })
    }

    /// Begins an epoch in which the feed is followed from `start`: everything older becomes unproven.
    ///
    /// `barrier` names changes at or below `start` that may still be invisible to readers; the source gives one
    /// wherever commit and visibility are two steps and nothing can be replayed.
    pub fn begin_epoch(&self, id: EpochId, start: Position, barrier: Option<Barrier>) {
        self.begin(id, start, barrier, None, Beginning::Anew);
    }

    /// Begins an epoch in which the feed is followed from `start`, where every change at or below `start` is visible to all later
    /// loads, and what is told next continues the log of the epoch `of`: see [`Beginning::Resumed`].
    pub fn begin_resumed(&self, id: EpochId, start: Position, of: EpochId) {
        self.begin(id, start, None, None, Beginning::Resumed { of });
    }

    pub(super) fn begin(
        &self,
        id: EpochId,
        applied: Position,
        barrier: Option<Barrier>,
        saved: Option<&SavedLedger>,
        how: Beginning,
    ) {
        let mut state = self.state.lock();
        // First of all: a reader who sees anything written below must also see that its entry is of an older epoch.
        self.epoch.store(None);
        self.hot.epoch.fetch_add(1, Ordering::AcqRel);
        self.hot.moment.store(0, Ordering::Release);
        self.hot.confirmed.store(0, Ordering::Release);
        self.hot.applied.store(applied.0, Ordering::Release);
        self.buckets.clear();
        for &(index, position) in saved.map(|saved| saved.raised.as_slice()).unwrap_or_default() {
            self.buckets.set(index, position);
        }
        let discards = state.book.discards() + 1;
        state.drop_unsettled();
        state.book = Book::new(applied, barrier, self.recent_max).with_discards(discards);
        state.start = saved.map_or(applied, |saved| saved.start);
        // Whoever counts connections may count from one again: the first message discards what was loaded before it.
        state.connection = None;
        let number = self.hot.epoch.load(Ordering::Acquire);
        state.listeners.retain(|listener| listener.strong_count() > 0);
        state.tell(|listener| listener.begun(id, number, applied, how));
        self.epoch.store(Some(Arc::new(id)));
    }

    /// Epoch, start of the knowledge of changes, and floor, if there are both an epoch and a floor.
    pub(super) fn savable(&self) -> Option<(EpochId, Position, Position)> {
        let state = self.state.lock();
        let (start, floor) = (state.start, state.book.floor().defined()?);
        // After a freeze the floor may be behind for a moment.
        if start <= floor { Some((self.epoch()?, start, floor)) } else { None }
    }

    /// Leaves the epoch without a new one: nothing is proven, nothing is stored, until [`Ledger::begin_epoch`].
    pub fn end_epoch(&self) {
        let mut state = self.state.lock();
        self.epoch.store(None);
        self.hot.epoch.fetch_add(1, Ordering::AcqRel);
        self.hot.moment.store(0, Ordering::Release);
        state.book.discard();
        state.drop_unsettled();
    }

    /// The epoch, if the node is in one.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch.load().as_deref().copied()
    }

    /// Applies a message of the feed: tags first, then the applied position, then whatever waited for it.
    ///
    /// # Errors
    /// [`Refused`]; nothing was applied. After a gap nothing becomes fresher until the gap is replayed.
    pub fn apply(&self, message: &Message) -> Result<(), Refused> {
        let settled = {
            let mut state = self.state.lock();
            if self.epoch() != Some(message.epoch) {
                return Err(Refused::OtherEpoch);
            }
            state.book.accepts(message.previous, message.end)?;
            check_order(message, state.book.applied())?;
            if state.connection != Some(message.connection) {
                state.connection = Some(message.connection);
                state.book.discard();
                state.drop_unsettled();
            }
            let discards = state.book.discards();
            let applied = state.book.applied();
            for transaction in message.transactions.iter().filter(|t| t.end > applied) {
                for &tag in &transaction.tags {
                    self.buckets.raise(tag, transaction.end);
                    state.book.record(Change { tag, xid: transaction.xid, end: transaction.end });
                }
                state.tell(|listener| listener.told(transaction));
            }
            state.tell(|listener| listener.reached(message.end));
            if state.book.discards() != discards {
                state.drop_unsettled();
            }
            let known = state.book.release(message.end);
            self.hot.applied.store(message.end.0, Ordering::Release);
            self.publish(known);
            state.settle_reached()
        };
        // Outside the lock: a carrier may do anything.
        for carrier in settled {
            carrier.settled();
        }
        Ok(())
    }

    /// Takes the source's answer to "how far are you": what makes entries fresh.
    ///
    /// `epoch` is the one the source answered in; an answer of another epoch counts for nothing. `snapshot`, taken in the
    /// same statement on the primary, raises the floor.
    pub fn answered(&self, epoch: EpochId, ask: Ask, snapshot: Option<&Snapshot>) {
        let mut state = self.state.lock();
        if self.epoch() == Some(epoch) {
            let known = state.book.answered(ask, snapshot);
            self.publish(known);
        }
    }

    /// Discards loads in flight and unsettled entries: the catalogue moved, or the feed's connection did.
    pub fn discard_in_flight(&self) {
        let mut state = self.state.lock();
        state.book.discard();
        state.drop_unsettled();
    }

    /// Changes up to `barrier` may have gone untold: nothing is stored until a snapshot shows that all of them are visible,
    /// and what is in flight is discarded. For gaps that concern a part of what is followed, such as a table that was
    /// altered; the classes that read it are unproven by their [`Catalogue`](crate::source::Catalogue).
    pub fn freeze(&self, barrier: Barrier) {
        let mut state = self.state.lock();
        state.book.freeze(barrier);
        state.tell(|listener| listener.frozen());
        // What another node proved before may rest on changes that this one was not told: only its own entries are spared.
        state.start = state.start.max(state.book.applied());
        state.drop_unsettled();
    }

    /// From here on `listener` hears every change before it is covered by the applied position, as long as it lives; it
    /// is told of the present epoch first. None while the node is in no epoch: nothing is heard then.
    pub fn listen(&self, listener: &Arc<impl Listener + 'static>) -> Option<Listening> {
        let mut state = self.state.lock();
        let epoch = self.epoch()?;
        let (number, applied) = (self.hot.epoch.load(Ordering::Acquire), state.book.applied());
        listener.begun(epoch, number, applied, Beginning::Anew);
        state.listeners.retain(|listener| listener.strong_count() > 0);
        let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(listener) as Arc<dyn Listener>));
        state.listeners.push(listener);
        Some(Listening { epoch, number, applied })
    }

    /// From the next epoch on `listener` hears every change, as long as it lives: for one that has heard something in an earlier
    /// process, and is to be told whether the feed continues from there. Call before the feed is followed.
    pub fn expect(&self, listener: &Arc<impl Listener + 'static>) {
        let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(listener) as Arc<dyn Listener>));
        self.state.lock().listeners.push(listener);
    }

    /// Begins a load that may be kept. Call BEFORE the query is sent.
    #[must_use]
    pub fn begin_load(self: &Arc<Self>, started: Nanos, class_epoch: u64) -> Load {
        let mut state = self.state.lock();
        let epochs = Epochs { source: self.hot.epoch.load(Ordering::Acquire), class: class_epoch };
        let hold = if self.epoch().is_some() { state.book.hold() } else { Err(Rejected::NoFloor) };
        Load { ledger: Arc::clone(self), hold, epochs, started, applied: state.book.applied() }
    }

    /// Takes over a proof that another node settled (an entry read from the remote tier).
    ///
    /// # Errors
    /// [`Rejected::OtherEpoch`] unless `epoch` is this node's; [`Rejected::Interrupted`] when `proven_at` lies before
    /// what this node can check, or beyond what the source has told.
    pub fn adopt(
        &self,
        tags: Tags,
        upper: Position,
        proven_at: Position,
        epoch: EpochId,
        class_epoch: u64,
    ) -> Result<Proof, Rejected> {
        let state = self.state.lock();
        if self.epoch() != Some(epoch) {
            return Err(Rejected::OtherEpoch);
        }
        let known_to_source = state.book.told().max(state.book.applied());
        if proven_at < state.start
            || proven_at > known_to_source
            || upper > proven_at
            || upper == Position::ZERO
        {
            return Err(Rejected::Interrupted);
        }
        let epochs = Epochs { source: self.hot.epoch.load(Ordering::Acquire), class: class_epoch };
        Ok(Proof::settled(tags, upper, epochs, proven_at, Nanos::ZERO))
    }

    /// A number that moves when loads in flight are discarded: read it before an [`Ask`] is sent.
    #[must_use]
    pub fn discards(&self) -> u64 {
        self.state.lock().book.discards()
    }

    /// The applied position, W.
    #[must_use]
    pub fn applied(&self) -> Position {
        Position(self.hot.applied.load(Ordering::Acquire))
    }

    /// The highest position at which any of `tags` (or something that shares a bucket with one) changed.
    #[must_use]
    pub fn last_change(&self, tags: &[Tag]) -> Position {
        tags.iter().map(|tag| self.buckets.last(*tag)).max().unwrap_or_default()
    }

    /// The highest position known to exist in the source.
    #[must_use]
    pub fn told(&self) -> Position {
        let state = self.state.lock();
        state.book.told().max(state.book.applied())
    }

    /// Every commit acknowledged before this is applied here; zero while nothing can be proven.
    #[must_use]
    pub fn moment(&self) -> Nanos {
        Nanos(self.hot.moment.load(Ordering::Acquire))
    }

    /// Notes a position that the source told in any answer.
    pub fn heard(&self, epoch: EpochId, position: Position) {
        let mut state = self.state.lock();
        if self.epoch() == Some(epoch) {
            state.book.heard(position);
        }
    }

    /// The epoch of `proof`, as long as the node is in it: under this name the proof may be shared with other nodes.
    #[must_use]
    pub fn epoch_of(&self, proof: &Proof) -> Option<EpochId> {
        // The name first: whoever reads a later epoch's name also reads its number.
        let name = self.epoch();
        name.filter(|_| self.hot.epoch.load(Ordering::Acquire) == proof.epochs().source)
    }

    /// The number of the epoch, as proofs carry it.
    #[must_use]
    pub fn epoch_number(&self) -> u64 {
        self.hot.epoch.load(Ordering::Acquire)
    }

    /// Counts and positions, for people and metrics.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.state.lock();
        Status {
            epoch: self.hot.epoch.load(Ordering::Acquire),
            applied: state.book.applied(),
            floor: state.book.floor().defined(),
            barrier: state.book.floor().barrier(),
            moment: state.book.known().moment,
            told: state.book.told(),
            recent: state.book.recent_len(),
            unsettled: state.unsettled.len(),
        }
    }

    /// Rule 2, under the lock that also guards `recent`: T was taken before.
    pub(super) fn check_unsettled(&self, proof: &Proof) -> Result<Position, Rejected> {
        let state = self.state.lock();
        match state.unsettled.get(&(proof.upper(), proof.number())) {
            Some(waiting) => {
                let Pending { hold, saw } = &waiting.pending;
                state.book.check_unsettled(proof.tags(), *hold, saw)?;
                Ok(state.book.applied())
            }
            // Settled in the meantime, or not registered yet: the caller looks again or loads.
            None => match proof.standing() {
                Standing::Settled(_) => Ok(Position::ZERO),
                _ => Err(Rejected::Interrupted),
            },
        }
    }

    fn publish(&self, known: Known) {
        // After the applied position: who reads this moment also reads a W that contains it.
        self.hot.confirmed.store(known.confirmed.0, Ordering::Release);
        self.hot.moment.store(known.moment.0, Ordering::Release);
    }
}

fn check_order(message: &Message, applied: Position) -> Result<(), Refused> {
    let ends = message.transactions.iter().map(|t| t.end).filter(|end| *end > applied);
    if ends.clone().is_sorted()
        && ends.max().is_none_or(|last| last <= message.end)
        && message.end < Position::MAX
    {
        Ok(())
    } else {
        Err(Refused::Malformed)
    }
}

impl State {
    fn tell(&self, tell: impl Fn(&dyn Listener)) {
        self.listeners.iter().filter_map(Weak::upgrade).for_each(|listener| tell(&*listener));
    }

    fn drop_unsettled(&mut self) {
        for (_, waiting) in std::mem::take(&mut self.unsettled) {
            waiting.carrier.proof().discard();
            self.book.let_go(waiting.pending.hold);
        }
    }

    /// Settles or discards every entry whose `upper` has been applied.
    fn settle_reached(&mut self) -> Vec<Arc<dyn Carrier>> {
        let applied = self.book.applied();
        let mut settled = Vec::new();
        while let Some(first) = self.unsettled.first_entry() {
            if first.key().0 > applied {
                break;
            }
            let Waiting { carrier, pending } = first.remove();
            let proof = carrier.proof();
            let judged = self.book.check_settle(proof.tags(), pending.hold, proof.upper(), &pending.saw);
            self.book.let_go(pending.hold);
            match judged {
                Ok(()) => {
                    proof.settle(applied);
                    settled.push(carrier);
                }
                Err(_) => proof.discard(),
            }
        }
        settled
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("status", &self.status()).finish_non_exhaustive()
    }
}
