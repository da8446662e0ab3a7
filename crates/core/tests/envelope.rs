//! The envelope's promises: what was sealed comes back, everything else is refused with a reason, and the bytes of
//! earlier releases stay readable.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use trueup_core::{
    entry::{
        Body, ENCRYPTED_OVERHEAD_BYTES, ENVELOPE_OVERHEAD_BYTES, EncodeError, Envelope, EnvelopeError,
        EnvelopeRef, EpochId, EpochParts, Expected, Header, KeyRing, LIFE_UNBOUNDED_MS,
    },
    limits::TAGS_PER_ENTRY_MAX,
};

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_SECRET: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn ring(text: &str) -> KeyRing {
    KeyRing::parse(text).unwrap()
}

fn key_digest() -> [u8; 32] {
    Sha256::digest(b"product/id=42").into()
}

fn class_digest() -> [u8; 16] {
    *Sha256::digest(b"class product").first_chunk().unwrap()
}

fn header() -> Header {
    let parts = EpochParts { system_id: 1, timeline: 2, feed_nonce: 3, generation: 4 };
    Header {
        class_digest: class_digest(),
        epoch: EpochId::new(&parts),
        created_ms: 1_700_000_000_123,
        life_ms: 60_000,
        upper: 1000,
        proven_at: 1007,
        row_version: Some(7),
    }
}

const TAGS: [u64; 2] = [11, 0xFEDC_BA98_7654_3210];
const VALUE: &[u8] = br#"{"id":42,"price":"19.90"}"#;

fn sample() -> Vec<u8> {
    let envelope = Envelope { header: header(), tags: &TAGS, body: Body::Value(VALUE) };
    envelope.encode(&key_digest(), ring(SECRET).sealing()).unwrap().to_vec()
}

/// The reason for which `bytes` are refused where the sample is expected.
fn refusal(bytes: &[u8]) -> Option<EnvelopeError> {
    refusal_of(bytes, class_digest(), &key_digest(), &ring(SECRET))
}

fn refusal_of(bytes: &[u8], class: [u8; 16], key: &[u8; 32], keys: &KeyRing) -> Option<EnvelopeError> {
    EnvelopeRef::decode(bytes, &Expected { class_digest: class, key_digest: key, keys }, &mut Vec::new())
        .err()
}

mod fixtures {
    use super::*;

    /// Reads `bytes` as `envelope`, field by field, and writes `envelope` as `bytes`.
    fn check(bytes: &[u8], envelope: &Envelope<'_>) {
        let (keys, key_digest) = (ring(SECRET), key_digest());
        let expected = Expected { class_digest: class_digest(), key_digest: &key_digest, keys: &keys };
        let mut room = Vec::new();
        let read = EnvelopeRef::decode(bytes, &expected, &mut room).unwrap();
        assert_eq!(read.header, envelope.header);
        assert_eq!(read.tags.iter().collect::<Vec<_>>(), envelope.tags);
        assert_eq!(read.body, envelope.body);
        assert_eq!(envelope.encode(&key_digest, keys.sealing()).unwrap(), bytes);
    }

    #[test]
    fn v1_value() {
        let envelope = Envelope { header: header(), tags: &TAGS, body: Body::Value(VALUE) };
        check(include_bytes!("fixtures/envelope/v1-value.bin"), &envelope);
    }

    #[test]
    fn v1_absent() {
        let header = Header {
            created_ms: 1_700_000_000_456,
            life_ms: LIFE_UNBOUNDED_MS,
            proven_at: 1000,
            row_version: None,
            ..header()
        };
        let envelope = Envelope { header, tags: &TAGS[..1], body: Body::Absent };
        check(include_bytes!("fixtures/envelope/v1-absent.bin"), &envelope);
    }

    #[test]
    fn v1_empty() {
        let header =
            Header { created_ms: 0, life_ms: 0, upper: 0, proven_at: 0, row_version: Some(0), ..header() };
        let envelope = Envelope { header, tags: &[], body: Body::Value(b"") };
        check(include_bytes!("fixtures/envelope/v1-empty.bin"), &envelope);
    }

