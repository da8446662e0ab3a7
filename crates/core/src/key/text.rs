//! The key itself: canonical text, its digest for the remote tier and its hash for memory.

use std::{borrow::Borrow, fmt};

use compact_str::CompactString;
use sha2::{Digest, Sha256};

/// Separates these digests from every other SHA-256 that the project computes.
const DIGEST_DOMAIN: &[u8] = b"trueup key digest 1\0";

/// Hashes keys in memory. Keys come from clients, so each map has its own random seed.
pub type KeyHashBuilder = foldhash::fast::RandomState;

/// The one name of a value within its class: canonical text of scope and key, without the class.
///
/// Made by [`KeyForm`](super::KeyForm) only, so two keys of a class are equal exactly when they name one thing. Texts
/// up to 24 bytes are held inline, without allocation. There is no `Display`, and `Debug` shows the length alone: a
/// key may hold personal data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(CompactString);

impl Key {
    /// Only for a text that a form has made.
    pub(crate) fn from_canonical(text: CompactString) -> Self {
        Self(text)
    }

    /// The key of a value that stands in for any other.
    pub(crate) const fn nobody() -> Self {
        Self(CompactString::const_new(""))
    }

    /// The canonical text, at most [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of the canonical text.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty: the only key of a class without scope and parts, or one empty text.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes held outside the key itself, for weighing an entry; 0 while the text is inline.
    #[inline]
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        if self.0.is_heap_allocated() { self.0.capacity() } else { 0 }
    }

    /// SHA-256 of class and key, the name under which the remote tier stores the entry.
    ///
    /// The class is preceded by its length, so no two pairs of class and key share an input.
    #[must_use]
    pub fn digest(&self, class: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(DIGEST_DOMAIN);
        hash.update((class.len() as u64).to_le_bytes());
        hash.update(class.as_bytes());
        hash.update(self.0.as_bytes());
        hash.finalize().into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

impl Borrow<str> for Key {
    #[inline]
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    #[inline]
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::*;

    fn key(text: &str) -> Key {
        Key::from_canonical(text.into())
    }

    #[test]
    fn the_border_between_class_and_key_is_part_of_the_digest() {
        assert_ne!(key("b").digest("a"), key("").digest("ab"));
        assert_ne!(key("b").digest("a"), key("ab").digest(""));
        assert_eq!(key("b").digest("a"), key("b").digest("a"));
    }

    #[test]
    fn the_digest_is_fixed_for_ever() {
        let hex: String = key("42").digest("user").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "d16f37a8f84e0f86c70ddd0fbb2e332a15df7e61c777ea8d9408ad15c6a8abfe");
    }

    #[test]
    fn a_map_of_keys_is_read_by_text() {
        let mut keys = HashSet::with_hasher(KeyHashBuilder::default());
        keys.insert(key("42"));
        assert!(keys.contains("42") && !keys.contains("43"));
    }

    #[test]
    fn seeds_differ_between_maps() {
        let hashes: HashSet<u64> = (0..4).map(|_| KeyHashBuilder::default().hash_one("42")).collect();
        assert!(hashes.len() > 1);
    }

    #[test]
    fn debug_keeps_the_text_to_itself() {
        assert_eq!(format!("{:?}", key("alice@example.org")), "Key(17 bytes)");
    }
}
