//! The keys that seal envelopes, and the ring that lets them be rotated.

use std::{fmt, hint::black_box};

use hmac::{Hmac, Mac, digest::KeyInit};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    hex,
    layout::MAC_BYTES,
    secret::{Secret, SecretError},
};
use crate::{env::random::RandomError, limits::KEYS_PER_RING_MAX};

type HmacSha256 = Hmac<Sha256>;

/// SHA-256 works on blocks of this many bytes; HMAC pads its key to one.
const HMAC_BLOCK_BYTES: usize = 64;
/// What is sealed to name a key. No envelope collides with it: an envelope's MAC covers 128 bytes at least.
const KEY_ID_MESSAGE: &[u8] = b"trueup key id v1";

/// Names a key without telling it: derived from the secret, so that nodes agree without being told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0.to_be_bytes())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A secret made ready to seal: the state of HMAC-SHA256 after its key, so that no call hashes the key again.
#[derive(Clone)]
pub struct MacKey {
    id: KeyId,
    prepared: HmacSha256,
}

impl MacKey {
    /// Prepares `secret`.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let prepared = prepare(secret.bytes());
        let tag = prepared.clone().chain_update(KEY_ID_MESSAGE).finalize().into_bytes();
        Self { id: KeyId(u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]])), prepared }
    }

    /// The key's name, as it stands in envelopes.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The MAC that ties `body` (an envelope without its MAC) to the key it is stored under.
    pub(super) fn seal(&self, key_digest: &[u8; 32], body: &[u8]) -> [u8; MAC_BYTES] {
        let full = self.over(key_digest, body).finalize().into_bytes();
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&full[..MAC_BYTES]);
        mac
    }

    /// Whether `mac` is the one of `body` under `key_digest`, in time that does not depend on where they differ.
    pub(super) fn verify(&self, key_digest: &[u8; 32], body: &[u8], mac: &[u8; MAC_BYTES]) -> bool {
        self.over(key_digest, body).verify_truncated_left(mac).is_ok()
    }

    /// A key for another purpose, which `message` names. Its length must be one that no MAC and no other purpose has.
    pub(super) fn derive(&self, message: &[u8]) -> Zeroizing<[u8; Secret::BYTES]> {
        let derived = self.prepared.clone().chain_update(message).finalize().into_bytes();
        let mut key = Zeroizing::new([0; Secret::BYTES]);
        key.copy_from_slice(&derived);
        key
    }

    fn over(&self, key_digest: &[u8; 32], body: &[u8]) -> HmacSha256 {
        self.prepared.clone().chain_update(key_digest).chain_update(body)
    }
}

/// Keys HMAC with `secret`: zero-padded to a block, which is HMAC's own rule for short keys.
fn prepare(secret: &[u8; Secret::BYTES]) -> HmacSha256 {
    let mut block = Zeroizing::new([0; HMAC_BLOCK_BYTES]);
    block[..Secret::BYTES].copy_from_slice(secret);
    KeyInit::new((&*block).into())
}

impl Drop for MacKey {
    fn drop(&mut self) {
        // The prepared state can seal as well as the secret can. Best effort: the write is kept by `black_box`.
        self.prepared = prepare(&[0; Secret::BYTES]);
        black_box(&self.prepared);
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({})", self.id)
    }
}

/// The keys in force: the first seals, all are accepted.
///
/// To rotate without a wave of misses: append the new key on every node, then move it to the front on every node,
/// then (one L2 life later) take the old one out.
#[derive(Clone, Debug)]
pub struct KeyRing {
    sealing: MacKey,
    retired: Vec<MacKey>,
}

