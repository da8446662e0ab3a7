#![no_main]
//! Whatever another node sends is a message or an error; what is a message is written back to the same bytes.

use libfuzzer_sys::fuzz_target;
use trueup::postgres::fleet::Told;
use xxhash_rust::xxh3::xxh3_64;

fuzz_target!(|body: &[u8]| {
    assert!(Told::decode(body).is_err() || body.len() > 8);
    // With the right checksum, so that what stands before it is read.
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&xxh3_64(body).to_le_bytes());
    if let Ok(told) = Told::decode(&bytes) {
        let encoded = told.encode().expect("it was decoded from fewer bytes than a message may have");
        assert_eq!(&encoded[4..], &bytes[..]);
    }
});
