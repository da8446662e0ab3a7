//! Any bytes in place of an entry: never a panic, and whatever is accepted is exactly what was sealed.
#![no_main]

use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use trueup_core::entry::{Envelope, EnvelopeRef, Expected, KeyRing};

const SECRET: [u8; 32] = *b"\x00123456789abcdef0123456789abcdef";
const KEY_DIGEST: [u8; 32] = [7; 32];
const CLASS_DIGEST: [u8; 16] = [1; 16];
const HEADER_BYTES: usize = 96;
const MAC_BYTES: usize = 16;

fn ring() -> KeyRing {
    let text: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    KeyRing::parse(&text).expect("the target's own secret is well formed")
}

/// Decodes `bytes`; if they are accepted, the entry read must encode to the same bytes: an entry has one form.
fn check(bytes: &[u8], keys: &KeyRing) -> bool {
    let expected = Expected { class_digest: CLASS_DIGEST, key_digest: &KEY_DIGEST, keys };
    let Ok(read) = EnvelopeRef::decode(bytes, &expected) else { return false };
    let tags: Vec<u64> = read.tags.iter().collect();
    let again = Envelope { header: read.header, tags: &tags, body: read.body };
    let again = again.encode(&KEY_DIGEST, keys.sealing()).expect("what was read can be written");
    assert_eq!(again, bytes);
    true
}

/// `data` with everything put right that a blind mutation never hits: prefix, key id, class, value length, MAC.
fn made_plausible(data: &[u8], keys: &KeyRing) -> Option<Vec<u8>> {
    let mut bytes = data.to_vec();
    let tag_count = u16::from_le_bytes([*data.get(10)?, *data.get(11)?]);
    let value_bytes = data.len().checked_sub(HEADER_BYTES + usize::from(tag_count) * 8)?;
    bytes[..7].copy_from_slice(b"\x89TUP\x01\x01\x00");
    bytes[12..16].copy_from_slice(&keys.sealing().id().0.to_le_bytes());
    bytes[16..32].copy_from_slice(&CLASS_DIGEST);
    bytes[88..92].copy_from_slice(&u32::try_from(value_bytes).ok()?.to_le_bytes());
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&SECRET).ok()?;
    let mac = mac.chain_update(KEY_DIGEST).chain_update(&bytes).finalize().into_bytes();
    bytes.extend_from_slice(&mac[..MAC_BYTES]);
    Some(bytes)
}

fuzz_target!(|data: &[u8]| {
    let keys = ring();
    assert!(!check(data, &keys), "unsealed bytes were accepted");
    let Some(mut sealed) = made_plausible(data, &keys) else { return };
    if check(&sealed, &keys) {
        // Any one bit changed, chosen by the data itself, and the entry is refused.
        let bit =
            data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let bit = bit % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(!check(&sealed, &keys), "bit {bit} may change");
    }
});
