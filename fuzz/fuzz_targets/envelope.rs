//! Any bytes in place of an entry: never a panic, and whatever is accepted is exactly what was sealed.
#![no_main]

use bytes::Bytes;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use trueup_core::entry::{Body, Envelope, EnvelopeRef, EpochId, Expected, Header, KeyRing};

const SECRET: [u8; 32] = *b"\x00123456789abcdef0123456789abcdef";
const KEY_DIGEST: [u8; 32] = [7; 32];
const CLASS_DIGEST: [u8; 16] = [1; 16];
const HEADER_BYTES: usize = 96;
const MAC_BYTES: usize = 16;
/// The most that a value may unpack to.
const VALUE_BYTES_MAX: usize = 1 << 16;

fn ring() -> KeyRing {
    let text: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    KeyRing::parse(&text).expect("the target's own secret is well formed")
}

/// Decodes `bytes`; if they are accepted, the entry read must encode to the same bytes: an entry has one form. (An encrypted
/// one is written with other random bytes each time.) Whatever a value unpacks to stays within its bound.
fn check(bytes: &[u8], keys: &KeyRing) -> bool {
    let expected = Expected { class_digest: CLASS_DIGEST, key_digest: &KEY_DIGEST, keys };
    let (whole, mut room) = (Bytes::copy_from_slice(bytes), Vec::new());
    let Ok(read) = EnvelopeRef::decode(&whole, &expected, &mut room) else { return false };
    if let Ok(Some(value)) = read.value(&whole, VALUE_BYTES_MAX) {
        assert!(value.len() <= VALUE_BYTES_MAX.max(bytes.len()));
    }
    let tags: Vec<u64> = read.tags.iter().collect();
    let again = Envelope { header: read.header, tags: &tags, body: read.body };
    if read.was_encrypted() {
        let again = again.encrypt(&KEY_DIGEST, keys.sealing()).expect("what was read can be written");
        assert_eq!(again[..HEADER_BYTES], bytes[..HEADER_BYTES]);
    } else {
        assert_eq!(again.encode(&KEY_DIGEST, keys.sealing()).expect("what was read can be written"), bytes);
    }
    true
}

/// `data` with everything put right that a blind mutation never hits: prefix, key id, class, value length, MAC. The compression is
/// the data's own choice of the two there are.
fn made_plausible(data: &[u8], keys: &KeyRing) -> Option<Vec<u8>> {
    let mut bytes = data.to_vec();
    let tag_count = u16::from_le_bytes([*data.get(10)?, *data.get(11)?]);
    let value_bytes = data.len().checked_sub(HEADER_BYTES + usize::from(tag_count) * 8)?;
    bytes[..6].copy_from_slice(b"\x89TUP\x01\x01");
    bytes[6] &= 1;
    bytes[12..16].copy_from_slice(&keys.sealing().id().0.to_le_bytes());
    bytes[16..32].copy_from_slice(&CLASS_DIGEST);
    bytes[88..92].copy_from_slice(&u32::try_from(value_bytes).ok()?.to_le_bytes());
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&SECRET).ok()?;
    let mac = mac.chain_update(KEY_DIGEST).chain_update(&bytes).finalize().into_bytes();
    bytes.extend_from_slice(&mac[..MAC_BYTES]);
    Some(bytes)
}

/// An entry whose parts the data chooses, encrypted as a node would.
fn encrypted(data: &[u8], keys: &KeyRing) -> Option<Vec<u8>> {
    let (positions, rest) = data.split_first_chunk::<16>()?;
    let (first, second) = (u64::from(positions[0]), u64::from(positions[1]));
    let header = Header {
        class_digest: CLASS_DIGEST,
        epoch: EpochId::from_bytes(*positions),
        created_ms: first,
        life_ms: second,
        upper: first.min(second),
        proven_at: first.max(second),
        row_version: (positions[2] & 1 == 1).then_some(first),
    };
    let body = if positions[2] & 2 == 2 { Body::Packed(rest) } else { Body::Value(rest) };
    let tags = [first, second];
    let envelope = Envelope { header, tags: &tags[..usize::from(positions[3] % 3)], body };
    envelope.encrypt(&KEY_DIGEST, keys.sealing()).ok().map(|bytes| bytes.to_vec())
}

/// Any one bit changed, chosen by the data itself, and the entry is refused.
fn refuses_a_change(mut genuine: Vec<u8>, data: &[u8], keys: &KeyRing) {
    let bit = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let bit = bit % (genuine.len() * 8);
    genuine[bit / 8] ^= 1 << (bit % 8);
    assert!(!check(&genuine, keys), "bit {bit} may change");
}

fuzz_target!(|data: &[u8]| {
    let keys = ring();
    assert!(!check(data, &keys), "unsealed bytes were accepted");
    if let Some(sealed) = made_plausible(data, &keys)
        && check(&sealed, &keys)
    {
        refuses_a_change(sealed, data, &keys);
    }
    if let Some(encrypted) = encrypted(data, &keys) {
        assert!(check(&encrypted, &keys), "what was encrypted is read back");
        refuses_a_change(encrypted, data, &keys);
    }
});
