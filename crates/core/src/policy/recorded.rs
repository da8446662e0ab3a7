//! Hot keys as they are kept over a restart: see `docs/format.md`.
//!
//! Keys may be personal data. Nothing here shows one: not `Debug`, not an error.

use compact_str::CompactString;

use crate::limits;

/// Begins every record; the digit after it is the version of the format.
const MAGIC: &[u8; 7] = b"trueupH";
/// The version that is written and read.
const VERSION: u8 = b'1';
/// Magic, version, time, number of classes.
const HEADER_BYTES: usize = 7 + 1 + 8 + 4;
/// Count, error and length of the text of one key.
const KEY_HEADER_BYTES: usize = 8 + 8 + 2;
/// Length of the name and number of keys of one class.
const CLASS_HEADER_BYTES: usize = 2 + 4;
/// Checksum over everything before it.
const SUM_BYTES: usize = 8;

/// A key that was read often, as far as samples of the reads show.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordedKey {
    /// Its text, in the normal form of its class.
    pub key: CompactString,
    /// How often it was sampled, at most.
    pub count: u64,
    /// By how much that may be too high.
    pub error: u64,
}

impl std::fmt::Debug for RecordedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordedKey({} bytes, {} - {})", self.key.len(), self.count, self.error)
    }
}

/// The hot keys of one class, the hottest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedClass {
    /// The class.
    pub name: CompactString,
    /// Its keys.
    pub keys: Vec<RecordedKey>,
}

/// The hot keys of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedKeys {
    /// When they were written, in milliseconds since 1970; for people.
    pub written_unix_ms: u64,
    /// The classes.
    pub classes: Vec<RecordedClass>,
}

/// Bytes that are no record of hot keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Cut short or damaged.
    #[error("it is damaged")]
    Damaged,
    /// Written by another version of the program.
    #[error("it is of another version of the format")]
    Version,
}

impl RecordedKeys {
    /// How many keys there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.iter().map(|class| class.keys.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let texts = |class: &RecordedClass| class.keys.iter().map(|key| key.key.len()).sum::<usize>();
        let keys: usize = self.classes.iter().map(|c| c.keys.len() * KEY_HEADER_BYTES + texts(c)).sum();
        let names: usize = self.classes.iter().map(|c| c.name.len() + CLASS_HEADER_BYTES).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + names + keys + SUM_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.written_unix_ms.to_le_bytes());
        bytes.extend_from_slice(&(self.classes.len() as u32).to_le_bytes());
        for class in &self.classes {
            put_text(&mut bytes, &class.name);
            bytes.extend_from_slice(&(class.keys.len() as u32).to_le_bytes());
            for key in &class.keys {
                bytes.extend_from_slice(&key.count.to_le_bytes());
                bytes.extend_from_slice(&key.error.to_le_bytes());
                put_text(&mut bytes, &key.key);
            }
        }
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what [`RecordedKeys::encode`] wrote.
    ///
    /// # Errors
    /// [`BadRecord`] for anything else; allocates no more than `bytes` hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let after_magic = bytes.strip_prefix(MAGIC).ok_or(BadRecord::Damaged)?;
        if *after_magic.first().ok_or(BadRecord::Damaged)? != VERSION {
            return Err(BadRecord::Version);
        }
        let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(BadRecord::Damaged)?;
        if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(BadRecord::Damaged);
        }
        let mut rest = body.get(MAGIC.len() + 1..).ok_or(BadRecord::Damaged)?;
        let written_unix_ms = u64::from_le_bytes(take(&mut rest)?);
        let classes_count = u32::from_le_bytes(take(&mut rest)?) as usize;
        let mut classes = Vec::with_capacity(classes_count.min(rest.len() / CLASS_HEADER_BYTES));
        for _ in 0..classes_count {
            let name = take_text(&mut rest)?;
            let count = u32::from_le_bytes(take(&mut rest)?) as usize;
            let mut keys = Vec::with_capacity(count.min(rest.len() / KEY_HEADER_BYTES));
            for _ in 0..count {
                let (count, error) =
                    (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
                keys.push(RecordedKey { key: take_text(&mut rest)?, count, error });
            }
            classes.push(RecordedClass { name, keys });
        }
        if rest.is_empty() { Ok(Self { written_unix_ms, classes }) } else { Err(BadRecord::Damaged) }
    }
}

/// No name and no key is longer than its length can say.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    const _: () = assert!(limits::KEY_BYTES_MAX <= u16::MAX as usize);
    let text = &text[..text.floor_char_boundary(u16::MAX as usize)];
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text(rest: &mut &[u8]) -> Result<CompactString, BadRecord> {
    let length = u16::from_le_bytes(take(rest)?) as usize;
    let (text, left) = rest.split_at_checked(length).ok_or(BadRecord::Damaged)?;
    *rest = left;
    CompactString::from_utf8(text).map_err(|_| BadRecord::Damaged)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadRecord> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(BadRecord::Damaged)?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded() -> impl Strategy<Value = RecordedKeys> {
        let key = ("[ -~é]{0,40}", any::<u64>(), any::<u64>()).prop_map(|(key, count, error)| RecordedKey {
            key: key.into(),
            count,
            error,
        });
        let class = ("[a-z]{1,9}", proptest::collection::vec(key, 0..9))
            .prop_map(|(name, keys)| RecordedClass { name: name.into(), keys });
        (any::<u64>(), proptest::collection::vec(class, 0..5))
            .prop_map(|(written_unix_ms, classes)| RecordedKeys { written_unix_ms, classes })
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = RecordedKeys::default().encode();
        bytes[MAGIC.len()] = b'0';
        assert_eq!(RecordedKeys::decode(&bytes), Err(BadRecord::Version));
        assert_eq!(RecordedKeys::decode(b"trueupH"), Err(BadRecord::Damaged));
        assert_eq!(RecordedKeys::decode(b"trueupL1"), Err(BadRecord::Damaged));
    }

    #[test]
    fn no_key_is_shown() {
        let key = RecordedKey { key: "alice@example.org".into(), count: 9, error: 1 };
        let keys = RecordedKeys {
            written_unix_ms: 1,
            classes: vec![RecordedClass { name: "user".into(), keys: vec![key] }],
        };
        assert!(!format!("{keys:?}").contains("alice"));
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_damage_is_noticed(keys in recorded(), cut in 0_usize..4000, flip in 0_usize..32_000) {
            let bytes = keys.encode();
            prop_assert_eq!(RecordedKeys::decode(&bytes), Ok(keys));
            prop_assert!(RecordedKeys::decode(&bytes[..cut % bytes.len()]).is_err());
            let mut flipped = bytes.clone();
            let bit = flip % (8 * flipped.len());
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(RecordedKeys::decode(&flipped).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = RecordedKeys::decode(&bytes);
            let mut whole = b"trueupH1".to_vec();
            whole.extend(bytes);
            let sum = xxhash_rust::xxh3::xxh3_64(&whole);
            whole.extend(sum.to_le_bytes());
            let _ = RecordedKeys::decode(&whole);
        }
    }
}
