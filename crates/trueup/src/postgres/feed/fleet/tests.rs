use proptest::prelude::*;
use trueup_core::{
    entry::EpochId,
    proof::{Message, Position, SavedLedger, Tag, Transaction, Xid},
};

use super::{
    message::{LENGTH_BYTES, Told},
    ring::{After, Ring},
    saved::{Ends, Saved},
};
use crate::postgres::identity::Instance;

const EPOCH: EpochId = EpochId::from_bytes([3; 16]);

fn told(previous: u64, end: u64) -> Told {
    let transactions = vec![Transaction { xid: Xid(end), end: Position(end), tags: vec![Tag(end), Tag(7)] }];
    let (previous, end) = (Position(previous), Position(end));
    let message = Message { epoch: EPOCH, connection: 1, previous, end, transactions };
    Told { message, committed_at_us: vec![5], mapping: [1; 16], beat: 9, taken_at_us: 8 }
}

fn after(ring: &Ring, from: u64) -> Option<Vec<u64>> {
    match ring.after(EPOCH, Position(from)) {
        After::Messages(messages, end) => {
            let ends: Vec<u64> =
                messages.iter().map(|m| Told::decode(&m[LENGTH_BYTES..]).unwrap().message.end.0).collect();
            assert_eq!(ends.last(), Some(&end.0));
            Some(ends)
        }
        After::Nothing => Some(Vec::new()),
        After::Gone => None,
    }
}

#[test]
fn what_follows_a_position_is_told_also_from_within_a_message() {
    let ring = Ring::new(1 << 20);
    assert_eq!(after(&ring, 10), None);
    for (previous, end) in [(10, 20), (20, 30), (30, 40)] {
        ring.push(&told(previous, end));
    }
    assert_eq!(after(&ring, 10), Some(vec![20, 30, 40]));
    assert_eq!(after(&ring, 29), Some(vec![30, 40]), "a floor lies just below a commit's end");
    assert_eq!(after(&ring, 40), Some(vec![]));
    assert_eq!((after(&ring, 9), after(&ring, 41)), (None, Some(vec![])));
    assert_eq!(ring.after(EpochId::from_bytes([4; 16]), Position(20)), After::Gone);
}

#[test]
fn what_does_not_continue_begins_anew_and_what_is_known_is_left_out() {
    let ring = Ring::new(1 << 20);
    for (previous, end) in [(10, 20), (20, 30)] {
        ring.push(&told(previous, end));
    }
    ring.push(&told(10, 20));
    ring.push(&told(25, 35));
    assert_eq!(after(&ring, 20), Some(vec![30, 35]));
    ring.push(&told(36, 40));
    assert_eq!((after(&ring, 20), after(&ring, 36)), (None, Some(vec![40])));
}

#[test]
fn the_ring_is_bounded_in_bytes() {
    let size = told(0, 1).encode().unwrap().len();
    let ring = Ring::new(3 * size);
    for i in 0..100 {
        ring.push(&told(10 * i, 10 * i + 10));
    }
    assert_eq!((after(&ring, 960), after(&ring, 970)), (None, Some(vec![980, 990, 1000])));
}

#[test]
fn the_slot_is_confirmed_to_ends_of_records_only() {
    let ends = Ends::default();
    assert_eq!(ends.at_or_below(Position(5)), None);
    [10, 20, 20, 30].into_iter().for_each(|end| ends.push(Position(end)));
    assert_eq!(ends.at_or_below(Position(9)), None);
    assert_eq!(
        ends.at_or_below(Position(29)),
        Some(Position(20)),
        "29 may lie within the record that ends at 30"
    );
    assert_eq!(ends.at_or_below(Position(29)), Some(Position(20)), "again");
    assert_eq!(ends.at_or_below(Position(30)), Some(Position(30)));
    (0..200_000).for_each(|end| ends.push(Position(100 + end)));
    let confirmed = ends.at_or_below(Position(150_000)).unwrap();
    assert!(confirmed <= Position(150_000) && confirmed > Position(149_000), "{confirmed}");
}

#[test]
fn a_ledger_comes_back_from_disk_and_damage_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    assert_eq!(Saved::read(&state).unwrap(), None);
    let (start, floor) = (Position(3), Position(7));
    let ledger = SavedLedger { epoch: EPOCH, start, floor, buckets: 64, raised: vec![(5, Position(6))] };
    let saved = Saved { beat: 4, instance: Instance(1_700_000_000_000_000), ledger };
    for beat in [4, 5] {
        let saved = Saved { beat, ..saved.clone() };
        saved.write(&state).unwrap();
        assert_eq!(Saved::read(&state).unwrap(), Some(saved));
    }
    let file = state.join("ledger");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(Saved::read(&state).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn the_bytes_are_part_of_the_format_and_never_move() {
    let bytes = told(10, 20).encode().unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "81000000\
         02\
         03030303030303030303030303030303\
         0100000000000000\
         0a00000000000000\
         1400000000000000\
         01010101010101010101010101010101\
         0900000000000000\
         0800000000000000\
         01000000\
         14000000000000001400000000000000050000000000000002000000\
         14000000000000000700000000000000\
         "
        .to_owned()
            + &hex[hex.len() - 16..]
    );
}

proptest! {
    #[test]
    fn messages_round_trip_and_damage_is_noticed(
        transactions in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), proptest::collection::vec(any::<u64>(), 0..5)), 0..6),
        numbers: [u64; 5], mapping: [u8; 16], cut in 0_usize..1000, flip in 0_usize..1000,
    ) {
        let committed_at_us = transactions.iter().map(|t| t.2).collect();
        let transactions = transactions
            .into_iter()
            .map(|(xid, end, _, tags)| Transaction { xid: Xid(xid), end: Position(end), tags: tags.into_iter().map(Tag).collect() })
            .collect();
        let [connection, previous, end, beat, taken_at_us] = numbers;
        let (previous, end) = (Position(previous), Position(end));
        let message = Message { epoch: EPOCH, connection, previous, end, transactions };
        let told = Told { message, committed_at_us, mapping, beat, taken_at_us };
        let bytes = told.encode().unwrap();
        let body = &bytes[LENGTH_BYTES..];
        prop_assert_eq!(Told::decode(body), Ok(told));
        prop_assert!(Told::decode(&body[..cut % body.len()]).is_err());
        let mut flipped = body.to_vec();
        flipped[flip % body.len()] ^= 1;
        prop_assert!(Told::decode(&flipped).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Told::decode(&bytes);
    }
}

#[test]
fn who_is_told_is_let_go_when_the_node_ends() {
    let ring = Ring::new(1 << 20);
    ring.push(&told(10, 20));
    assert_eq!(after(&ring, 20), Some(vec![]));
    ring.close();
    assert_eq!(after(&ring, 20), None);
}
