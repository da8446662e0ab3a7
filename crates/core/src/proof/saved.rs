//! A ledger as it is saved, and as one node hands it to another: where to continue, and the last change of each tag.

use super::{Beginning, Ledger, Position};
use crate::entry::EpochId;

/// Begins every saved ledger; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"trueupL1";
/// Magic, epoch, start, floor, bucket count, number of raised buckets.
const HEADER_BYTES: usize = 8 + 16 + 8 + 8 + 4 + 4;
/// Index and position of one bucket.
const BUCKET_BYTES: usize = 4 + 8;
/// Checksum over everything before it.
const SUM_BYTES: usize = 8;

/// What a node begins with: it replays the feed from `floor`, and can check entries that were proven at or after `start`.
///
/// Positions above the floor may be among the buckets: a change that is told twice makes nothing stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedLedger {
    /// The epoch in which the positions count.
    pub epoch: EpochId,
    /// Where the knowledge of changes begins: nothing that was proven earlier can be checked.
    pub start: Position,
    /// Every change at or below this is visible to every later load, and stands in the buckets.
    pub floor: Position,
    /// How many buckets the ledger has.
    pub buckets: u32,
    /// Index and position of each bucket that was ever raised, ascending.
    pub raised: Vec<(u32, Position)>,
}

/// Bytes that are no saved ledger, or none that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSave {
    /// Cut short, damaged, or of another version.
    #[error("it is damaged, or of another version")]
    Malformed,
    /// The ledger was saved with another number of buckets.
    #[error("it has {saved} buckets and this node {here}; set the same number of buckets on every node")]
    Buckets {
        /// In the saved ledger.
        saved: u32,
        /// Of this node.
        here: u32,
    },
}

impl SavedLedger {
    /// The bytes: see `docs/format.md`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.raised.len() * BUCKET_BYTES + SUM_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.epoch.as_bytes());
        bytes.extend_from_slice(&self.start.0.to_le_bytes());
        bytes.extend_from_slice(&self.floor.0.to_le_bytes());
        bytes.extend_from_slice(&self.buckets.to_le_bytes());
        bytes.extend_from_slice(&(self.raised.len() as u32).to_le_bytes());
        for (index, position) in &self.raised {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&position.0.to_le_bytes());
        }
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what [`SavedLedger::encode`] wrote.
    ///
    /// # Errors
    /// [`BadSave::Malformed`] for anything else; reads no more than `bytes` and allocates no more than they hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadSave> {
        let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(BadSave::Malformed)?;
        if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(BadSave::Malformed);
        }
        let mut rest = body.strip_prefix(MAGIC).ok_or(BadSave::Malformed)?;
        let epoch = EpochId::from_bytes(take(&mut rest)?);
        let start = Position(u64::from_le_bytes(take(&mut rest)?));
        let floor = Position(u64::from_le_bytes(take(&mut rest)?));
        let buckets = u32::from_le_bytes(take(&mut rest)?);
        let count = u32::from_le_bytes(take(&mut rest)?);
        if rest.len() != count as usize * BUCKET_BYTES || !(start <= floor && floor < Position::MAX) {
            return Err(BadSave::Malformed);
        }
        let mut raised = Vec::with_capacity(count as usize);
        while !rest.is_empty() {
            let index = u32::from_le_bytes(take(&mut rest)?);
            raised.push((index, Position(u64::from_le_bytes(take(&mut rest)?))));
        }
        let ascending = raised.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || raised.last().is_some_and(|(index, _)| *index >= buckets) {
            return Err(BadSave::Malformed);
        }
        Ok(Self { epoch, start, floor, buckets, raised })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadSave> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(BadSave::Malformed)?;
    *rest = left;
    Ok(*taken)
}

impl Ledger {
    /// What another node, or this one after a restart, can begin with. None while there is no epoch or no floor.
    ///
    /// The floor is read before the buckets, so that every change at or below it stands in them.
    #[must_use]
    pub fn save(&self) -> Option<SavedLedger> {
        let epoch_number = self.epoch_number();
        let (epoch, start, floor) = self.savable()?;
        let raised = self.buckets.raised().collect();
        // A new epoch clears the buckets: what was copied would then be a part of each.
        (self.epoch_number() == epoch_number).then_some(SavedLedger {
            epoch,
            start,
            floor,
            buckets: self.buckets.len() as u32,
            raised,
        })
    }

