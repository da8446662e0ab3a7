//! Entries that nobody without the secret can read: AES-256-GCM under a key that is derived for each envelope.
//!
//! A random nonce of 96 bits may be drawn 2^32 times under one key, which a fleet uses up in weeks. So 24 random bytes are
//! drawn: the first half derives the key, the second is the nonce (the construction of XAES-256-GCM, with HMAC-SHA256 in
//! place of CMAC). 2^80 envelopes under one secret have a chance of 2^-32 to draw the same.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{
    keys::MacKey,
    layout::{DRAWN_BYTES, GCM_TAG_BYTES, HEADER_BYTES, OFFSET_CLASS_DIGEST},
};

/// What separates derived keys from MACs and key ids. With class digest and randomness it makes 49 bytes, where a MAC covers 128
/// at least and a key id 16.
const KEY_MESSAGE: &[u8; 21] = b"trueup aes-256-gcm v1";
/// Bytes drawn of which the key is derived.
const KEY_SALT_BYTES: usize = DRAWN_BYTES - NONCE_LEN;
const CLASS_DIGEST_BYTES: usize = 16;

/// What stands in the clear of an encrypted envelope, and where it belongs.
pub(super) struct Sealed<'a> {
    /// The fixed part.
    pub(super) header: &'a [u8; HEADER_BYTES],
    /// SHA-256 of the canonical key.
    pub(super) key_digest: &'a [u8; 32],
    /// What key and nonce are made of.
    pub(super) drawn: &'a [u8; DRAWN_BYTES],
}

impl Sealed<'_> {
    /// What is authenticated beside the hidden part: the place, then the header.
    fn associated(&self) -> Aad<[u8; 32 + HEADER_BYTES]> {
        let mut bytes = [0; 32 + HEADER_BYTES];
        bytes[..32].copy_from_slice(self.key_digest);
        bytes[32..].copy_from_slice(self.header);
        Aad::from(bytes)
    }

    fn prepare(&self, key: &MacKey) -> Option<(LessSafeKey, Nonce)> {
        let mut message = Vec::with_capacity(KEY_MESSAGE.len() + CLASS_DIGEST_BYTES + KEY_SALT_BYTES);
        message.extend_from_slice(KEY_MESSAGE);
        message
            .extend_from_slice(&self.header[OFFSET_CLASS_DIGEST..OFFSET_CLASS_DIGEST + CLASS_DIGEST_BYTES]);
        message.extend_from_slice(&self.drawn[..KEY_SALT_BYTES]);
        let derived = key.derive(&message);
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_slice()).ok()?);
        Some((cipher, Nonce::try_assume_unique_for_key(&self.drawn[KEY_SALT_BYTES..]).ok()?))
    }
}

/// Encrypts `hidden` where it stands and returns the tag.
pub(super) fn seal(key: &MacKey, sealed: &Sealed<'_>, hidden: &mut [u8]) -> Option<[u8; GCM_TAG_BYTES]> {
    let (cipher, nonce) = sealed.prepare(key)?;
    let tag = cipher.seal_in_place_separate_tag(nonce, sealed.associated(), hidden).ok()?;
    tag.as_ref().try_into().ok()
}

/// Decrypts `hidden` into `room`, which has its length. False if anything was changed or belongs elsewhere.
pub(super) fn open(
    key: &MacKey,
    sealed: &Sealed<'_>,
    hidden: &[u8],
    tag: &[u8; GCM_TAG_BYTES],
    room: &mut [u8],
) -> bool {
    let Some((cipher, nonce)) = sealed.prepare(key) else { return false };
    cipher.open_separate_gather(nonce, sealed.associated(), hidden, tag, room).is_ok()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::entry::{
        Body, Envelope, EnvelopeError, EnvelopeRef, EpochId, EpochParts, Expected, Header, KeyRing,
    };

    const RING: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const TAGS: [u64; 2] = [11, 0xFEDC_BA98_7654_3210];
    const VALUE: &[u8] = br#"{"id":42,"price":"19.90"}"#;

    fn digest(text: &[u8]) -> [u8; 32] {
        Sha256::digest(text).into()
    }

    fn place() -> [u8; 32] {
        digest(b"product/id=42")
    }

    fn class() -> [u8; 16] {
        *digest(b"class product").first_chunk().unwrap()
    }

    fn envelope() -> Envelope<'static> {
        let parts = EpochParts { system_id: 1, timeline: 2, feed_nonce: 3, generation: 4 };
        let header = Header {
            class_digest: class(),
            epoch: EpochId::new(&parts),
            created_ms: 1_700_000_000_123,
            life_ms: 60_000,
            upper: 1000,
            proven_at: 1007,
            row_version: Some(7),
        };
        Envelope { header, tags: &TAGS, body: Body::Value(VALUE) }
    }

    fn encrypted() -> Vec<u8> {
        let drawn: [u8; DRAWN_BYTES] = std::array::from_fn(|i| 100 + i as u8);
        let keys = KeyRing::parse(RING).unwrap();
        envelope().encrypt_with(&drawn, &place(), keys.sealing()).unwrap().to_vec()
    }

    fn refusal(bytes: &[u8], key_digest: &[u8; 32]) -> Option<EnvelopeError> {
        let keys = KeyRing::parse(RING).unwrap();
        let expected = Expected { class_digest: class(), key_digest, keys: &keys };
        EnvelopeRef::decode(bytes, &expected, &mut Vec::new()).err()
    }

    #[test]
    fn the_fixture_is_written_the_same_today() {
        assert_eq!(encrypted(), include_bytes!("../../tests/fixtures/envelope/v1-encrypted.bin"));
    }

    #[test]
    fn nothing_of_value_version_or_tags_stands_in_the_clear() {
        let bytes = encrypted();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(!holds(b"price") && !holds(&7_u64.to_le_bytes()));
        assert!(!holds(&TAGS[0].to_le_bytes()) && !holds(&TAGS[1].to_le_bytes()));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_and_place_is_refused() {
        let bytes = encrypted();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(refusal(&changed, &place()).is_some(), "bit {bit} may change");
        }
        for length in 0..bytes.len() {
            assert!(refusal(&bytes[..length], &place()).is_some(), "{length} bytes");
        }
        assert_eq!(refusal(&bytes, &[3; 32]), Some(EnvelopeError::BadMac));
        assert_eq!(refusal(&bytes, &place()), None);
    }

    #[test]
    fn the_same_entry_is_never_encrypted_the_same_twice() {
        let keys = KeyRing::parse(RING).unwrap();
        let encrypt = || envelope().encrypt(&place(), keys.sealing()).unwrap();
        assert_ne!(encrypt(), encrypt());
        assert_eq!(refusal(&encrypt(), &place()), None);
    }
}