    #[test]
    fn v1_packed() {
        let bytes = include_bytes!("fixtures/envelope/v1-packed.bin");
        let (keys, key_digest) = (ring(SECRET), key_digest());
        let expected = Expected { class_digest: class_digest(), key_digest: &key_digest, keys: &keys };
        let long = format!("{{\"id\":42,\"name\":\"{}\"}}", "wallet ".repeat(300));
        let whole = Bytes::from_static(bytes);
        let mut room = Vec::new();
        let read = EnvelopeRef::decode(&whole, &expected, &mut room).unwrap();
        assert_eq!(read.value(&whole, long.len()).unwrap().unwrap(), long);
        let limit = long.len() - 1;
        let refused = EnvelopeError::TooLarge { claimed: long.len() as u64, limit };
        assert_eq!(read.value(&whole, limit), Err(refused));
        check(bytes, &Envelope { header: header(), tags: &TAGS[..1], body: read.body });
    }

    #[test]
    fn v1_encrypted() {
        let bytes = Bytes::from_static(include_bytes!("fixtures/envelope/v1-encrypted.bin"));
        let (keys, key_digest) = (ring(SECRET), key_digest());
        let expected = Expected { class_digest: class_digest(), key_digest: &key_digest, keys: &keys };
        let mut room = Vec::new();
        let read = EnvelopeRef::decode(&bytes, &expected, &mut room).unwrap();
        assert_eq!((read.header, read.body), (header(), Body::Value(VALUE)));
        assert_eq!(read.tags.iter().collect::<Vec<_>>(), TAGS);
        assert_eq!(read.value(&bytes, 0).unwrap().unwrap(), VALUE);
    }

    #[test]
    fn v1_extremes() {
        const MOST: u64 = u64::MAX;
        let header = Header {
            created_ms: MOST,
            life_ms: LIFE_UNBOUNDED_MS,
            upper: MOST,
            proven_at: MOST,
            row_version: Some(MOST),
            ..header()
        };
        let tags: Vec<u64> = (0..TAGS_PER_ENTRY_MAX as u64).collect();
        let value: Vec<u8> = (0..=u8::MAX).collect();
        let envelope = Envelope { header, tags: &tags, body: Body::Value(&value) };
        check(include_bytes!("fixtures/envelope/v1-extremes.bin"), &envelope);
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = sample();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(refusal(&changed).is_some(), "bit {bit} may change");
    }
    assert_eq!(refusal(&bytes), None);
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let bytes = sample();
    for length in 0..bytes.len() {
        let expected = if length < ENVELOPE_OVERHEAD_BYTES { "too_short" } else { "length_mismatch" };
        assert_eq!(refusal(&bytes[..length]).map(EnvelopeError::as_str), Some(expected), "{length} bytes");
    }
    let extended = [&bytes[..], &[0]].concat();
    assert_eq!(refusal(&extended).map(EnvelopeError::as_str), Some("length_mismatch"));
}

#[test]
fn each_part_has_its_own_reason() {
    let bytes = sample();
    let last = bytes.len() - 1;
    // (offset of the changed byte, reason), in the order of the fields.
    let cases = [
        (0, "not_ours"),
        (4, "unsupported_version"),
        (5, "unsupported_algorithm"),
        (6, "unsupported_compression"),
        (7, "unknown_kind"),
        (8, "reserved_bits"),
        (9, "reserved_bits"),
        (10, "length_mismatch"),
        (11, "too_many_tags"),
        (12, "unknown_key"),
        (16, "foreign_class"),
        (32, "bad_mac"),
        (48, "bad_mac"),
        (56, "bad_mac"),
        (64, "bad_mac"),
        (72, "bad_mac"),
        (80, "bad_mac"),
        (88, "length_mismatch"),
        (92, "reserved_bits"),
        (96, "bad_mac"),
        (last - 16, "bad_mac"),
        (last, "bad_mac"),
    ];
    for (offset, reason) in cases {
        let mut changed = bytes.clone();
        changed[offset] ^= 0x40;
        assert_eq!(refusal(&changed).map(EnvelopeError::as_str), Some(reason), "byte {offset}");
    }
}

