//! Exact changes that a load in flight may not have seen.

use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
};

use super::{Change, Position, Snapshot, Tag, Xid};

/// The changes above the floor, in feed order, findable by tag.
///
/// Memory is bounded: at most `changes_max` changes of 40 bytes, and the same number of index entries.
#[derive(Clone, Debug)]
pub struct Recent {
    records: VecDeque<Record>,
    /// Number of the first record held; records are numbered from the beginning of time.
    first: u64,
    newest: HashMap<Tag, u64, foldhash::fast::RandomState>,
    changes_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Record {
    change: Change,
    /// Number of the record before this one on the same tag; below `first` when there is none any more.
    previous: Option<u64>,
}

/// [`Recent`] is at its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Recent {
    /// Holds nothing yet, and never more than `changes_max` changes.
    #[must_use]
    pub fn new(changes_max: usize) -> Self {
        Self { records: VecDeque::new(), first: 0, newest: HashMap::default(), changes_max }
    }

    /// Adds a change at the end of the feed.
    ///
    /// # Errors
    /// [`Full`] when the bound is reached; nothing was added.
    pub fn push(&mut self, change: Change) -> Result<(), Full> {
        if self.records.len() >= self.changes_max {
            return Err(Full);
        }
        debug_assert!(self.records.back().is_none_or(|last| last.change.end <= change.end), "feed order");
        let number = self.first + self.records.len() as u64;
        let previous = self.newest.insert(change.tag, number);
        self.records.push_back(Record { change, previous });
        Ok(())
    }

    /// Changes on `tag` that end above `after`, newest first.
    pub fn on(&self, tag: Tag, after: Position) -> impl Iterator<Item = &Change> {
        let record = |number: u64| {
            let index = number.checked_sub(self.first)?;
            self.records.get(usize::try_from(index).ok()?)
        };
        std::iter::successors(self.newest.get(&tag).and_then(|n| record(*n)), move |r| record(r.previous?))
            .map(|r| &r.change)
            .take_while(move |change| change.end > after)
    }

    /// Every change that ends above `after`, in feed order.
    pub fn above(&self, after: Position) -> impl Iterator<Item = &Change> {
        let start = self.records.partition_point(|r| r.change.end <= after);
        self.records.range(start..).map(|r| &r.change)
    }

    /// The first change above `after` that `snapshot` does not see.
    #[must_use]
    pub fn first_unseen(&self, after: Position, snapshot: &Snapshot) -> Option<&Change> {
        self.above(after).find(|change| !snapshot.sees(change))
    }

    /// Forgets the changes that end at or below `through`.
    pub fn trim(&mut self, through: Position) {
        while let Some(record) = self.records.front() {
            if record.change.end > through {
                break;
            }
            let tag = record.change.tag;
            if self.newest.get(&tag) == Some(&self.first) {
                self.newest.remove(&tag);
            }
            self.records.pop_front();
            self.first += 1;
        }
        self.give_back_memory();
    }

    /// Forgets everything, and returns the highest transaction id and position that were held.
    pub fn clear(&mut self) -> Option<(Xid, Position)> {
        let xid = self.records.iter().map(|r| r.change.xid).max()?;
        let end = self.records.back()?.change.end;
        self.first += self.records.len() as u64;
        self.records = VecDeque::new();
        self.newest = HashMap::default();
        Some((xid, end))
    }

    /// How many changes are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// After a burst the buffers would keep their largest size for ever.
    fn give_back_memory(&mut self) {
        const KEPT_SLOTS: usize = 4096;
        if self.records.capacity() > KEPT_SLOTS && self.records.len() < self.records.capacity() / 8 {
            self.records.shrink_to(KEPT_SLOTS);
            self.newest.shrink_to(KEPT_SLOTS);
        }
    }
}

impl PartialEq for Recent {
    fn eq(&self, other: &Self) -> bool {
        // The index follows from the records.
        self.first == other.first && self.records == other.records
    }
}

impl Eq for Recent {}

