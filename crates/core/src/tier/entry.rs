//! An entry as it lies in memory.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    Weighed,
    memory::{Print, Uses},
};
use crate::{env::Nanos, key::Key, proof::Proof};

/// A value, or its known absence, with the proof that travels with it.
///
/// Laid out in this order: a lookup compares the print, and a hit reads what follows up to the proof's first four fields: all
/// within 72 bytes with the reference counts before them.
#[repr(C)]
pub struct Entry<V> {
    print: Print,
    uses: Uses,
    absent: bool,
    weight: u32,
    /// Until then a hit needs no closer look: its stay does not end, nor is it to be refreshed.
    calm_until: AtomicU64,
    proof: Proof,
    key: Key,
    /// End of this stay; moved on when a proven entry is renewed.
    expires: AtomicU64,
    /// From then on it may be refreshed although it is not at its end.
    refresh_from: Nanos,
    /// End of life whatever the proof says.
    hard_expires: Nanos,
    /// After a failed load: when the source may be asked again.
    retry_at: AtomicU64,
    version: u64,
    loaded: Nanos,
    load_time: Duration,
    value: Option<V>,
}

/// When an entry was loaded and how long it may stay.
#[derive(Clone, Copy, Debug)]
pub struct Stay {
    /// When its load started; zero if nobody here knows.
    pub loaded: Nanos,
    /// How long the load took.
    pub load_time: Duration,
    /// When its life ends, unless it is renewed.
    pub expires: Nanos,
    /// When it ends even if it is still proven.
    pub hard_expires: Nanos,
    /// From when on it may be refreshed although it is not at its end; [`Nanos`]' greatest value for never.
    pub refresh_from: Nanos,
}

impl<V> Entry<V> {
    /// An entry of `value_weight` bytes of value; `version` identifies the value's content.
    #[must_use]
    pub fn new(
        key: Key,
        value: Option<V>,
        version: u64,
        value_weight: usize,
        proof: Proof,
        stay: Stay,
    ) -> Self {
        // The two counters in front of an `Arc`'s content.
        let counters = 2 * size_of::<usize>();
        let tags = if proof.tags().spilled() { proof.tags().len() * 8 } else { 0 };
        let extra = value_weight.saturating_sub(size_of::<V>());
        let weight = size_of::<Self>() + counters + key.heap_bytes() + tags + extra;
        Self {
            print: Print::of(key.as_str()),
            uses: Uses::default(),
            proof,
            // Readers look at this one first: nothing may hide the hard age from them.
            calm_until: AtomicU64::new(stay.expires.0.min(stay.hard_expires.0).min(stay.refresh_from.0)),
            expires: AtomicU64::new(stay.expires.0.min(stay.hard_expires.0)),
            refresh_from: stay.refresh_from,
            hard_expires: stay.hard_expires,
            retry_at: AtomicU64::new(0),
            absent: value.is_none(),
            value,
            version,
            loaded: stay.loaded,
            load_time: stay.load_time,
            key,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
        }
    }

    /// The proof.
    #[inline]
    #[must_use]
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The value; none if the source had no such row.
    #[inline]
    #[must_use]
    pub const fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Whether the source had no such row.
    #[inline]
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.absent
    }

    /// A number that identifies the value's content: equal values have equal versions on every node.
    #[inline]
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The canonical key.
    #[must_use]
    pub const fn canonical_key(&self) -> &Key {
        &self.key
    }

    /// When its load started; zero if another node loaded it and the proof alone tells how old it is.
    #[inline]
    #[must_use]
    pub const fn loaded(&self) -> Nanos {
        self.loaded
    }

    /// How long its load took.
    #[must_use]
    pub const fn load_time(&self) -> Duration {
        self.load_time
    }

    /// When its life ends, unless it is renewed.
    #[inline]
    #[must_use]
    pub fn expires(&self) -> Nanos {
        Nanos(self.expires.load(Ordering::Relaxed))
    }

    /// When it ends even if it is still proven.
    #[must_use]
    pub const fn hard_expires(&self) -> Nanos {
        self.hard_expires
    }

    /// Until then a hit needs no closer look: its stay does not end, nor is it to be refreshed.
    #[inline]
    #[must_use]
    pub fn calm_until(&self) -> Nanos {
        Nanos(self.calm_until.load(Ordering::Relaxed))
    }

    /// From when on it may be refreshed although it is not at its end.
    #[must_use]
    pub const fn refresh_from(&self) -> Nanos {
        self.refresh_from
    }

    /// Gives a proven entry another life.
    pub fn renew(&self, until: Nanos) {
        let until = until.0.min(self.hard_expires.0);
        self.expires.fetch_max(until, Ordering::Relaxed);
        // One that may be refreshed already stays under a closer look.
        self.calm_until.fetch_max(until.min(self.refresh_from.0), Ordering::Relaxed);
    }

    /// Takes it upon the caller to have the entry refreshed; false if somebody else has, lately. Until `again` nobody is asked
    /// to: by then there is a newer entry, or the refresh has failed.
    pub fn claim_refresh(&self, now: Nanos, again: Nanos) -> bool {
        let calm_until = self.calm_until.load(Ordering::Relaxed);
        let again = again.0.min(self.expires().0);
        calm_until < now.0
            && self
                .calm_until
                .compare_exchange(calm_until, again.max(now.0), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// After a refresh that failed: nobody is asked to refresh it before `at`.
    pub fn hold_off_refresh(&self, at: Nanos) {
        self.calm_until.fetch_max(at.0.min(self.expires().0), Ordering::Relaxed);
    }

    /// When the source may be asked for this key again, after a load failed and this entry stood in.
    #[must_use]
    pub fn retry_at(&self) -> Nanos {
        Nanos(self.retry_at.load(Ordering::Relaxed))
    }

    /// Keeps readers from asking a failing source again before `at`.
    pub fn hold_off(&self, at: Nanos) {
        self.retry_at.fetch_max(at.0, Ordering::Relaxed);
    }
}

impl<V: Send + Sync + 'static> Weighed for Entry<V> {
    fn weight(&self) -> usize {
        self.weight as usize
    }

    #[inline]
    fn key(&self) -> &str {
        self.key.as_str()
    }

    #[inline]
    fn print(&self) -> Print {
        self.print
    }

    #[inline]
    fn uses(&self) -> &Uses {
        &self.uses
    }
}

impl<V> std::fmt::Debug for Entry<V> {
    /// Shows neither key nor value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("proof", &self.proof)
            .field("absent", &self.value.is_none())
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}
