//! Where readers look for an entry, without a lock and without a write to memory that they share.
//!
//! Entries lie in buckets of one cache line: seven places, and a byte of each entry's hash to tell which of them is worth a
//! look. A lookup that shares a lock, and a count of references, with every other reader of a hot entry makes them wait for
//! each other's caches; here a reader notes on its own thread which entry it holds, and whoever takes an entry out of its
//! place sees to it that the note is honoured (`arc-swap`). So a change looks at each thread that has ever read: hence an entry
//! comes into the index only once it is read.
//!
//! Whoever changes the index holds the segment's write lock. Readers meanwhile find an entry or miss it, as if they had
//! come a moment sooner or later.

use std::{
    array, fmt,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwapOption, Guard};

/// Places of a bucket: with their tags, a cache line.
const PLACES: usize = 7;
/// Buckets of the first table; each later one has twice as many.
const BUCKETS_MIN: usize = 8;
/// Tables an index can grow through: more than there is memory for.
const TABLES_MAX: usize = 40;
/// Entries in two buckets before there must be more buckets: as many as leave nine lookups in ten with one bucket to read. The
/// fuller a table, the less of it has to be in the processor's caches.
const ENTRIES_IN_TWO_BUCKETS: usize = 13;

/// A one in the byte of each place.
const ONES: u64 = 0x0001_0101_0101_0101;
/// The highest bit in the byte of each place.
const HIGHS: u64 = ONES << 7;
/// Where the count of entries that went on to the next bucket begins.
const PASSED_SHIFT: u32 = 56;

/// An entry that a reader holds.
///
/// The first eight that a thread holds cost it no write to the entry; further ones count a reference.
pub struct Held<E>(Guard<Option<Arc<E>>>);

impl<E> From<Arc<E>> for Held<E> {
    fn from(entry: Arc<E>) -> Self {
        Self(Guard::from_inner(Some(entry)))
    }
}

impl<E> From<Held<E>> for Arc<E> {
    fn from(held: Held<E>) -> Self {
        Self::clone(&held)
    }
}

impl<E> Deref for Held<E> {
    type Target = Arc<E>;

    #[inline]
    #[expect(clippy::expect_used, reason = "made of an entry, in both places")]
    fn deref(&self) -> &Arc<E> {
        self.0.as_ref().expect("an entry")
    }
}

impl<E> Clone for Held<E> {
    fn clone(&self) -> Self {
        Self::from(Arc::clone(self))
    }
}

impl<E> fmt::Debug for Held<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

#[repr(align(64))]
struct Bucket<E> {
    /// The tag of each place, zero for an empty one; in the last byte, how many entries found this bucket full and went on
    /// to the next. That count stays at its end once it is there.
    tags: AtomicU64,
    places: [ArcSwapOption<E>; PLACES],
}

type Table<E> = Box<[Bucket<E>]>;

/// The entries of a segment, by hash. Laid out in this order: what every reader needs is together.
#[repr(C)]
pub(super) struct Index<E> {
    /// The table in use.
    current: AtomicUsize,
    /// A table is never freed, only emptied, so that readers need nothing to hold on to it: all that are no longer used
    /// take as much memory as the one that is.
    tables: [OnceLock<Table<E>>; TABLES_MAX],
    /// Changed by whoever has the segment's write lock.
    len: AtomicUsize,
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        let index = Self {
            tables: [const { OnceLock::new() }; TABLES_MAX],
            current: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        };
        index.tables[0].get_or_init(|| new_table(BUCKETS_MIN));
        index
    }
}

impl<E> Index<E> {
    /// The entry under a hash that `is_wanted`.
    #[inline]
    pub(super) fn get(&self, hash: u64, is_wanted: impl Fn(&E) -> bool) -> Option<Held<E>> {
        let mut number = self.current.load(Ordering::Acquire);
        loop {
            if let Some(held) = look_up(self.table(number), hash, &is_wanted) {
                return Some(held);
            }
            // A table is emptied once another is in use: what is no longer in the one may be in the other.
            let current = self.current.load(Ordering::Acquire);
            if current == number {
                return None;
            }
            number = current;
        }
    }

