//! Which rows a table may have: a Bloom filter over the tags of its rows, kept true by the feed.
//!
//! What is not in it is surely absent, under the rules of an entry that depends on its row and on its table as a whole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fastbloom::AtomicBloomFilter;

use super::{Beginning, FilterHead, Listener, Position, SavedPlace, Tag, Transaction, write_filter};
use crate::entry::EpochId;

/// The tags that tell of a table's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTags {
    /// Raised by each change of one of its rows.
    pub any: Tag,
    /// Raised by what is not told row by row.
    pub wide: Tag,
}

impl TableTags {
    /// Those of `table`, as it stands in tags.
    #[must_use]
    pub fn of(table: &str) -> Self {
        Self { any: Tag::any(table), wide: Tag::wide(table) }
    }
}

/// The share of the bits a row that make a filter smallest which it sets: each costs a look-up a wait for memory, and a quarter
/// fewer cost 3 % of memory.
const OF_THE_SMALLEST: f64 = 0.75;

/// Bytes of a filter that is told about `entries` rows and mistakes the share `error` of others for them.
#[must_use]
pub fn filter_bytes(entries: u64, error: f64) -> usize {
    let hashes = f64::from(filter_hashes(error));
    // Each of `hashes` bits of an absent row is set by chance with the probability 1 - exp(-hashes * entries / bits).
    let by_chance = error.powf(hashes.recip());
    let bits = (hashes * entries as f64 / -(-by_chance).ln_1p()).ceil();
    (bits as usize).div_ceil(64) * 8
}

/// Bits that each row sets in a filter that mistakes the share `error` of other rows for those it is told about.
#[must_use]
pub fn filter_hashes(error: f64) -> u32 {
    (-error.log2() * OF_THE_SMALLEST).round().max(1.0) as u32
}

/// The rows that a table may have.
///
/// Every row that exists at an applied position `w` is in it, once it [answers](RowFilter::answers_at) at `w`: it was
/// enumerated by a statement that saw every change through the position at which the filter began to listen, or its
/// change was told since. Rows that are gone stay in it: that costs a needless load, never a wrong absence.
pub struct RowFilter {
    /// Over tags as they are: they are hashes already.
    bloom: AtomicBloomFilter,
    table: TableTags,
    by_name: Tag,
    /// The number of the class's catalogue for which the rows were enumerated; zero until the class of a saved one is known.
    class_epoch: AtomicU64,
    /// In which epoch it listens, as this process counts.
    epoch: AtomicU64,
    epoch_id: parking_lot::Mutex<Option<EpochId>>,
    /// Everything through this has been told to it.
    heard: AtomicU64,
    /// It answers at this applied position and later ones.
    answers_from: AtomicU64,
    /// Changes were told that do not say which rows they concern, or may never have been told.
    void: AtomicBool,
    /// Why, where that is known.
    voided: parking_lot::Mutex<Option<Voided>>,
    entries: AtomicU64,
}

/// Why a filter can never be relied on again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voided {
    /// The feed does not continue where the filter has stopped to hear.
    NotContinued,
    /// Changes were told that do not say which rows they concern.
    NotByRow,
    /// The shape of some table has moved, so that changes may have been told under other names.
    Altered,
}

impl RowFilter {
    /// An empty filter, which answers nothing yet.
    #[must_use]
    pub fn new(table: TableTags, class_epoch: u64, entries: u64, error: f64) -> Self {
        let bloom =
            AtomicBloomFilter::with_num_bits(filter_bytes(entries, error) * 8).hashes(filter_hashes(error));
        Self::over(bloom, table, class_epoch)
    }

    pub(super) fn over(bloom: AtomicBloomFilter, table: TableTags, class_epoch: u64) -> Self {
        Self {
            bloom,
            table,
            by_name: Tag::by_name(),
            class_epoch: AtomicU64::new(class_epoch),
            epoch: AtomicU64::new(0),
            epoch_id: parking_lot::Mutex::new(None),
            heard: AtomicU64::new(0),
            answers_from: AtomicU64::new(Position::MAX.0),
            void: AtomicBool::new(false),
            voided: parking_lot::Mutex::new(None),
            entries: AtomicU64::new(0),
        }
    }

    /// One that an earlier process has saved. It has to be [expected](super::Ledger::expect) before the feed is followed, and answers
    /// nothing unless the feed then continues from its place.
    #[must_use]
    pub fn saved(head: &FilterHead, bits: Vec<u64>) -> Self {
        let bloom = AtomicBloomFilter::from_vec(bits).hashes(head.hashes);
        let position = head.place.position.0;
        Self {
            epoch_id: parking_lot::Mutex::new(Some(head.place.epoch)),
            heard: AtomicU64::new(position),
            // Rows that went before it was saved may be missing from it: they count for states before.
            answers_from: AtomicU64::new(position.max(1)),
            entries: AtomicU64::new(head.entries),
            ..Self::over(bloom, head.table, 0)
        }
    }

