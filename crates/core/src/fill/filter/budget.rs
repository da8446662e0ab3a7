//! The memory of all filters of a node.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Most bytes of all filters of a node together, unless stated.
pub const FILTER_BYTES_MAX_DEFAULT: usize = 1 << 30;

/// Bytes that filters may take, counted.
#[derive(Debug)]
pub(crate) struct FilterBudget {
    max: usize,
    taken: AtomicUsize,
}

impl FilterBudget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// How many are left, where that is too few.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, usize> {
        let grow = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.max);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
            Ok(_) => Ok(Share { budget: Arc::clone(self), bytes }),
            Err(taken) => Err(self.max.saturating_sub(taken)),
        }
    }
}

/// Bytes taken, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<FilterBudget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_what_is_given_back_can_be_taken_again() {
        let budget = FilterBudget::new(100);
        let first = budget.take(60).unwrap();
        assert_eq!(budget.take(41).unwrap_err(), 40);
        let second = budget.take(40).unwrap();
        drop(first);
        assert_eq!(budget.take(61).unwrap_err(), 60);
        drop(second);
        assert!(budget.take(100).is_ok());
    }
}
