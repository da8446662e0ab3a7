//! What happens when memory has no answer.

use std::{
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Sleep;

use super::{ClassCore, hit::Missed};
use crate::{
    entry::CacheValue,
    env::{self, Nanos},
    error::ReadError,
    fill::{Driving, Ending, Filled, Flight, Role, Waiting},
    key::Key,
    proof::{Need, Position, Standing, Unproven},
    receipt::{Cached, Miss, Receipt, ServedBy},
    source::{LoadError, ShedReason},
    tier::Entry,
};

/// How long a load is taken to last before one has been timed: what a reader who finds no place to wait is told.
const LOAD_TIME_GUESS: Duration = Duration::from_millis(100);

/// So many loads of a class are driven by their readers. Where more are under way, tasks of their own cost less: what many of them
/// have to do for the source is then done together.
const DRIVEN_LOADS_MAX: u64 = 2;

/// A read that memory could not answer.
pub(super) struct Asking<'a, V> {
    need: &'a Need,
    why: Miss,
    arrived: Nanos,
    stand_in: Option<Arc<Entry<V>>>,
    /// Whether another node, or a load that has just ended, may have what the reader needs.
    pub(super) tiers: bool,
    /// Ends when the reader has waited long enough for something better than its stand-in.
    soft: Option<Pin<Box<Sleep>>>,
    /// Ends when the reader has waited long enough; begun when it waits for what it has no hand in.
    hard: Option<Pin<Box<Sleep>>>,
    wait_max: Duration,
}

/// A place in a load under way.
pub(super) struct Boarded<V> {
    flight: Arc<Flight<V>>,
    /// The load itself, if the reader drives it.
    driving: Option<Driving<V>>,
    /// Its query is sent after the reader arrived: what it brings is true for the reader, whatever the feed says.
    sent_after: bool,
    /// The place among those who wait for a load that another reader has begun; none for its own.
    place: Option<Waiting<V>>,
    /// So many wait already that this reader may not.
    refused: bool,
}

/// Who drives a load.
#[derive(PartialEq, Eq)]
enum Driver {
    /// The reader who has begun it, until anybody else has to do with it; a task, if many loads are under way and it does not just
    /// join those who wait.
    Reader,
    Task,
}

/// How a wait for a load ended.
enum Waited<V> {
    Ended(Ending<V>),
    /// The reader may have this stale value and has waited long enough for a better one.
    SoftTimeout(Arc<Entry<V>>),
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Answers from the remote tier or the source, through single-flight.
    #[cold]
    pub(super) async fn miss(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
        need: &Need,
        missed: Missed<V>,
    ) -> Result<Cached<V>, ReadError> {
        if let Some(pending) = self.pending_of(canonical) {
            return Box::pin(self.read_beneath(pending, key, canonical, need)).await;
        }
        self.load_missed(key, canonical, need, missed).await
    }

    /// The same for a row over which nothing is laid.
    pub(super) async fn load_missed(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
        need: &Need,
        missed: Missed<V>,
    ) -> Result<Cached<V>, ReadError> {
        if let Some(absent) = self.surely_absent(key, canonical, need) {
            return Ok(absent);
        }
        self.note_asked(canonical);
        match self.ask(need, missed) {
            Ok(asking) => {
                let boarded = self.board(key, canonical, &asking, Driver::Reader);
                self.finish(key, canonical, asking, boarded).await
            }
            Err(stale) => Ok(stale),
        }
    }