    /// Where it has stopped to hear, in which epoch; none of a filter that may not be relied on.
    #[must_use]
    pub fn place(&self) -> Option<(EpochId, Position)> {
        // Under the lock under which an epoch begins: the position is of this epoch.
        let known = self.epoch_id.lock();
        let heard = Position(self.heard.load(Ordering::Acquire));
        known.filter(|_| self.epoch() > 0 && self.answers_at(heard)).map(|epoch| (epoch, heard))
    }

    /// Writes it as it is now, or a little later than `place`, which was taken before.
    ///
    /// # Errors
    /// What writing to `to` says.
    pub fn write(&self, shape: [u8; 16], place: SavedPlace, to: impl std::io::Write) -> std::io::Result<()> {
        let head = FilterHead {
            shape,
            table: self.table,
            place,
            entries: self.entries(),
            hashes: self.bloom.num_hashes(),
            words: (self.bloom.num_bits() / 64) as u64,
        };
        write_filter(&head, self.bloom.iter(), to)
    }

    fn void(&self, why: Voided) {
        self.void.store(true, Ordering::Release);
        self.voided.lock().get_or_insert(why);
    }

    /// Why it can never be relied on again.
    #[must_use]
    pub fn voided(&self) -> Option<Voided> {
        *self.voided.lock()
    }

    /// Adds the row with this tag.
    pub fn insert(&self, tag: Tag) {
        if !self.bloom.insert_hash(tag.0) {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there may be a row with this tag.
    #[inline]
    #[must_use]
    pub fn may_hold(&self, tag: Tag) -> bool {
        self.bloom.contains_hash(tag.0)
    }

    /// The table's tags.
    #[must_use]
    pub const fn table(&self) -> TableTags {
        self.table
    }

    /// The number of the class's catalogue for which it was built.
    #[must_use]
    pub fn class_epoch(&self) -> u64 {
        self.class_epoch.load(Ordering::Acquire)
    }

    /// The number of the class's catalogue under which the rows of a saved one are those of the table.
    pub fn is_of(&self, class_epoch: u64) {
        self.class_epoch.store(class_epoch, Ordering::Release);
    }

    /// The number of the epoch in which it listens.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Every row has been enumerated, by statements that can have seen nothing beyond `upper`; the feed has been applied
    /// through there.
    pub fn complete(&self, upper: Position) {
        // After every bit: who sees this also sees them.
        self.answers_from.store(upper.0.max(1), Ordering::Release);
    }

    /// Whether every row has been enumerated.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answers_from.load(Ordering::Acquire) != Position::MAX.0
    }

    /// Whether what is not in it is surely absent in the state at `applied`. Ask after `applied` was taken.
    #[inline]
    #[must_use]
    pub fn answers_at(&self, applied: Position) -> bool {
        self.answers_from.load(Ordering::Acquire) <= applied.0 && !self.is_void()
    }

    /// Whether it can never be relied on again.
    #[inline]
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.void.load(Ordering::Acquire)
    }

    /// How many different tags were added, but for those mistaken for others.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Bytes of its bits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bloom.num_bits() / 8
    }
}

impl Listener for RowFilter {
    fn told(&self, transaction: &Transaction) {
        let tags = &transaction.tags;
        if tags.contains(&self.table.wide) {
            self.void(Voided::NotByRow);
        } else if tags.contains(&self.table.any) || tags.contains(&self.by_name) || tags.len() == 1 {
            // Those of other rows of the same transaction, too: nobody can tell them apart. A lone tag was raised by
            // name: each change of a row raises two at least.
            tags.iter().for_each(|tag| self.insert(*tag));
        }
    }

    fn reached(&self, end: Position) {
        self.heard.store(end.0, Ordering::Release);
    }

    fn begun(&self, id: EpochId, number: u64, applied: Position, how: Beginning) {
        let mut known = self.epoch_id.lock();
        let heard = Position(self.heard.load(Ordering::Acquire));
        let goes_on = match *known {
            None => true,
            // What an earlier process has heard: only the source can know whether its log still is that one.
            Some(saved) if self.epoch() == 0 => how == Beginning::Resumed { of: saved } && applied <= heard,
            Some(known) => known == id && applied <= heard,
        };
        if goes_on {
            *known = Some(id);
        } else {
            self.void(Voided::NotContinued);
        }
        self.heard.fetch_max(applied.0, Ordering::AcqRel);
        self.epoch.store(number, Ordering::Release);
    }

