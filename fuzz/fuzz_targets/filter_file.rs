#![no_main]
//! Whatever lies where a saved filter is expected is one or none; what is one is written back to the same bytes.

use libfuzzer_sys::fuzz_target;
use trueup_core::proof::{RowFilter, Tag, read_filter, write_filter};
use xxhash_rust::xxh3::xxh3_64;

const WORDS: u64 = 2;
const HASHES: u32 = 3;
/// Magic, version, shape, tags of the table, epoch, position, entries.
const BEFORE_SIZE: usize = 8 + 16 + 8 + 8 + 16 + 8 + 8;

fuzz_target!(|body: &[u8]| {
    let _ = read_filter(body, WORDS, HASHES);
    // With the right beginning, size and checksum, so that what stands behind them is read.
    let mut bytes = b"trueupB1".to_vec();
    bytes.extend_from_slice(body);
    if let Some(size) = bytes.get_mut(BEFORE_SIZE..BEFORE_SIZE + 12) {
        size[..4].copy_from_slice(&HASHES.to_le_bytes());
        size[4..].copy_from_slice(&WORDS.to_le_bytes());
    }
    let sum = xxh3_64(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    if let Ok((head, bits)) = read_filter(&*bytes, WORDS, HASHES) {
        let mut again = Vec::new();
        write_filter(&head, bits.iter().copied(), &mut again).expect("memory takes it");
        assert_eq!(again, bytes);
        let filter = RowFilter::saved(&head, bits);
        filter.insert(Tag(1));
        assert!(filter.may_hold(Tag(1)) && filter.place().is_none());
    }
});
