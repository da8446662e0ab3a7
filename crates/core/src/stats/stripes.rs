//! A counter that threads do not fight over.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crossbeam_utils::CachePadded;

/// Copies of each hot counter. More threads than copies share some.
const STRIPES: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };
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

/// A counter for the hot path: one relaxed addition on a cache line that other threads rarely touch.
#[derive(Debug, Default)]
pub(crate) struct Stripes([CachePadded<AtomicU64>; STRIPES]);

impl Stripes {
    #[inline]
    pub(crate) fn add_one(&self) {
        self.0[stripe()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.load(Ordering::Relaxed)).sum()
    }
}

#[inline]
fn stripe() -> usize {
    THREAD.with(|thread| {
        if thread.get() == usize::MAX {
            thread.set(THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        thread.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counter = Stripes::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add_one()));
            }
        });
        assert_eq!(counter.sum(), 20_000);
    }
}
