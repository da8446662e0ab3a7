//! Reading an envelope: cheap checks first, the MAC before anything is believed, no allocation, no panic.

use super::{
    epoch_id::EpochId,
    error::EnvelopeError,
    keys::{KeyId, KeyRing},
    layout::{
        ALGORITHM_HMAC_SHA256_128, COMPRESSION_NONE, ENVELOPE_OVERHEAD_BYTES, FLAG_ROW_VERSION, HEADER_BYTES,
        Header, KIND_ABSENT, KIND_VALUE, MAGIC, OFFSET_ALGORITHM, OFFSET_CLASS_DIGEST, OFFSET_COMPRESSION,
        OFFSET_CREATED, OFFSET_EPOCH, OFFSET_FLAGS, OFFSET_KEY_ID, OFFSET_KIND, OFFSET_LIFE,
        OFFSET_PROVEN_AT, OFFSET_RESERVED, OFFSET_RESERVED_END, OFFSET_ROW_VERSION, OFFSET_TAG_COUNT,
        OFFSET_UPPER, OFFSET_VALUE_BYTES, OFFSET_VERSION, PREFIX_BYTES, TAG_BYTES, VERSION,
    },
    seal::Body,
};
use crate::limits::TAGS_PER_ENTRY_MAX;

/// What a reader knows before it looks.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Digest of the plan of the class asked for.
    pub class_digest: [u8; 16],
    /// SHA-256 of the canonical key asked for.
    pub key_digest: &'a [u8; 32],
    /// The keys this node accepts.
    pub keys: &'a KeyRing,
}

/// A genuine entry of the expected class and key, borrowed from its bytes.
///
/// Genuine is not yet true: the reader still compares the epoch with its own and checks every tag against
/// `proven_at`.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeRef<'a> {
    /// What the entry is and what was proven of it.
    pub header: Header,
    /// What it depends on.
    pub tags: Tags<'a>,
    /// The value, or that there is none. To keep a value without copying it, take its `Bytes::slice_ref`.
    pub body: Body<'a>,
}

/// The tags of an entry, read where they stand (they need not be aligned there).
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a>(&'a [[u8; TAG_BYTES]]);

impl Tags<'_> {
    /// How many there are; at most [`TAGS_PER_ENTRY_MAX`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the entry depends on nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tags in the order they were written in.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.0.iter().map(|tag| u64::from_le_bytes(*tag))
    }
}

/// The two lengths that the header claims, known to fit the bytes found.
struct Extent {
    tag_count: usize,
    value_bytes: usize,
}

impl<'a> EnvelopeRef<'a> {
    /// Reads `bytes`, which were found where `expected` should be.
    ///
    /// # Errors
    /// [`EnvelopeError`]: the bytes are a miss, for the reason named.
    pub fn decode(bytes: &'a [u8], expected: &Expected<'_>) -> Result<Self, EnvelopeError> {
        let header = fixed_part(bytes)?;
        if field::<16>(header, OFFSET_CLASS_DIGEST) != expected.class_digest {
            return Err(EnvelopeError::ForeignClass);
        }
        let extent = extent(header, bytes.len())?;
        let key_id = KeyId(u32::from_le_bytes(field(header, OFFSET_KEY_ID)));
        let key = expected.keys.find(key_id).ok_or(EnvelopeError::UnknownKey(key_id))?;
        let (sealed, mac) = bytes.split_last_chunk().ok_or(EnvelopeError::TooShort(bytes.len()))?;
        if !key.verify(expected.key_digest, sealed, mac) {
            return Err(EnvelopeError::BadMac);
        }
        Self::open(header, &sealed[HEADER_BYTES..], &extent)
    }

