//! L1: entries in this process's memory, bounded in bytes.
//!
//! The tier is cut into segments by key hash. A segment holds a share of the capacity and a lock for its writers;
//! readers take none under s3-fifo but an entry's first, and under the other policies the library's own. The segments bound
//! what one lock or one scan covers.

mod config;
mod departures;
mod index;
mod key;
mod policy;
mod s3_fifo;
mod segment;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crossbeam_utils::CachePadded;

pub use self::{
    config::MemoryConfig,
    departures::{Departures, Reason},
    index::Held,
    key::Print,
    policy::{Policy, UnknownPolicy},
    s3_fifo::Uses,
};
use self::{
    key::Wanted,
    segment::Segment,
    store::{Evicted, Weigher},
};
use crate::key::KeyName;

/// What the tier needs to know of an entry. Weight and key may not change while the entry is held.
pub trait Weighed: Send + Sync + 'static {
    /// Bytes this entry keeps alive: its own allocation, key and value. The tier adds what it spends itself
    /// (`MemoryConfig::overhead_bytes`).
    fn weight(&self) -> usize;

    /// The full canonical key, unique within the tier.
    fn key(&self) -> &str;

    /// [`Print::of`] the key; best kept beside what else a reader looks at.
    fn print(&self) -> Print {
        Print::of(self.key())
    }

    /// The tier's own note in the entry, best kept beside the key; `Uses::default()` in a new one.
    fn uses(&self) -> &Uses;
}

/// What became of an entry given to [`MemoryTier::insert`] or [`MemoryTier::insert_unless`].
#[derive(Debug)]
#[must_use]
pub enum Insertion<E> {
    /// Stored under a key that was free.
    Stored,
    /// Stored in place of this entry.
    Replaced(Arc<E>),
    /// Not stored: the entry already held was preferred, and is returned.
    Kept(Arc<E>),
    /// Not stored: heavier than the tier admits. An entry held under the key before is gone.
    TooHeavy {
        /// Weight of the refused entry, the tier's overhead included, in bytes.
        weight: usize,
        /// The most that is admitted, in bytes.
        heaviest: usize,
    },
}

impl<E> Insertion<E> {
    /// Whether the given entry is now held.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        matches!(self, Self::Stored | Self::Replaced(_))
    }
}

/// A bounded set of entries in memory, shared by any number of threads.
///
/// An entry may be evicted at any time. The tier knows nothing of life or truth: whoever reads an entry judges it.
pub struct MemoryTier<E: Weighed> {
    segments: Box<[CachePadded<Segment<E>>]>,
    policy: Policy,
    capacity: usize,
    weigher: Weigher,
    /// The segment at which the next [`MemoryTier::purge`] goes on.
    purge_next: AtomicUsize,
}

impl<E: Weighed> MemoryTier<E> {
    /// An empty tier.
    #[must_use]
    pub fn new(config: &MemoryConfig) -> Self {
        Self::of(config, None)
    }

    /// An empty tier that shows `evicted` each entry that has to make room, under s3-fifo; the other policies only count
    /// them. It runs under a lock: it must be short and must
    /// not touch the tier.
    #[must_use]
    pub fn watched(config: &MemoryConfig, evicted: impl Fn(&E) + Send + Sync + 'static) -> Self {
        Self::of(config, Some(Arc::new(evicted)))
    }

    fn of(config: &MemoryConfig, evicted: Option<Evicted<E>>) -> Self {
        let count = config.segment_count();
        let weigher = Weigher { overhead_bytes: config.overhead_bytes(), weight_min: config.weight_min() };
        let expected = config.entries_expected().div_ceil(count);
        let segments = (0..count).map(|index| {
            // The remainder goes to the first segments, so that the shares add up to the capacity exactly.
            let share =
                config.capacity_bytes() / count + usize::from(index < config.capacity_bytes() % count);
            CachePadded::new(Segment::new(config.policy(), share, expected, weigher, evicted.clone()))
        });
        Self {
            segments: segments.collect(),
            policy: config.policy(),
            capacity: config.capacity_bytes(),
            weigher,
            purge_next: AtomicUsize::new(0),
        }
    }

    /// The entry held under `key`; counts as a use of it. No allocation; a lock, under s3-fifo, where it is the first use
    /// (the other policies lock as their library does).
    pub fn get(&self, key: &str) -> Option<Arc<E>> {
        self.find(KeyName::of(key)).map(Arc::from)
    }

    /// The same for a key by its name.
    pub fn find(&self, name: KeyName<'_>) -> Option<Held<E>> {
        let wanted = Wanted::new(name);
        self.segment(&wanted).get(&wanted)
    }

    /// The same without a lock, under s3-fifo only where it is not the first use.
    #[inline]
    pub fn find_read(&self, name: KeyName<'_>) -> Option<Held<E>> {
        let wanted = Wanted::new(name);
        self.segment(&wanted).get_read(&wanted)
    }

    /// Stores `entry`, replacing whatever is held under its key.
    pub fn insert(&self, entry: Arc<E>) -> Insertion<E> {
        self.insert_unless(entry, |_, _| false)
    }