    /// Begins in the epoch and at the floor of a saved ledger. Entries proven since its start can be checked.
    ///
    /// Sound only if the feed then continues from that floor: the caller replays what has been told since.
    ///
    /// # Errors
    /// [`BadSave::Buckets`]; nothing has changed.
    pub fn restore(&self, saved: &SavedLedger) -> Result<(), BadSave> {
        self.begin_with(saved, Beginning::Anew)
    }

    /// As [`Ledger::restore`], with what this node itself saved, of which the caller has made sure that the source's log still is the
    /// one that it was saved of.
    ///
    /// # Errors
    /// [`BadSave::Buckets`]; nothing has changed.
    pub fn resume(&self, saved: &SavedLedger) -> Result<(), BadSave> {
        self.begin_with(saved, Beginning::Resumed { of: saved.epoch })
    }

    fn begin_with(&self, saved: &SavedLedger, how: Beginning) -> Result<(), BadSave> {
        let here = self.buckets.len() as u32;
        if saved.buckets != here {
            return Err(BadSave::Buckets { saved: saved.buckets, here });
        }
        self.begin(saved.epoch, saved.floor, None, Some(saved), how);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        env::Nanos,
        proof::{Message, Rejected, Seen, Snapshot, Tag, Tags, Transaction, Xid},
    };

    const EPOCH: EpochId = EpochId::from_bytes([3; 16]);

    fn message(previous: u64, end: u64, tag: u64) -> Message {
        let transactions = vec![Transaction { xid: Xid(end), end: Position(end), tags: vec![Tag(tag)] }];
        Message {
            epoch: EPOCH,
            connection: 1,
            previous: Position(previous),
            end: Position(end),
            transactions,
        }
    }

    fn snapshot(xid: u64) -> Snapshot {
        Snapshot::Xids(format!("{xid}:{xid}:").parse().unwrap())
    }

    fn ask(ledger: &Ledger, position: u64, xid: u64) {
        let ask =
            crate::proof::Ask { at: Nanos(1), position: Position(position), discards: ledger.discards() };
        ledger.answered(EPOCH, ask, Some(&snapshot(xid)));
    }

    #[test]
    fn what_was_delivered_and_is_still_invisible_is_replayed_by_whoever_restores() {
        let first = Ledger::new(64, 64);
        first.begin_epoch(EPOCH, Position(10), None);
        first.apply(&message(10, 20, 1)).unwrap();
        first.apply(&message(20, 30, 2)).unwrap();
        ask(&first, 30, 30);
        let saved = first.save().unwrap();
        assert_eq!((saved.start, saved.floor), (Position(10), Position(29)), "30 is not visible yet");

        let second = Ledger::new(64, 64);
        second.restore(&SavedLedger::decode(&saved.encode()).unwrap()).unwrap();
        assert_eq!((second.applied(), second.epoch()), (Position(29), Some(EPOCH)));
        assert_eq!(second.last_change(&[Tag(1)]), Position(20));
        second.apply(&message(29, 30, 2)).unwrap();
        let load = second.begin_load(Nanos(2), 1);
        let seen = Seen { snapshot: snapshot(30), upper: Position(30), epoch: EPOCH };
        let (_, kept) =
            load.admit(Tags::from_slice(&[Tag(2)]), seen, |proof| std::sync::Arc::new(Held(proof)));
        assert_eq!(kept, Err(Rejected::MissedChange));
    }

    #[test]
    fn entries_proven_before_the_start_of_the_array_are_not_adopted() {
        let first = Ledger::new(64, 64);
        first.begin_epoch(EPOCH, Position(10), None);
        first.apply(&message(10, 20, 1)).unwrap();
        ask(&first, 20, 21);
        let second = Ledger::new(64, 64);
        second.restore(&first.save().unwrap()).unwrap();
        let adopt = |at| second.adopt(Tags::new(), Position(5), Position(at), EPOCH, 1).map(drop);
        assert_eq!(adopt(9), Err(Rejected::Interrupted));
        assert_eq!(adopt(10), Ok(()));
    }