    /// Reads what the MAC has vouched for.
    fn open(header: &[u8; HEADER_BYTES], rest: &'a [u8], extent: &Extent) -> Result<Self, EnvelopeError> {
        let (tags, value) = rest.split_at(extent.tag_count * TAG_BYTES);
        let body = if header[OFFSET_KIND] == KIND_VALUE {
            Body::Value(value)
        } else if extent.value_bytes == 0 {
            Body::Absent
        } else {
            return Err(EnvelopeError::AbsentWithValue);
        };
        let has_version = header[OFFSET_FLAGS] & FLAG_ROW_VERSION != 0;
        let header = Header {
            class_digest: field(header, OFFSET_CLASS_DIGEST),
            epoch: EpochId::from_bytes(field(header, OFFSET_EPOCH)),
            created_ms: u64::from_le_bytes(field(header, OFFSET_CREATED)),
            life_ms: u64::from_le_bytes(field(header, OFFSET_LIFE)),
            upper: u64::from_le_bytes(field(header, OFFSET_UPPER)),
            proven_at: u64::from_le_bytes(field(header, OFFSET_PROVEN_AT)),
            row_version: has_version.then(|| u64::from_le_bytes(field(header, OFFSET_ROW_VERSION))),
        };
        if header.proven_at < header.upper {
            return Err(EnvelopeError::Unsettled);
        }
        Ok(Self { header, tags: Tags(tags.as_chunks().0), body })
    }
}

/// The fixed part of an envelope that this release can read.
fn fixed_part(bytes: &[u8]) -> Result<&[u8; HEADER_BYTES], EnvelopeError> {
    let too_short = EnvelopeError::TooShort(bytes.len());
    let prefix = bytes.first_chunk::<PREFIX_BYTES>().ok_or(too_short)?;
    if !prefix.starts_with(&MAGIC) {
        return Err(EnvelopeError::NotOurs);
    }
    // Other versions may be laid out, and sealed, in any other way: nothing else is looked at before this.
    if prefix[OFFSET_VERSION] != VERSION {
        return Err(EnvelopeError::UnsupportedVersion(prefix[OFFSET_VERSION]));
    }
    if bytes.len() < ENVELOPE_OVERHEAD_BYTES {
        return Err(too_short);
    }
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(too_short)?;
    match (header[OFFSET_ALGORITHM], header[OFFSET_COMPRESSION]) {
        (ALGORITHM_HMAC_SHA256_128, COMPRESSION_NONE) => Ok(header),
        (ALGORITHM_HMAC_SHA256_128, compression) => Err(EnvelopeError::UnsupportedCompression(compression)),
        (algorithm, _) => Err(EnvelopeError::UnsupportedAlgorithm(algorithm)),
    }
}

/// Checks the fields that say how the rest is laid out against the `found` bytes, before any of it is read.
fn extent(header: &[u8; HEADER_BYTES], found: usize) -> Result<Extent, EnvelopeError> {
    let kind = header[OFFSET_KIND];
    if kind != KIND_VALUE && kind != KIND_ABSENT {
        return Err(EnvelopeError::UnknownKind(kind));
    }
    let reserved = field::<4>(header, OFFSET_RESERVED_END);
    if header[OFFSET_FLAGS] & !FLAG_ROW_VERSION != 0 || header[OFFSET_RESERVED] != 0 || reserved != [0; 4] {
        return Err(EnvelopeError::ReservedBits);
    }
    // One entry has one form: a row version that the flags deny would be a second form of the same entry.
    if header[OFFSET_FLAGS] & FLAG_ROW_VERSION == 0 && field::<8>(header, OFFSET_ROW_VERSION) != [0; 8] {
        return Err(EnvelopeError::ReservedBits);
    }
    let tag_count = u16::from_le_bytes(field(header, OFFSET_TAG_COUNT));
    if usize::from(tag_count) > TAGS_PER_ENTRY_MAX {
        return Err(EnvelopeError::TooManyTags(tag_count));
    }
    let value_bytes = u32::from_le_bytes(field(header, OFFSET_VALUE_BYTES));
    let tags_bytes = u64::from(tag_count) * TAG_BYTES as u64;
    let claimed = ENVELOPE_OVERHEAD_BYTES as u64 + tags_bytes + u64::from(value_bytes);
    if claimed != found as u64 {
        return Err(EnvelopeError::LengthMismatch { claimed, found });
    }
    // Equal to `found` in sum, so each part fits a usize.
    Ok(Extent { tag_count: usize::from(tag_count), value_bytes: value_bytes as usize })
}

