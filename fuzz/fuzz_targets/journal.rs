#![no_main]
//! Whatever lies in a journal's folder is a frame or none; what is a frame is written back to the same records.

use libfuzzer_sys::fuzz_target;
use trueup_core::behind::{decode_frame, decode_header, encode_frame, has_frame_after};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const JOURNAL: [u8; 16] = [0; 16];

fuzz_target!(|body: &[u8]| {
    let _ = decode_header(body);
    let _ = decode_frame(&JOURNAL, body);
    let _ = has_frame_after(&JOURNAL, body, 0);
    // With the right length and checksum, so that what stands behind them is read.
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&xxh3_64_with_seed(body, 0).to_le_bytes());
    bytes.extend_from_slice(body);
    if let Some(frame) = decode_frame(&JOURNAL, &bytes) {
        assert_eq!(frame.bytes, bytes.len());
        // Not byte for byte: a row may have been written with other white space, or a column twice.
        let encoded = encode_frame(&JOURNAL, frame.first, &frame.records);
        let again = decode_frame(&JOURNAL, &encoded).expect("it was just encoded");
        assert_eq!((again.first, again.records.len()), (frame.first, frame.records.len()));
        for (a, b) in again.records.iter().zip(&frame.records) {
            assert_eq!((&a.class, &a.key, a.change.as_str()), (&b.class, &b.key, b.change.as_str()));
            assert_eq!(a.change.row().map(|row| row.to_json()), b.change.row().map(|row| row.to_json()));
        }
    }
});