/// The text is no key ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// No line holds a secret.
    #[error("the key ring is empty; give one secret a line, the sealing one first (`openssl rand -hex 32`)")]
    Empty,
    /// A line holds no secret.
    #[error("line {line} of the key ring: {error}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        error: SecretError,
    },
    /// The same secret twice.
    #[error("line {line} of the key ring repeats an earlier secret; remove one of them")]
    Repeated {
        /// The later line's number, from 1.
        line: usize,
    },
    /// More keys than rotation needs.
    #[error("the key ring holds more than {KEYS_PER_RING_MAX} secrets; take out the retired ones")]
    TooMany,
}

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self { sealing: MacKey::new(secret), retired: Vec::new() }
    }

    /// A ring of one new random key: what a node that shares L2 with nobody needs.
    ///
    /// # Errors
    /// [`RandomError`] where the system gives no randomness.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::new(&Secret::generate()?))
    }

    /// Reads the contents of a secret file: one secret a line, the sealing one first; blank lines and lines that
    /// start with `#` are skipped.
    ///
    /// # Errors
    /// [`KeyRingError`], which names the line and never repeats it.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut keys: Vec<MacKey> = Vec::new();
        for (index, content) in text.lines().enumerate() {
            let (line, content) = (index + 1, content.trim());
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let secret = Secret::from_hex(content).map_err(|error| KeyRingError::Line { line, error })?;
            let key = MacKey::new(&secret);
            if keys.iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyRingError::Repeated { line });
            }
            if keys.len() == KEYS_PER_RING_MAX {
                return Err(KeyRingError::TooMany);
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let sealing = keys.next().ok_or(KeyRingError::Empty)?;
        Ok(Self { sealing, retired: keys.collect() })
    }

    /// The key that seals.
    #[must_use]
    pub const fn sealing(&self) -> &MacKey {
        &self.sealing
    }

    /// The accepted key named `id`.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&MacKey> {
        std::iter::once(&self.sealing).chain(&self.retired).find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(first: u8) -> String {
        format!("{first:02x}{}", "5a".repeat(31))
    }

    #[test]
    fn the_mac_is_hmac_sha256_of_key_digest_and_body() {
        // Against the crate's own padding of short keys, so that `prepare` cannot drift from the standard.
        let hex = secret(1);
        let key = MacKey::new(&Secret::from_hex(&hex).unwrap());
        let raw = *Secret::from_hex(&hex).unwrap().bytes();
        let standard = <HmacSha256 as Mac>::new_from_slice(&raw).unwrap();
        let expected = standard.chain_update([7; 32]).chain_update(b"body").finalize().into_bytes();
        let mac = key.seal(&[7; 32], b"body");
        assert_eq!(mac, expected[..MAC_BYTES]);
        assert!(key.verify(&[7; 32], b"body", &mac));
        assert!(!key.verify(&[8; 32], b"body", &mac));
        assert!(!key.verify(&[7; 32], b"bodY", &mac));
    }

    #[test]
    fn the_first_line_seals_and_all_are_accepted() {
        let ring = KeyRing::parse(&format!("# since May\n{}\n\n  {}\r\n", secret(1), secret(2))).unwrap();
        let (first, second) = (KeyRing::parse(&secret(1)).unwrap(), KeyRing::parse(&secret(2)).unwrap());
        assert_eq!(ring.sealing().id(), first.sealing().id());
        assert!(ring.find(second.sealing().id()).is_some());
        assert!(second.find(first.sealing().id()).is_none());
    }

    #[test]
    fn bad_rings_are_refused_by_line() {
        assert_eq!(KeyRing::parse("# nothing\n \n").unwrap_err(), KeyRingError::Empty);
        let error = KeyRing::parse(&format!("{}\nhunter2", secret(1))).unwrap_err();
        assert_eq!(error, KeyRingError::Line { line: 2, error: SecretError::NotHex });
        assert!(!error.to_string().contains("hunter2"));
        let twice = format!("{0}\n#\n{0}", secret(1));
        assert_eq!(KeyRing::parse(&twice).unwrap_err(), KeyRingError::Repeated { line: 3 });
        let many: Vec<_> = (0..=KEYS_PER_RING_MAX as u8).map(secret).collect();
        assert_eq!(KeyRing::parse(&many.join("\n")).unwrap_err(), KeyRingError::TooMany);
    }

    #[test]
    fn keys_are_never_shown() {
        let text = secret(1);
        let shown = format!("{:?}", KeyRing::parse(&text).unwrap());
        assert!(shown.starts_with("KeyRing { sealing: MacKey("), "{shown}");
        assert!(!shown.contains("5a5a"), "{shown}");
    }
}