    /// Stores `entry` unless one is held under its key and `keep_held(held, new)` says to keep that. Atomic against
    /// other writers of the key: with a comparison of ages, a newer entry is never replaced by an older one.
    ///
    /// `keep_held` runs under a lock: it must be short and must not touch the tier.
    pub fn insert_unless(&self, entry: Arc<E>, keep_held: impl FnOnce(&E, &E) -> bool) -> Insertion<E> {
        let weight = self.weigher.weigh(entry.as_ref());
        let key = Arc::clone(&entry);
        let wanted = Wanted::of(key.key());
        self.segment(&wanted).insert_unless(&wanted, entry, weight, keep_held)
    }

    /// Removes and returns the entry under `key`, counted as [`Reason::Invalidated`].
    pub fn remove(&self, key: &str) -> Option<Arc<E>> {
        self.remove_if(key, Reason::Invalidated, |_| true)
    }

    /// Removes and returns the entry under `key` if `condition` holds for it, atomically: an entry that has taken its
    /// place meanwhile is judged itself. `condition` runs under a lock: it must be short and must not touch the tier.
    pub fn remove_if(&self, key: &str, reason: Reason, condition: impl FnOnce(&E) -> bool) -> Option<Arc<E>> {
        let wanted = Wanted::of(key);
        self.segment(&wanted).remove_if(&wanted, reason, |held| condition(held.as_ref()))
    }

    /// Removes `entry` itself; another entry under the same key stays. Returns whether it was held.
    pub fn remove_same(&self, entry: &Arc<E>, reason: Reason) -> bool {
        let wanted = Wanted::of(entry.key());
        self.segment(&wanted).remove_if(&wanted, reason, |held| Arc::ptr_eq(held, entry)).is_some()
    }

    /// Removes every entry held when it starts, counted as [`Reason::Invalidated`].
    pub fn clear(&self) {
        self.segments.iter().for_each(|segment| segment.clear());
    }

    /// Removes dead entries, examining whole segments in turn until `budget` entries have been looked at, and going on
    /// there at the next call. Readers of other segments are never held up, nor those of s3-fifo's. Returns how many
    /// were removed, counted as [`Reason::Expired`].
    pub fn purge(&self, budget: usize, is_dead: impl Fn(&E) -> bool) -> usize {
        let (mut examined, mut removed) = (0, 0);
        for _ in 0..self.segments.len() {
            if examined >= budget {
                break;
            }
            let turn = self.purge_next.fetch_add(1, Ordering::Relaxed) % self.segments.len();
            let segment = &self.segments[turn];
            let mut dead = Vec::new();
            segment.visit(|entry| {
                examined += 1;
                if is_dead(entry) {
                    dead.push(Arc::clone(entry));
                }
                true
            });
            removed += dead.iter().filter(|entry| self.remove_same(entry, Reason::Expired)).count();
        }
        removed
    }

    /// Up to `limit` entries, taken evenly from the segments, in no order.
    #[must_use]
    pub fn sample(&self, limit: usize) -> Vec<Arc<E>> {
        let mut sample = Vec::with_capacity(limit.min(self.len()));
        for (index, segment) in self.segments.iter().enumerate() {
            let quota = (limit - sample.len()).div_ceil(self.segments.len() - index);
            let stop = sample.len() + quota;
            if quota > 0 {
                segment.visit(|entry| {
                    sample.push(Arc::clone(entry));
                    sample.len() < stop
                });
            }
        }
        sample
    }

    /// Shows every entry once; those that come or go meanwhile may be missed. `look` runs outside all locks.
    pub fn for_each(&self, mut look: impl FnMut(&Arc<E>)) {
        for segment in &self.segments {
            let mut held = Vec::with_capacity(segment.len());
            segment.visit(|entry| {
                held.push(Arc::clone(entry));
                true
            });
            held.iter().for_each(&mut look);
        }
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    /// Whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weight of all entries held, the tier's overhead included, in bytes. Never above [`MemoryTier::capacity`] for
    /// s3-fifo; `lru` may exceed it by the entries that are being read at that instant, which it can't evict.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.segments.iter().map(|segment| segment.weight()).sum()
    }

    /// The bound on [`MemoryTier::weight`], in bytes.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the lightest entry could be stored without another one's having to go.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.weight() + self.weigher.weight_min <= self.capacity
    }

    /// The policy this tier evicts by.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Entries that have left so far, by reason.
    #[must_use]
    pub fn departures(&self) -> Departures {
        let mut sum = Departures::default();
        self.segments.iter().for_each(|segment| segment.add_departures(&mut sum));
        sum
    }

    #[inline]
    fn segment(&self, wanted: &Wanted<'_>) -> &Segment<E> {
        // The middle bits: the library's table uses both ends of the hash.
        let index = (wanted.hash >> 32) as usize & (self.segments.len() - 1);
        &self.segments[index]
    }
}

impl<E: Weighed> std::fmt::Debug for MemoryTier<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryTier")
            .field("policy", &self.policy)
            .field("capacity", &self.capacity)
            .field("segments", &self.segments.len())
            .finish_non_exhaustive()
    }
}