#[test]
fn other_programs_values_are_not_ours() {
    for foreign in [&b"hello, world"[..], b"{\"id\":42}", &[0; 4096], b"TUP\x89\x01"] {
        assert_eq!(refusal(foreign), Some(EnvelopeError::NotOurs));
    }
    assert_eq!(refusal(b""), Some(EnvelopeError::TooShort(0)));
}

#[test]
fn a_later_version_is_refused_by_its_number_however_it_is_laid_out() {
    assert_eq!(refusal(b"\x89TUP\x02"), Some(EnvelopeError::UnsupportedVersion(2)));
    assert_eq!(refusal(b"\x89TUP\x00"), Some(EnvelopeError::UnsupportedVersion(0)));
}

#[test]
fn an_entry_moved_to_another_key_or_class_is_refused() {
    let (bytes, keys) = (sample(), ring(SECRET));
    let other_key: [u8; 32] = Sha256::digest(b"product/id=43").into();
    assert_eq!(refusal_of(&bytes, class_digest(), &other_key, &keys), Some(EnvelopeError::BadMac));
    assert_eq!(refusal_of(&bytes, [9; 16], &key_digest(), &keys), Some(EnvelopeError::ForeignClass));
    // Relabelled for that class by somebody without the secret.
    let mut relabelled = bytes;
    relabelled[16..32].fill(9);
    assert_eq!(refusal_of(&relabelled, [9; 16], &key_digest(), &keys), Some(EnvelopeError::BadMac));
}

#[test]
fn keys_rotate_without_a_gap() {
    let (old, new) = (ring(SECRET), ring(OTHER_SECRET));
    let appended = ring(&format!("{SECRET}\n{OTHER_SECRET}"));
    let promoted = ring(&format!("{OTHER_SECRET}\n{SECRET}"));
    let sealed_by = |keys: &KeyRing| {
        let envelope = Envelope { header: header(), tags: &TAGS, body: Body::Absent };
        envelope.encode(&key_digest(), keys.sealing()).unwrap()
    };
    let read = |bytes: &[u8], keys: &KeyRing| refusal_of(bytes, class_digest(), &key_digest(), keys);
    // Nodes are never more than one step of the rotation apart, and each reads the other's entries.
    for pair in [&old, &appended, &promoted, &new].windows(2) {
        assert_eq!(read(&sealed_by(pair[0]), pair[1]), None);
        assert_eq!(read(&sealed_by(pair[1]), pair[0]), None);
    }
    // A key that was taken out is named, and its entries are gone.
    assert_eq!(read(&sealed_by(&old), &new), Some(EnvelopeError::UnknownKey(old.sealing().id())));
    // A key id is a hint, not a proof: somebody else's seal under our key's name is refused.
    let mut renamed = sealed_by(&old).to_vec();
    renamed[12..16].copy_from_slice(&new.sealing().id().0.to_le_bytes());
    assert_eq!(read(&renamed, &new), Some(EnvelopeError::BadMac));
}

#[test]
fn what_must_not_be_stored_is_not_encoded() {
    let keys = ring(SECRET);
    let encode = |header: Header, tags: &[u64]| {
        let envelope = Envelope { header, tags, body: Body::Absent };
        envelope.encode(&key_digest(), keys.sealing()).map(drop)
    };
    let unsettled = Header { upper: 10, proven_at: 9, ..header() };
    assert_eq!(encode(unsettled, &TAGS), Err(EncodeError::Unsettled { upper: 10, proven_at: 9 }));
    assert_eq!(encode(header(), &[0; TAGS_PER_ENTRY_MAX]), Ok(()));
    for count in [TAGS_PER_ENTRY_MAX + 1, usize::from(u16::MAX) + 2] {
        assert_eq!(encode(header(), &vec![0; count]), Err(EncodeError::TooManyTags(count)));
    }
}