impl Hash for Recent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.first.hash(state);
        self.records.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(tag: u64, end: u64) -> Change {
        Change { tag: Tag(tag), xid: Xid(100 + end), end: Position(end) }
    }

    #[test]
    fn the_bound_holds() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.push(change(1, 1)), Ok(()));
        assert_eq!(recent.push(change(1, 2)), Ok(()));
        assert_eq!(recent.push(change(1, 3)), Err(Full));
        assert_eq!(recent.clear(), Some((Xid(102), Position(2))));
        assert_eq!(recent.on(Tag(1), Position::ZERO).count(), 0);
        assert_eq!(recent.push(change(1, 3)), Ok(()));
        assert_eq!(recent.on(Tag(1), Position::ZERO).count(), 1);
    }

    #[test]
    fn numbers_go_on_after_everything_was_forgotten() {
        let mut recent = Recent::new(10);
        assert_eq!(recent.clear(), None);
        assert!(recent.is_empty());
        for end in 1..=3 {
            recent.push(change(1, end)).unwrap();
        }
        assert!(!recent.is_empty());
        assert_eq!(recent.clear(), Some((Xid(103), Position(3))));
        recent.push(change(2, 4)).unwrap();
        recent.push(change(1, 5)).unwrap();
        assert_eq!(recent.first, 3);
        assert_eq!(recent.clear(), Some((Xid(105), Position(5))));
        assert_eq!(recent.first, 5);
    }

    #[test]
    fn memory_is_given_back_when_less_than_an_eighth_of_it_is_used() {
        let mut recent = Recent::new(100_000);
        for end in 1..=10_000 {
            recent.push(change(end % 7, end)).unwrap();
        }
        let (of_records, of_tags) = (recent.records.capacity(), recent.newest.capacity());
        assert!(of_records >= 10_000);
        let eighth = of_records / 8;
        recent.trim(Position(10_000 - eighth as u64));
        assert_eq!((recent.len(), recent.records.capacity()), (eighth, of_records));
        recent.trim(Position(10_000 - eighth as u64 + 1));
        assert!(recent.records.capacity() < of_records);
        assert_eq!(recent.newest.capacity(), of_tags);
        // A small buffer stays as it is, however little of it is used.
        let mut small = Recent::new(100_000);
        for end in 1..=1_000 {
            small.push(change(end, end)).unwrap();
        }
        let kept = small.records.capacity();
        small.trim(Position(999));
        assert_eq!((small.len(), small.records.capacity()), (1, kept));
    }

    #[test]
    fn two_are_the_same_if_they_hold_the_same_under_the_same_numbers() {
        let hash = |recent: &Recent| {
            let mut state = std::hash::DefaultHasher::new();
            recent.hash(&mut state);
            state.finish()
        };
        let with = |ends: &[u64], trimmed: u64| {
            let mut recent = Recent::new(10);
            ends.iter().for_each(|end| recent.push(change(1, *end)).unwrap());
            recent.trim(Position(trimmed));
            recent
        };
        assert_eq!(with(&[1, 2], 0), with(&[1, 2], 0));
        assert_eq!(hash(&with(&[1, 2], 0)), hash(&with(&[1, 2], 0)));
        // Another record; the same records under other numbers; other numbers of as many.
        for other in [with(&[1, 3], 0), with(&[0, 1, 2], 0), with(&[0, 5, 6], 0)] {
            assert_ne!(with(&[1, 2], 0), other);
            assert_ne!(hash(&with(&[1, 2], 0)), hash(&other));
        }
        let (mut emptied, fresh) = (with(&[1], 1), with(&[], 0));
        assert_ne!(emptied, fresh);
        emptied.first = 0;
        assert_eq!(emptied, fresh);
    }

    proptest! {
        /// Against the plain list of all changes ever pushed.
        #[test]
        fn finds_exactly_what_was_pushed_and_not_trimmed(
            steps in prop::collection::vec((0_u64..5, 0_u64..3, any::<bool>()), 0..60),
            after in 0_u64..80,
        ) {
            let (mut recent, mut all, mut end, mut trimmed) = (Recent::new(1000), Vec::new(), 1, 0);
            for (tag, step, trim) in steps {
                end += step;
                recent.push(change(tag, end)).unwrap();
                all.push(change(tag, end));
                if trim {
                    trimmed = end.saturating_sub(5);
                    recent.trim(Position(trimmed));
                }
            }
            let after = after.max(trimmed);
            for tag in 0..5 {
                let mut expected: Vec<_> =
                    all.iter().filter(|c| c.tag == Tag(tag) && c.end.0 > after).copied().collect();
                let mut found: Vec<_> = recent.on(Tag(tag), Position(after)).copied().collect();
                found.reverse();
                prop_assert_eq!(&found, &expected);
                expected.clear();
            }
            let expected: Vec<_> = all.iter().filter(|c| c.end.0 > after).copied().collect();
            prop_assert_eq!(recent.above(Position(after)).copied().collect::<Vec<_>>(), expected);
            prop_assert_eq!(recent.newest.len() <= recent.len(), true);
        }
    }
}