/// The `N` bytes at `offset`. Offsets are constants of `layout`, all within the header.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[offset..offset + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::{
        super::{layout::MAC_BYTES, seal::Envelope},
        *,
    };

    const RING: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const KEY_DIGEST: [u8; 32] = [2; 32];
    const HEADER: Header = Header {
        class_digest: [1; 16],
        epoch: EpochId::from_bytes([3; 16]),
        created_ms: 4,
        life_ms: 5,
        upper: 6,
        proven_at: 7,
        row_version: None,
    };

    /// What a reader says of an entry that a faulty writer changed by `patch` and then sealed properly.
    fn reason_after(patch: impl FnOnce(&mut Vec<u8>)) -> Result<(), EnvelopeError> {
        let keys = KeyRing::parse(RING).unwrap();
        let envelope = Envelope { header: HEADER, tags: &[8, 9], body: Body::Value(b"value") };
        let mut bytes = envelope.encode(&KEY_DIGEST, keys.sealing()).unwrap().to_vec();
        bytes.truncate(bytes.len() - MAC_BYTES);
        patch(&mut bytes);
        let mac = keys.sealing().seal(&KEY_DIGEST, &bytes);
        bytes.extend_from_slice(&mac);
        let expected = Expected { class_digest: [1; 16], key_digest: &KEY_DIGEST, keys: &keys };
        EnvelopeRef::decode(&bytes, &expected).map(drop)
    }

    #[test]
    fn a_genuine_seal_does_not_excuse_a_writers_fault() {
        use EnvelopeError as E;
        assert_eq!(reason_after(|_| ()), Ok(()));
        assert_eq!(reason_after(|b| b[OFFSET_KIND] = KIND_ABSENT), Err(E::AbsentWithValue));
        assert_eq!(reason_after(|b| b[OFFSET_KIND] = 2), Err(E::UnknownKind(2)));
        assert_eq!(reason_after(|b| b[OFFSET_UPPER] = 8), Err(E::Unsettled));
        assert_eq!(reason_after(|b| b[OFFSET_UPPER] = 7), Ok(()), "settled exactly at what it can have seen");
        assert_eq!(reason_after(|b| b[OFFSET_FLAGS] = 2), Err(E::ReservedBits));
        assert_eq!(reason_after(|b| b[OFFSET_RESERVED] = 1), Err(E::ReservedBits));
        assert_eq!(reason_after(|b| b[OFFSET_RESERVED_END + 3] = 1), Err(E::ReservedBits));
        assert_eq!(reason_after(|b| b[OFFSET_ROW_VERSION] = 1), Err(E::ReservedBits));
    }

    #[test]
    fn lengths_are_checked_before_they_are_used() {
        use EnvelopeError as E;
        let most = TAGS_PER_ENTRY_MAX as u16;
        let tags = |count: u16| {
            move |b: &mut Vec<u8>| {
                b[OFFSET_TAG_COUNT..OFFSET_TAG_COUNT + 2].copy_from_slice(&count.to_le_bytes())
            }
        };
        assert_eq!(reason_after(tags(most + 1)), Err(E::TooManyTags(most + 1)));
        assert_eq!(reason_after(tags(u16::MAX)), Err(E::TooManyTags(u16::MAX)));
        let claimed = (ENVELOPE_OVERHEAD_BYTES + TAGS_PER_ENTRY_MAX * TAG_BYTES + 5) as u64;
        assert_eq!(reason_after(tags(most)), Err(E::LengthMismatch { claimed, found: 133 }));
        let largest = |b: &mut Vec<u8>| b[OFFSET_VALUE_BYTES..OFFSET_VALUE_BYTES + 4].fill(0xff);
        let claimed = ENVELOPE_OVERHEAD_BYTES as u64 + 16 + u64::from(u32::MAX);
        assert_eq!(reason_after(largest), Err(E::LengthMismatch { claimed, found: 133 }));
        let extended = |b: &mut Vec<u8>| b.push(0);
        assert_eq!(reason_after(extended), Err(E::LengthMismatch { claimed: 133, found: 134 }));
    }
}