#[test]
fn values_do_not_show_in_logs() {
    let (bytes, keys) = (sample(), ring(SECRET));
    let expected = Expected { class_digest: class_digest(), key_digest: &key_digest(), keys: &keys };
    let shown = format!("{:?}", EnvelopeRef::decode(&bytes, &expected, &mut Vec::new()).unwrap());
    assert!(shown.contains("Value(25 bytes)"), "{shown}");
}

prop_compose! {
    fn any_header()(
        class_digest: [u8; 16],
        epoch: [u8; 16],
        created_ms: u64,
        life_ms: u64,
        positions: (u64, u64),
        row_version: Option<u64>,
    ) -> Header {
        let (upper, proven_at) = (positions.0.min(positions.1), positions.0.max(positions.1));
        let epoch = EpochId::from_bytes(epoch);
        Header { class_digest, epoch, created_ms, life_ms, upper, proven_at, row_version }
    }
}

proptest! {
    #[test]
    fn what_was_sealed_comes_back(
        header in any_header(),
        tags in prop::collection::vec(any::<u64>(), 0..=TAGS_PER_ENTRY_MAX),
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..2000)),
        key_digest: [u8; 32],
    ) {
        let keys = ring(SECRET);
        let body = value.as_deref().map_or(Body::Absent, Body::Value);
        let bytes = Envelope { header, tags: &tags, body }.encode(&key_digest, keys.sealing()).unwrap();
        let value_bytes = value.as_ref().map_or(0, Vec::len);
        prop_assert_eq!(bytes.len(), ENVELOPE_OVERHEAD_BYTES + tags.len() * 8 + value_bytes);
        let expected = Expected { class_digest: header.class_digest, key_digest: &key_digest, keys: &keys };
        let mut room = Vec::new();
        let read = EnvelopeRef::decode(&bytes, &expected, &mut room).unwrap();
        prop_assert_eq!(read.header, header);
        prop_assert_eq!(read.tags.iter().collect::<Vec<_>>(), tags);
        prop_assert_eq!(read.body, body);
    }

    #[test]
    fn what_was_encrypted_comes_back_and_cannot_be_read_without_the_secret(
        header in any_header(),
        tags in prop::collection::vec(any::<u64>(), 0..=TAGS_PER_ENTRY_MAX),
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..2000)),
        key_digest: [u8; 32],
    ) {
        let keys = ring(SECRET);
        let body = value.as_deref().map_or(Body::Absent, Body::Value);
        let bytes = Envelope { header, tags: &tags, body }.encrypt(&key_digest, keys.sealing()).unwrap();
        let value_bytes = value.as_ref().map_or(0, Vec::len);
        prop_assert_eq!(bytes.len(), ENCRYPTED_OVERHEAD_BYTES + tags.len() * 8 + value_bytes);
        let mut room = Vec::new();
        let expected = Expected { class_digest: header.class_digest, key_digest: &key_digest, keys: &keys };
        let read = EnvelopeRef::decode(&bytes, &expected, &mut room).unwrap();
        prop_assert_eq!(read.header, header);
        prop_assert_eq!(read.tags.iter().collect::<Vec<_>>(), tags);
        prop_assert_eq!(read.body, body);
        if let Some(value) = value.filter(|value| value.len() >= 8) {
            prop_assert!(!bytes.windows(value.len()).any(|window| window == value));
        }
    }

    #[test]
    fn no_bytes_panic_and_none_pass_unsealed(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        genuine_prefix in 0..=96_usize,
        encrypted: bool,
    ) {
        let envelope = Envelope { header: header(), tags: &TAGS, body: Body::Value(VALUE) };
        let sample = match encrypted {
            true => envelope.encrypt(&key_digest(), ring(SECRET).sealing()).unwrap().to_vec(),
            false => sample(),
        };
        let kept = genuine_prefix.min(bytes.len());
        bytes[..kept].copy_from_slice(&sample[..kept]);
        prop_assert!(refusal(&bytes).is_some());
    }
}