    /// What the reader asks for; or the stale value that it gets because the source is to be left alone.
    pub(super) fn ask<'a>(&self, need: &'a Need, missed: Missed<V>) -> Result<Asking<'a, V>, Cached<V>> {
        let (why, arrived) = (missed.why, self.clock.now());
        self.stats.missed(why);
        if why == Miss::Bypass {
            self.wish(need);
        }
        let stand_in = missed.unproven.filter(|entry| self.may_stand_in(entry, need, arrived));
        if let Some(entry) = &stand_in
            && entry.retry_at() > arrived
        {
            return Err(self.stale(entry, why));
        }
        // What others stored can help neither a reader ahead of the feed, nor a node that does not know how far the
        // source is.
        let is_ahead = need.token.is_some_and(|token| !self.provable || token > self.ledger.applied());
        let tiers = !is_ahead && !matches!(why, Miss::Bypass | Miss::Unproven(Unproven::TooOld));
        let soft = self.plan.soft_timeout.filter(|_| stand_in.is_some());
        // Once for a place among the loads, once for the load, and once for another node.
        let waits = if self.fleet_locks().is_some() { 3 } else { 2 };
        let wait_max = self.plan.hard_timeout.saturating_mul(waits);
        let soft = soft.map(timer);
        Ok(Asking { need, why, arrived, stand_in, tiers, soft, hard: None, wait_max })
    }

    /// The feed is to confirm the reader's token soon: others who carry it, or a later one, are then answered from memory.
    pub(super) fn wish(&self, need: &Need) {
        if let Some(token) = need.token.filter(|token| *token < Position::MAX) {
            self.feed.wish(token);
        }
    }

    /// Joins the load that is under way, or begins one. A reader that is cancelled, or not polled any more, holds up nobody: its
    /// load then goes on in a task of its own.
    fn board(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
        asking: &Asking<'_, V>,
        driver: Driver,
    ) -> Boarded<V> {
        match self.flights.join(canonical) {
            Role::Lead(lead) => {
                let flight = lead.flight();
                let load = Box::pin(Arc::clone(self).fill(lead, key.clone(), asking.tiers));
                let by_reader = self.stats.loads_under_way() < DRIVEN_LOADS_MAX || self.joins_at_once();
                if driver == Driver::Reader && by_reader {
                    let driving = Some(self.flights.drive(&flight, load));
                    return Boarded { driving, ..Boarded::led(flight) };
                }
                env::spawn("load", load);
                Boarded::led(flight)
            }
            Role::Follow(flight) => self.follow(flight, asking),
        }
    }

    /// Whether a load that begins now has nothing to do but wait for others that are to go with it: a task of its own would cost
    /// more than its share of their statement.
    fn joins_at_once(&self) -> bool {
        self.outbox.is_none() && self.is_crowded()
    }

    /// Waits with the others.
    pub(super) fn follow(&self, flight: Arc<Flight<V>>, asking: &Asking<'_, V>) -> Boarded<V> {
        let place = Waiting::begin(&flight, &self.crowd);
        let refused = place.is_none();
        if !refused {
            self.stats.coalesced();
        }
        if !asking.tiers {
            // What another node shares can't help this reader: its load must not wait for one.
            flight.hurry();
        }
        let sent_after = flight.is_after(asking.arrived);
        Boarded { flight, driving: None, sent_after, place, refused }
    }

    /// Waits for the load and answers.
    pub(super) async fn finish(
        self: &Arc<Self>,
        key: &K,
        canonical: &Key,
        mut asking: Asking<'_, V>,
        mut boarded: Boarded<V>,
    ) -> Result<Cached<V>, ReadError> {
        loop {
            if boarded.refused {
                let wait = self.load_time.usual().unwrap_or(LOAD_TIME_GUESS);
                let error = LoadError::Shed {
                    why: ShedReason::QueueFull,
                    retry_after_ms: (wait.as_millis() as u64).max(1),
                };
                return self.fall_back(error, canonical, &asking);
            }
            // Each step of a load of its own has an end already: another timer would be a good part of what a load costs.
            let waits_for_others =
                boarded.place.is_some() || self.fleet_locks().is_some() || self.is_crowded();
            if asking.hard.is_none() && waits_for_others {
                asking.hard = Some(timer(asking.wait_max));
            }
            let waited = self.wait(&mut boarded, &mut asking).await;
            drop(boarded.place.take());
            match waited {
                Waited::Ended(Ending::Filled(filled)) => {
                    if let Some(receipt) = self.accept(&filled, &asking, boarded.sent_after) {
                        return self.answer(filled.entry, receipt, asking.need);
                    }
                    asking.tiers = false;
                    // Others may be in the same situation, and are to find the load under way.
                    boarded = self.board(key, canonical, &asking, Driver::Task);
                }
                Waited::Ended(Ending::Failed(error)) => return self.fall_back(error, canonical, &asking),
                Waited::SoftTimeout(entry) => return Ok(self.stale(&entry, asking.why)),
            }
        }
    }

    async fn wait(&self, boarded: &mut Boarded<V>, asking: &mut Asking<'_, V>) -> Waited<V> {
        let mut ending = pin!(async {
            match &mut boarded.driving {
                Some(driving) => driving.ending().await,
                None => boarded.flight.ending().await,
            }
        });
        loop {
            tokio::select! {
                biased;
                ending = &mut ending => return Waited::Ended(ending),
                () = end_of(&mut asking.soft) => {
                    asking.soft = None;
                    if let Some(entry) = self.stand_in(asking) {
                        return Waited::SoftTimeout(entry);
                    }
                }
                () = end_of(&mut asking.hard) => {
                    let limit_ms = asking.wait_max.as_millis() as u64;
                    return Waited::Ended(Ending::Failed(LoadError::TimedOut { limit_ms }));
                }
            }
        }
    }

    /// The receipt with which this reader may have what a load brought; none if it may not.
    fn accept(&self, filled: &Filled<V>, asking: &Asking<'_, V>, sent_after: bool) -> Option<Receipt> {
        let entry = &filled.entry;
        if sent_after && filled.at_once {
            return Some(self.receipt_of_load(entry, asking.why));
        }
        // The query was sent before this reader arrived, or it comes from a tier or a standby: the answer counts only if it
        // passes the check by this reader's own demands, and says no more than the check has shown.
        let mut receipt = self.judge(entry, asking.need).ok()?;
        if filled.at_once {
            receipt.age = receipt.age.min(self.clock.now().since(entry.loaded()));
        }
        Some(Receipt { served_by: filled.from, miss: Some(asking.why), ..receipt })
    }

    pub(super) fn answer(
        &self,
        entry: Arc<Entry<V>>,
        receipt: Receipt,
        need: &Need,
    ) -> Result<Cached<V>, ReadError> {
        if let Err(error) = self.check_token(need, &entry) {
            self.stats.failed(&error);
            return Err(error);
        }
        self.stats.served(receipt.served_by);
        if entry.value().is_none() && receipt.served_by != ServedBy::Source {
            self.stats.hit_absent();
        }
        Ok(Cached::new(entry, receipt))
    }

    /// A position beyond all that the source has told, after it was asked, is none that it gave. The entry counts too:
    /// one that may not be kept has told the ledger nothing.
    pub(super) fn check_token(&self, need: &Need, entry: &Entry<V>) -> Result<(), ReadError> {
        let unknown = need.token.is_some_and(|token| {
            token < Position::MAX && token > entry.proof().upper() && token > self.ledger.told()
        });
        if unknown { Err(ReadError::TokenUnknown) } else { Ok(()) }
    }

    /// The source failed: a stale value or what the class declares, if one may stand in.
    fn fall_back(&self, error: LoadError, key: &Key, asking: &Asking<'_, V>) -> Result<Cached<V>, ReadError> {
        if error.is_outage() {
            if let Some(entry) = self.stand_in(asking) {
                entry.hold_off(self.clock.now().after(self.plan.failure_backoff));
                return Ok(self.stale(&entry, asking.why));
            }
            if let Some(answer) = self.fallback(key, asking.need, asking.why) {
                return Ok(answer);
            }
        }
        let error = error.into();
        self.stats.failed(&error);
        Err(error)
    }

    /// A value read on the primary is true as of the load's start.
    pub(super) fn receipt_of_load(&self, entry: &Entry<V>, miss: Miss) -> Receipt {
        let age = self.clock.now().since(entry.loaded());
        let watermark = self.checked_at(entry);
        Receipt { served_by: ServedBy::Source, age, proven: true, watermark, miss: Some(miss) }
    }

    /// Through which position it is known that a value just loaded reflects every change.
    fn checked_at(&self, entry: &Entry<V>) -> Position {
        let any = Need { max_staleness: Duration::MAX, token: None };
        match entry.proof().standing() {
            Standing::Settled(_) => entry.proof().upper(),
            Standing::Unsettled => self
                .ledger
                .check(entry.proof(), self.catalogue.number(), &any, &self.clock)
                .map_or(Position::ZERO, |proven| proven.at),
            Standing::Discarded => Position::ZERO,
        }
    }

    /// The stale value that may stand in at this very moment: time has passed since the reader arrived.
    fn stand_in(&self, asking: &Asking<'_, V>) -> Option<Arc<Entry<V>>> {
        let now = self.clock.now();
        asking.stand_in.as_ref().filter(|entry| self.may_stand_in(entry, asking.need, now)).cloned()
    }

    /// Whether an unproven entry may be served, labelled stale, if the source fails.
    pub(super) fn may_stand_in(&self, entry: &Entry<V>, need: &Need, now: Nanos) -> bool {
        let Some(limit) = self.plan.serve_stale else { return false };
        // A reader with a token was promised its own write.
        need.token.is_none() && self.is_of_this_world(entry) && now.since(self.last_true(entry)) <= limit
    }

    /// An entry of an older epoch or schema may be of another world.
    pub(super) fn is_of_this_world(&self, entry: &Entry<V>) -> bool {
        let epochs = entry.proof().epochs();
        self.ledger.epoch_number() == epochs.source
            && self.catalogue.number().load(Ordering::Acquire) == epochs.class
    }

    /// When the entry was last known to be true.
    pub(super) fn last_true(&self, entry: &Entry<V>) -> Nanos {
        let by_proof = match entry.proof().standing() {
            Standing::Settled(_) if self.provable => entry.proof().proven_moment(),
            _ => Nanos::ZERO,
        };
        by_proof.max(entry.loaded())
    }

    pub(super) fn stale(&self, entry: &Arc<Entry<V>>, miss: Miss) -> Cached<V> {
        let age = self.clock.now().since(self.last_true(entry));
        let watermark = match entry.proof().standing() {
            Standing::Settled(proven_at) => proven_at,
            Standing::Unsettled | Standing::Discarded => Position::ZERO,
        };
        self.stats.served(ServedBy::Stale);
        if entry.value().is_none() {
            self.stats.hit_absent();
        }
        let receipt = Receipt { served_by: ServedBy::Stale, age, proven: false, watermark, miss: Some(miss) };
        Cached::new(Arc::clone(entry), receipt)
    }
}

fn timer(span: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(span))
}

/// Returns at the end of a timer; never where there is none.
async fn end_of(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

impl<V> Boarded<V> {
    /// A load that this reader has begun.
    pub(super) const fn led(flight: Arc<Flight<V>>) -> Self {
        Self { flight, driving: None, sent_after: true, place: None, refused: false }
    }
}
