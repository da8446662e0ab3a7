//! The last change of every tag, in fixed memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Position, Tag};

/// `last[tag]`: a fixed array of positions, indexed by a part of the tag's hash. Tags that share a bucket share its
/// position, which can only make an entry unproven, never stale.
pub struct Buckets {
    last: Box<[AtomicU64]>,
    mask: usize,
}

impl Buckets {
    /// At least `count` buckets (rounded up to a power of two) of 8 bytes each.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let count = count.max(1).next_power_of_two();
        Self { last: (0..count).map(|_| AtomicU64::new(0)).collect(), mask: count - 1 }
    }

    /// The highest position at which a tag of this bucket changed; [`Position::ZERO`] if none did.
    #[inline]
    #[must_use]
    pub fn last(&self, tag: Tag) -> Position {
        // Acquire: who sees a bucket cleared for a new epoch also sees the new epoch number.
        Position(self.last[tag.0 as usize & self.mask].load(Ordering::Acquire))
    }

    /// Notes a change on `tag` that ends at `end`.
    #[inline]
    pub fn raise(&self, tag: Tag, end: Position) {
        self.last[tag.0 as usize & self.mask].fetch_max(end.0, Ordering::Release);
    }

    /// Forgets everything, for a new epoch.
    pub fn clear(&self) {
        for bucket in &self.last {
            bucket.store(0, Ordering::Release);
        }
    }

    /// The positions of all buckets that are not zero, with their index, ascending.
    pub fn raised(&self) -> impl Iterator<Item = (u32, Position)> {
        let read =
            |(index, bucket): (usize, &AtomicU64)| (index as u32, Position(bucket.load(Ordering::Acquire)));
        self.last.iter().enumerate().map(read).filter(|(_, position)| *position > Position::ZERO)
    }

    /// Sets the bucket at `index`; false where there is none.
    pub fn set(&self, index: u32, position: Position) -> bool {
        let bucket = self.last.get(index as usize);
        bucket.inspect(|bucket| bucket.store(position.0, Ordering::Release)).is_some()
    }

    /// How many buckets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Never: there is at least one bucket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets").field("count", &self.last.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_highest_position_and_clears() {
        let buckets = Buckets::new(5);
        assert_eq!(buckets.len(), 8);
        assert!(!buckets.is_empty());
        assert_eq!(buckets.raised().next(), None);
        buckets.raise(Tag(3), Position(9));
        buckets.raise(Tag(3 + 8), Position(7));
        assert_eq!(buckets.last(Tag(3)), Position(9));
        assert_eq!(buckets.last(Tag(4)), Position::ZERO);
        assert_eq!(buckets.raised().collect::<Vec<_>>(), [(3, Position(9))]);
        assert!(buckets.set(7, Position(1)));
        assert!(!buckets.set(8, Position(1)));
        buckets.clear();
        assert_eq!(buckets.last(Tag(3)), Position::ZERO);
    }
}
