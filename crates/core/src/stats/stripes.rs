//! A counter that threads do not fight over.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use crossbeam_utils::CachePadded;

/// Copies of each hot counter that belong to one thread each, as long as it lives: a bit each of [`Owners`].
const OWNED: usize = u32::BITS as usize;
/// Copies for all threads beyond those.
const SHARED: usize = 8;

static OWNERS: Owners = Owners::none();
static THREADS_BEYOND: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Stripe = Stripe::take();
    static TICKS: Cell<u32> = const { Cell::new(0) };
}

/// This thread's own count of reads, for sampling one in so many. Wraps.
#[inline]
pub(crate) fn tick() -> u32 {
    TICKS.with(|ticks| {
        let tick = ticks.get().wrapping_add(1);
        ticks.set(tick);
        tick
    })
}

/// A counter for the hot path: one addition on a cache line that other threads rarely touch, and no barrier in it.
#[derive(Debug)]
pub(crate) struct Stripes([CachePadded<AtomicU64>; OWNED + SHARED]);

impl Default for Stripes {
    fn default() -> Self {
        Self([const { CachePadded::new(AtomicU64::new(0)) }; OWNED + SHARED])
    }
}

impl Stripes {
    #[inline]
    pub(crate) fn add_one(&self) {
        // A thread that is ending may have given its copy back already.
        let index = STRIPE.try_with(|stripe| stripe.0).unwrap_or(OWNED);
        let count = &self.0[index];
        if index < OWNED {
            // Nobody else writes it.
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        } else {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Which copy a thread counts in.
struct Stripe(usize);

impl Stripe {
    fn take() -> Self {
        let beyond = || OWNED + THREADS_BEYOND.fetch_add(1, Ordering::Relaxed) % SHARED;
        Self(OWNERS.take().unwrap_or_else(beyond))
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        if self.0 < OWNED {
            OWNERS.give_back(self.0);
        }
    }
}

/// Which copies have an owner.
struct Owners(AtomicU32);

impl Owners {
    const fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The first copy that has none.
    fn take(&self) -> Option<usize> {
        // Acquire, and release below: an owner goes on from where the one before it has stopped.
        let first_free = |owned: u32| (owned != u32::MAX).then(|| owned | (owned + 1));
        let owned = self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, first_free).ok()?;
        Some(owned.trailing_ones() as usize)
    }

    fn give_back(&self, index: usize) {
        self.0.fetch_and(!(1 << index), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// By each thread: so many that those who share a copy meet.
    const ADDITIONS: u64 = 500_000;

    #[test]
    fn nothing_is_lost_between_threads() {
        // More at once than have a copy of their own, and then others in their places.
        let threads = OWNED + 2 * SHARED;
        let counter = Stripes::default();
        for _ in 0..2 {
            let all_live = Barrier::new(threads);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        all_live.wait();
                        (0..ADDITIONS).for_each(|_| counter.add_one());
                        all_live.wait();
                    });
                }
            });
        }
        assert_eq!(counter.sum(), 2 * ADDITIONS * threads as u64);
    }

    #[test]
    fn a_copy_has_one_owner_at_a_time() {
        let owners = Owners::none();
        let taken: Vec<_> = (0..OWNED).map(|_| owners.take()).collect();
        assert_eq!(taken, (0..OWNED).map(Some).collect::<Vec<_>>());
        assert_eq!(owners.take(), None);
        owners.give_back(7);
        owners.give_back(OWNED - 1);
        assert_eq!([owners.take(), owners.take(), owners.take()], [Some(7), Some(OWNED - 1), None]);
    }
}