    #[test]
    fn after_a_gap_what_others_proved_before_it_is_not_adopted() {
        let ledger = Ledger::new(64, 64);
        ledger.begin_epoch(EPOCH, Position(10), None);
        ledger.apply(&message(10, 20, 1)).unwrap();
        ask(&ledger, 20, 21);
        let adopt = |at| ledger.adopt(Tags::new(), Position(5), Position(at), EPOCH, 1).map(drop);
        assert_eq!(adopt(15), Ok(()));
        ledger.freeze(crate::proof::Barrier { xid: Xid(30), end: Position(20) });
        assert_eq!(
            adopt(19),
            Err(Rejected::Interrupted),
            "another node may have been told less than this one"
        );
        assert_eq!(adopt(20), Ok(()));
        assert_eq!(ledger.save(), None);
        ask(&ledger, 20, 31);
        assert_eq!(ledger.save().unwrap().start, Position(20));
    }

    #[test]
    fn a_ledger_without_a_floor_is_not_saved_and_one_of_another_size_not_restored() {
        let ledger = Ledger::new(64, 64);
        assert_eq!(ledger.save(), None);
        let barrier = crate::proof::Barrier { xid: Xid(5), end: Position(10) };
        ledger.begin_epoch(EPOCH, Position(10), Some(barrier));
        assert_eq!(ledger.save(), None);
        ask(&ledger, 10, 6);
        let saved = ledger.save().unwrap();
        assert_eq!(Ledger::new(128, 64).restore(&saved), Err(BadSave::Buckets { saved: 64, here: 128 }));
    }

    /// Whole, and of nothing that a ledger can be.
    #[test]
    fn what_no_ledger_can_have_been_is_malformed() {
        let saved = |start, floor, raised: &[(u32, u64)]| SavedLedger {
            epoch: EPOCH,
            start: Position(start),
            floor: Position(floor),
            buckets: 64,
            raised: raised.iter().map(|(index, position)| (*index, Position(*position))).collect(),
        };
        let read = |saved: SavedLedger| SavedLedger::decode(&saved.encode());
        for good in [saved(3, 7, &[(0, 5), (63, 6)]), saved(7, 7, &[])] {
            assert_eq!(read(good.clone()), Ok(good));
        }
        for bad in [
            saved(8, 7, &[]),
            saved(3, u64::MAX, &[]),
            saved(3, 7, &[(5, 5), (5, 6)]),
            saved(3, 7, &[(5, 5), (4, 6)]),
            saved(3, 7, &[(5, 5), (64, 6)]),
            saved(3, 7, &[(64, 6), (5, 5)]),
        ] {
            assert_eq!(read(bad.clone()), Err(BadSave::Malformed), "{bad:?}");
        }
        // One bucket more than it says.
        let mut bytes = saved(3, 7, &[(1, 5), (2, 6)]).encode();
        bytes.truncate(bytes.len() - SUM_BYTES);
        let count_at = HEADER_BYTES - 4;
        bytes[count_at] = 1;
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        assert_eq!(SavedLedger::decode(&bytes), Err(BadSave::Malformed));
    }

    struct Held(crate::proof::Proof);

    impl crate::proof::Carrier for Held {
        fn proof(&self) -> &crate::proof::Proof {
            &self.0
        }

        fn settled(self: std::sync::Arc<Self>) {}
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_damage_is_noticed(
            raised in proptest::collection::btree_map(0_u32..1024, 1_u64..u64::MAX, 0..50),
            cut in 0_usize..200, flip in 0_usize..4000,
        ) {
            let raised = raised.into_iter().map(|(i, p)| (i, Position(p))).collect();
            let saved = SavedLedger { epoch: EPOCH, start: Position(3), floor: Position(7), buckets: 1024, raised };
            let bytes = saved.encode();
            prop_assert_eq!(bytes.len(), HEADER_BYTES + saved.raised.len() * BUCKET_BYTES + SUM_BYTES);
            prop_assert_eq!(SavedLedger::decode(&bytes), Ok(saved));
            let cut = cut % bytes.len();
            prop_assert_eq!(SavedLedger::decode(&bytes[..cut]), Err(BadSave::Malformed));
            let mut flipped = bytes.clone();
            let at = flip % flipped.len();
            flipped[at] ^= 1;
            prop_assert_eq!(SavedLedger::decode(&flipped), Err(BadSave::Malformed));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SavedLedger::decode(&bytes);
        }
    }
}