    /// Sees to it that `entries` find room, before they are put. `hash_of` is asked where the index has to grow.
    pub(super) fn make_room(&self, entries: usize, hash_of: impl Fn(&E) -> u64) {
        while entries > self.in_use().len() / 2 * ENTRIES_IN_TWO_BUCKETS {
            self.grow(&hash_of);
        }
    }

    /// Stores an entry that is not there yet; [room](Self::make_room) was made for it.
    pub(super) fn put(&self, hash: u64, entry: Arc<E>) {
        place(self.in_use(), hash, entry);
        self.len.store(self.len.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Stores `entry` in the place of one under the same hash, if that is there.
    pub(super) fn replace(&self, hash: u64, replaced: &Arc<E>, entry: Arc<E>) {
        if let Some((_, bucket, place)) = self.find(hash, replaced) {
            bucket.places[place].store(Some(entry));
        }
    }

    /// Takes an entry out; whether it was there.
    pub(super) fn remove(&self, hash: u64, leaving: &Arc<E>) -> bool {
        let Some((passed, bucket, place)) = self.find(hash, leaving) else { return false };
        bucket.set_tag(place, 0);
        bucket.places[place].store(None);
        from_home(self.in_use(), hash).take(passed).for_each(Bucket::forget_one_passed);
        self.len.store(self.len.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        true
    }

    pub(super) fn clear(&self) {
        empty(self.in_use());
        self.len.store(0, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    #[inline]
    fn table(&self, number: usize) -> &[Bucket<E>] {
        self.tables[number].get().map_or(&[], |table| table)
    }

    /// The table in use, for whoever has the segment's write lock.
    fn in_use(&self) -> &[Bucket<E>] {
        self.table(self.current.load(Ordering::Relaxed))
    }

    /// Where an entry is: how many buckets from home, the bucket, and the place.
    fn find(&self, hash: u64, entry: &Arc<E>) -> Option<(usize, &Bucket<E>, usize)> {
        for (passed, bucket) in from_home(self.in_use(), hash).enumerate() {
            let is_there = |place: &usize| {
                bucket.places[*place].load().as_ref().is_some_and(|held| Arc::ptr_eq(held, entry))
            };
            let tags = bucket.tags.load(Ordering::Relaxed);
            if let Some(place) = places_with(tags, tag_of(hash)).find(is_there) {
                return Some((passed, bucket, place));
            }
            if tags >> PASSED_SHIFT == 0 {
                break;
            }
        }
        None
    }

    /// Goes over to a table of twice as many buckets.
    fn grow(&self, hash_of: &impl Fn(&E) -> u64) {
        let current = self.current.load(Ordering::Relaxed);
        let old = self.in_use();
        let larger = self.tables[current + 1].get_or_init(|| new_table(old.len() * 2));
        for entry in old.iter().flat_map(|bucket| &bucket.places).filter_map(ArcSwapOption::load_full) {
            place(larger, hash_of(&entry), entry);
        }
        // In this order, and seen in it: a reader who misses an entry in the old table looks in the new one.
        self.current.store(current + 1, Ordering::Release);
        empty(old);
    }
}

impl<E> Bucket<E> {
    fn set_tag(&self, place: usize, tag: u64) {
        let tags = self.tags.load(Ordering::Relaxed) & !(0xff << (place * 8));
        self.tags.store(tags | tag << (place * 8), Ordering::Release);
    }

    fn passed(&self) -> u64 {
        self.tags.load(Ordering::Relaxed) >> PASSED_SHIFT
    }

    fn note_one_passed(&self) {
        if self.passed() < 0xff {
            self.tags.store(self.tags.load(Ordering::Relaxed) + (1 << PASSED_SHIFT), Ordering::Release);
        }
    }

    fn forget_one_passed(&self) {
        if self.passed() < 0xff {
            self.tags.store(self.tags.load(Ordering::Relaxed) - (1 << PASSED_SHIFT), Ordering::Release);
        }
    }
}

fn new_table<E>(buckets: usize) -> Table<E> {
    let bucket = |_| Bucket { tags: AtomicU64::new(0), places: array::from_fn(|_| ArcSwapOption::empty()) };
    (0..buckets).map(bucket).collect()
}

/// The entry of a table under a hash that `is_wanted`.
#[inline]
fn look_up<E>(table: &[Bucket<E>], hash: u64, is_wanted: impl Fn(&E) -> bool) -> Option<Held<E>> {
    for bucket in from_home(table, hash) {
        let tags = bucket.tags.load(Ordering::Acquire);
        for place in places_with(tags, tag_of(hash)) {
            let held = bucket.places[place].load();
            if held.as_ref().is_some_and(|entry| is_wanted(entry)) {
                return Some(Held(held));
            }
        }
        if tags >> PASSED_SHIFT == 0 {
            break;
        }
    }
    None
}

/// All buckets, from the one that is the hash's home.
#[inline]
fn from_home<E>(table: &[Bucket<E>], hash: u64) -> impl Iterator<Item = &Bucket<E>> {
    (0..table.len()).map(move |step| &table[(hash as usize).wrapping_add(step) & (table.len() - 1)])
}

/// Puts an entry into the first free place from its home on. There is one: no table is full.
fn place<E>(table: &[Bucket<E>], hash: u64, entry: Arc<E>) {
    for bucket in from_home(table, hash) {
        if let Some(place) = places_with(bucket.tags.load(Ordering::Relaxed), 0).next() {
            // The tag last: who sees it finds the entry.
            bucket.places[place].store(Some(entry));
            bucket.set_tag(place, tag_of(hash));
            return;
        }
        bucket.note_one_passed();
    }
}

fn empty<E>(table: &[Bucket<E>]) {
    for bucket in table.iter().filter(|bucket| bucket.tags.load(Ordering::Relaxed) != 0) {
        bucket.tags.store(0, Ordering::Release);
        bucket.places.iter().for_each(|place| place.store(None));
    }
}

/// What tells a hash from others of its bucket: never zero.
#[inline]
const fn tag_of(hash: u64) -> u64 {
    hash >> 57 | 0x80
}

/// The places whose tag is `tag`, and seldom others.
#[inline]
fn places_with(tags: u64, tag: u64) -> impl Iterator<Item = usize> {
    // A byte that is equal becomes zero, and only a zero byte borrows from its highest bit without having had it; a byte
    // above it may be taken for one as well.
    let differing = tags ^ (tag * ONES);
    let mut found = differing.wrapping_sub(ONES) & !differing & HIGHS;
    std::iter::from_fn(move || {
        let place = (found != 0).then(|| found.trailing_zeros() as usize / 8)?;
        found &= found - 1;
        Some(place)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::atomic::AtomicBool, thread};

    use proptest::prelude::*;

    use super::*;

    /// A number under a hash that the test chooses.
    struct Numbered(u64, u64);

    impl Index<Numbered> {
        fn keep(&self, hash: u64, number: u64) -> Arc<Numbered> {
            let entry = Arc::new(Numbered(hash, number));
            match self.find_number(hash, number) {
                Some(held) => self.replace(hash, &held, Arc::clone(&entry)),
                None => {
                    self.make_room(self.len() + 1, |held| held.0);
                    self.put(hash, Arc::clone(&entry));
                }
            }
            entry
        }

        fn find_number(&self, hash: u64, number: u64) -> Option<Held<Numbered>> {
            self.get(hash, |held| held.1 == number)
        }

        fn take(&self, hash: u64, number: u64) -> bool {
            self.find_number(hash, number).is_some_and(|held| self.remove(hash, &held))
        }

        fn passed(&self) -> u64 {
            self.in_use().iter().map(Bucket::passed).sum()
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Keep(u64),
        Remove(u64),
        Clear,
    }

    fn act() -> impl Strategy<Value = Act> {
        let number = 0..100_u64;
        prop_oneof![
            60 => number.clone().prop_map(Act::Keep),
            40 => number.prop_map(Act::Remove),
            1 => Just(Act::Clear),
        ]
    }

    /// Hashes of which many share bucket, tag or both, so that entries go on to later buckets.
    fn crowded(number: u64) -> u64 {
        (number % 3) | (number % 5) << 57
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn holds_what_was_put_until_it_is_removed(acts in prop::collection::vec(act(), 1..300)) {
            let (index, mut held) = (Index::default(), HashMap::new());
            for act in acts {
                match act {
                    Act::Keep(number) => drop(held.insert(number, index.keep(crowded(number), number))),
                    Act::Remove(number) => {
                        let entry = held.remove(&number);
                        let removed = index.take(crowded(number), number);
                        prop_assert_eq!(removed, entry.is_some());
                    }
                    Act::Clear => {
                        index.clear();
                        held.clear();
                    }
                }
                prop_assert_eq!(index.len(), held.len());
                for number in 0..100 {
                    let found = index.find_number(crowded(number), number);
                    let same = found.as_deref().map(Arc::as_ptr) == held.get(&number).map(Arc::as_ptr);
                    prop_assert!(same, "{number}");
                }
            }
        }

        #[test]
        fn the_bytes_of_a_tag_are_found(tags: [u8; PLACES], passed: u8, tag in 0x80..=0xff_u64) {
            let [a, b, c, d, e, f, g] = tags;
            let word = u64::from_le_bytes([a, b, c, d, e, f, g, passed]);
            let found: Vec<_> = places_with(word, tag).collect();
            for (place, byte) in tags.iter().enumerate() {
                prop_assert!(u64::from(*byte) != tag || found.contains(&place));
            }
            // The first is never another one: a place that is taken is not taken for a free one.
            prop_assert!(found.first().is_none_or(|place| u64::from(tags[*place]) == tag));
            prop_assert!(found.iter().all(|place| *place < PLACES));
        }
    }

    #[test]
    fn nothing_is_noted_of_entries_that_have_left() {
        let index = Index::default();
        let numbers = 0..60_u64;
        numbers.clone().for_each(|number| drop(index.keep(0, number)));
        assert!(index.passed() > 0);
        assert!(numbers.clone().all(|number| index.take(0, number)));
        assert_eq!((index.len(), index.passed()), (0, 0));
    }

    #[test]
    fn an_entry_lives_until_its_last_holder_lets_go() {
        let index = Index::default();
        let kept = Arc::downgrade(&index.keep(7, 7));
        // The tables that the index has grown out of let go of it too.
        (100..400).for_each(|number| drop(index.keep(number, number)));
        // More than a thread notes without counting.
        let holders: Vec<_> = (0..20).map(|_| index.find_number(7, 7)).collect();
        assert!(index.take(7, 7));
        assert!(holders.iter().flatten().all(|held| held.1 == 7));
        assert_eq!(holders.iter().flatten().count(), 20);
        thread::spawn(move || drop(holders)).join().unwrap();
        assert!(kept.upgrade().is_none());
    }

    /// Neither growth nor what others put and remove hides an entry from readers.
    #[test]
    fn readers_find_what_stays_whatever_else_changes() {
        const KEPT: u64 = 20_000;
        let hash = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (index, put, done) = (Index::default(), AtomicU64::new(0), AtomicBool::new(false));
        let reader = || {
            let mut looked = 0_u64;
            while !done.load(Ordering::Acquire) {
                let put = put.load(Ordering::Acquire);
                let number = hash(looked) % put.max(1);
                assert!(put == 0 || index.find_number(hash(number), number).is_some(), "{number} of {put}");
                looked += 1;
            }
            looked
        };
        let looked: u64 = thread::scope(|scope| {
            let readers: Vec<_> = (0..3).map(|_| scope.spawn(reader)).collect();
            for number in 0..KEPT {
                drop(index.keep(hash(number), number));
                put.store(number + 1, Ordering::Release);
                let passing = KEPT + number % 50;
                drop(index.keep(hash(passing), passing));
                if number % 3 > 0 {
                    index.take(hash(passing), passing);
                }
            }
            done.store(true, Ordering::Release);
            readers.into_iter().map(|reader| reader.join().unwrap()).sum()
        });
        assert!(looked > 0);
    }
}