    fn frozen(&self) {
        // Changes may have been told under names that the table had before: the rows are read again, once all of these
        // changes can be seen.
        self.void(Voided::Altered);
    }
}

impl std::fmt::Debug for RowFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowFilter")
            .field("entries", &self.entries())
            .field("complete", &self.is_complete())
            .field("void", &self.is_void())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Xid;

    const EPOCH: EpochId = EpochId::from_bytes([1; 16]);
    const OTHER: EpochId = EpochId::from_bytes([2; 16]);

    fn filter() -> RowFilter {
        RowFilter::new(TableTags::of("user"), 4, 1_000, 0.01)
    }

    fn told(filter: &RowFilter, tags: &[Tag]) {
        filter.told(&Transaction { xid: Xid(1), end: Position(1), tags: tags.to_vec() });
    }

    #[test]
    fn it_counts_what_it_holds_once() {
        let filter = filter();
        assert_eq!((filter.entries(), filter.class_epoch(), filter.table()), (0, 4, TableTags::of("user")));
        filter.insert(Tag(5));
        filter.insert(Tag(5));
        filter.insert(Tag(6));
        assert_eq!(filter.entries(), 2);
        assert!(filter.may_hold(Tag(5)) && !filter.may_hold(Tag(7)));
        assert_eq!(filter.bytes(), filter_bytes(1_000, 0.01));
    }

    #[test]
    fn it_looks_at_fewer_bits_than_the_smallest_would_and_is_hardly_larger() {
        for (error, hashes) in [(0.5, 1), (0.1, 2), (0.01, 5), (0.001, 7), (0.000_1, 10), (0.000_001, 15)] {
            assert_eq!(filter_hashes(error), hashes, "{error}");
        }
        let bytes = filter_bytes(100_000_000, 0.000_1);
        assert!((246_000_000..246_500_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn it_mistakes_no_more_rows_than_declared() {
        for (entries, error) in
            [(1, 0.5), (1, 0.000_001), (5_000, 0.5), (50_000, 0.1), (50_000, 0.01), (50_000, 0.001)]
        {
            let filter = RowFilter::new(TableTags::of("user"), 4, entries, error);
            let tag = |number: u64| Tag(xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes()));
            (0..entries).for_each(|row| filter.insert(tag(row)));
            assert!((0..entries).all(|row| filter.may_hold(tag(row))));
            let mistaken =
                (entries..entries + 200_000).filter(|row| filter.may_hold(tag(*row))).count() as f64;
            let expected = 200_000.0 * error;
            // Four deviations, and what one multiplication instead of independent hashes costs.
            assert!(mistaken <= expected * 1.1 + 4.0 * expected.sqrt(), "{entries} {error}: {mistaken}");
            let smallest = fastbloom::optimal_size(entries as usize, error) / 8;
            assert!(
                filter.bytes() <= smallest * 112 / 100 + 8,
                "{entries} {error}: {} {smallest}",
                filter.bytes()
            );
        }
    }

    #[test]
    fn it_answers_from_where_it_is_complete() {
        let filter = filter();
        assert!(!filter.is_complete() && !filter.answers_at(Position(u64::MAX - 1)));
        filter.complete(Position(7));
        assert!(filter.is_complete());
        let answers: Vec<_> = (6..9).map(|at| filter.answers_at(Position(at))).collect();
        assert_eq!(answers, [false, true, true]);
        filter.frozen();
        assert!(filter.is_void() && !filter.answers_at(Position(8)));
    }

    #[test]
    fn it_takes_in_what_may_be_a_row_of_its_table() {
        let table = TableTags::of("user");
        let other = TableTags::of("pet");
        for (tags, holds, void) in [
            (vec![table.any, Tag(5)], true, false),
            (vec![other.any, Tag(5)], false, false),
            // By name: of which table, only the name knows.
            (vec![Tag(5)], true, false),
            (vec![Tag::by_name(), Tag(5)], true, false),
            (vec![table.any, table.wide, Tag(5)], false, true),
            (vec![other.any, other.wide], false, false),
        ] {
            let filter = filter();
            told(&filter, &tags);
            assert_eq!((filter.may_hold(Tag(5)), filter.is_void()), (holds, void), "{tags:?}");
        }
    }

    #[test]
    fn it_goes_on_in_its_own_epoch_where_nothing_is_missing() {
        let begun = |steps: &[(EpochId, u64, u64)], heard: u64| {
            let filter = filter();
            for (step, (id, number, applied)) in steps.iter().enumerate() {
                filter.begun(*id, *number, Position(*applied), Beginning::Anew);
                assert_eq!(filter.epoch(), *number);
                if step == 0 && heard > 0 {
                    filter.reached(Position(heard));
                }
            }
            !filter.is_void()
        };
        assert!(begun(&[(EPOCH, 3, 10)], 0), "it begins wherever the node is");
        assert!(begun(&[(EPOCH, 3, 10), (EPOCH, 4, 10)], 0));
        assert!(begun(&[(EPOCH, 3, 10), (EPOCH, 4, 15)], 15), "it has heard as much");
        assert!(!begun(&[(EPOCH, 3, 10), (EPOCH, 4, 16)], 15), "what lies between was told to nobody");
        assert!(!begun(&[(EPOCH, 3, 10), (OTHER, 4, 10)], 15));
        assert!(!begun(&[(EPOCH, 3, 10), (OTHER, 4, 10), (EPOCH, 5, 10)], 15));
    }

    /// What a filter of rows 5 and 6, heard through 20, is in the next process.
    fn saved_at_20() -> RowFilter {
        let filter = filter();
        filter.begun(EPOCH, 3, Position(10), Beginning::Anew);
        filter.insert(Tag(5));
        filter.complete(Position(12));
        told(&filter, &[TableTags::of("user").any, Tag(6)]);
        filter.reached(Position(20));
        let (epoch, position) = filter.place().unwrap();
        assert_eq!((epoch, position), (EPOCH, Position(20)));
        let mut bytes = Vec::new();
        let place = SavedPlace { epoch, position, evidence: (*b"here").into() };
        filter.write([8; 16], place, &mut bytes).unwrap();
        let (words, hashes) = (filter_bytes(1_000, 0.01) as u64 / 8, filter_hashes(0.01));
        let (head, bits) = super::super::read_filter(&*bytes, words, hashes).unwrap();
        assert_eq!((head.shape, &*head.place.evidence), ([8; 16], &b"here"[..]));
        let again = RowFilter::saved(&head, bits);
        assert_eq!((again.entries(), again.table(), again.class_epoch()), (3, filter.table(), 0));
        assert!(again.may_hold(Tag(5)) && again.may_hold(Tag(6)) && !again.may_hold(Tag(7)));
        again
    }

    #[test]
    fn a_saved_one_goes_on_only_where_the_source_says_that_its_log_does() {
        let resumed = |of| Beginning::Resumed { of };
        for (id, applied, how, goes_on) in [
            (EPOCH, 20, resumed(EPOCH), true),
            (EPOCH, 15, resumed(EPOCH), true),
            (OTHER, 20, resumed(EPOCH), true),
            (EPOCH, 21, resumed(EPOCH), false),
            (EPOCH, 20, resumed(OTHER), false),
            (EPOCH, 20, Beginning::Anew, false),
            (EPOCH, 15, Beginning::Anew, false),
        ] {
            let filter = saved_at_20();
            assert_eq!(filter.place(), None, "not before it was told of an epoch");
            filter.begun(id, 1, Position(applied), how);
            assert_eq!(!filter.is_void(), goes_on, "{id} {applied} {how:?}");
            assert_eq!(filter.voided(), (!goes_on).then_some(Voided::NotContinued));
            if goes_on {
                let answers: Vec<_> = (19..22).map(|at| filter.answers_at(Position(at))).collect();
                assert_eq!(answers, [false, true, true], "rows that went before it was saved may be missing");
                told(&filter, &[TableTags::of("user").any, Tag(7)]);
                assert!(filter.may_hold(Tag(7)));
                assert_eq!(filter.place().unwrap().0, id);
                filter.is_of(6);
                assert_eq!(filter.class_epoch(), 6, "until then of none");
                filter.begun(OTHER, 2, Position(20), Beginning::Anew);
                assert_eq!(filter.is_void(), id != OTHER, "from then on it is like any other");
            }
        }
    }

    #[test]
    fn only_what_may_be_relied_on_has_a_place() {
        let filter = filter();
        assert_eq!(filter.place(), None);
        filter.begun(EPOCH, 3, Position(10), Beginning::Anew);
        assert_eq!(filter.place(), None, "not complete");
        filter.complete(Position(12));
        assert_eq!(filter.place(), None, "the feed is not there yet");
        filter.reached(Position(12));
        assert_eq!(filter.place(), Some((EPOCH, Position(12))));
        told(&filter, &[TableTags::of("user").wide]);
        assert_eq!((filter.place(), filter.voided()), (None, Some(Voided::NotByRow)));
    }
}
