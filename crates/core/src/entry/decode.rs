//! Reading an envelope: cheap checks first, the MAC before anything is believed, no panic, and no allocation but for what is
//! encrypted.

use bytes::Bytes;

use super::{
    aead, compress,
    epoch_id::EpochId,
    error::EnvelopeError,
    keys::{KeyId, KeyRing, MacKey},
    layout::{
        ALGORITHM_AES_256_GCM, ALGORITHM_HMAC_SHA256_128, COMPRESSION_LZ4, COMPRESSION_NONE, DRAWN_BYTES,
        ENCRYPTED_OVERHEAD_BYTES, ENVELOPE_OVERHEAD_BYTES, FLAG_ROW_VERSION, GCM_TAG_BYTES, HEADER_BYTES,
        HIDDEN_VERSION_BYTES, Header, KIND_ABSENT, KIND_VALUE, MAGIC, OFFSET_ALGORITHM, OFFSET_CLASS_DIGEST,
        OFFSET_COMPRESSION, OFFSET_CREATED, OFFSET_EPOCH, OFFSET_FLAGS, OFFSET_KEY_ID, OFFSET_KIND,
        OFFSET_LIFE, OFFSET_PROVEN_AT, OFFSET_RESERVED, OFFSET_RESERVED_END, OFFSET_ROW_VERSION,
        OFFSET_TAG_COUNT, OFFSET_UPPER, OFFSET_VALUE_BYTES, OFFSET_VERSION, PREFIX_BYTES, TAG_BYTES, VERSION,
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
    /// The value as it stands there, or that there is none; see [`EnvelopeRef::value`].
    pub body: Body<'a>,
    /// Whether the parts stand in the caller's room: they were encrypted.
    was_encrypted: bool,
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
    /// Reads `bytes`, which were found where `expected` should be. What was encrypted is put into `room`; otherwise that stays
    /// empty.
    ///
    /// # Errors
    /// [`EnvelopeError`]: the bytes are a miss, for the reason named.
    pub fn decode(
        bytes: &'a [u8],
        expected: &Expected<'_>,
        room: &'a mut Vec<u8>,
    ) -> Result<Self, EnvelopeError> {
        let header = fixed_part(bytes)?;
        if field::<16>(header, OFFSET_CLASS_DIGEST) != expected.class_digest {
            return Err(EnvelopeError::ForeignClass);
        }
        let extent = extent(header, bytes.len())?;
        let key_id = KeyId(u32::from_le_bytes(field(header, OFFSET_KEY_ID)));
        let key = expected.keys.find(key_id).ok_or(EnvelopeError::UnknownKey(key_id))?;
        if header[OFFSET_ALGORITHM] == ALGORITHM_AES_256_GCM {
            return Self::decrypt(header, &bytes[HEADER_BYTES..], &extent, key, expected, room);
        }
        let (sealed, mac) = bytes.split_last_chunk().ok_or(EnvelopeError::TooShort(bytes.len()))?;
        if !key.verify(expected.key_digest, sealed, mac) {
            return Err(EnvelopeError::BadMac);
        }
        let version = field(header, OFFSET_ROW_VERSION);
        Self::open(header, version, &sealed[HEADER_BYTES..], &extent)
    }

    /// Reads what stands after the header of an encrypted envelope: hidden part, randomness, tag.
    fn decrypt(
        header: &[u8; HEADER_BYTES],
        rest: &[u8],
        extent: &Extent,
        key: &MacKey,
        expected: &Expected<'_>,
        room: &'a mut Vec<u8>,
    ) -> Result<Self, EnvelopeError> {
        let too_short = EnvelopeError::TooShort(HEADER_BYTES + rest.len());
        let (rest, tag) = rest.split_last_chunk::<GCM_TAG_BYTES>().ok_or(too_short)?;
        let (hidden, drawn) = rest.split_last_chunk::<DRAWN_BYTES>().ok_or(too_short)?;
        room.clear();
        room.resize(hidden.len(), 0);
        let sealed = aead::Sealed { header, key_digest: expected.key_digest, drawn };
        if !aead::open(key, &sealed, hidden, tag, room) {
            return Err(EnvelopeError::BadMac);
        }
        let (version, rest) = room.split_first_chunk::<HIDDEN_VERSION_BYTES>().ok_or(too_short)?;
        // One entry has one form: a row version that the flags deny would be a second form of the same entry.
        if header[OFFSET_FLAGS] & FLAG_ROW_VERSION == 0 && *version != [0; 8] {
            return Err(EnvelopeError::ReservedBits);
        }
        Ok(Self { was_encrypted: true, ..Self::open(header, *version, rest, extent)? })
    }

    /// Reads what the MAC has vouched for.
    fn open(
        header: &[u8; HEADER_BYTES],
        version: [u8; 8],
        rest: &'a [u8],
        extent: &Extent,
    ) -> Result<Self, EnvelopeError> {
        let (tags, value) = rest.split_at(extent.tag_count * TAG_BYTES);
        let body = match (header[OFFSET_KIND], header[OFFSET_COMPRESSION]) {
            (KIND_VALUE, COMPRESSION_LZ4) => Body::Packed(value),
            (KIND_VALUE, _) => Body::Value(value),
            _ if extent.value_bytes != 0 => return Err(EnvelopeError::AbsentWithValue),
            (_, COMPRESSION_NONE) => Body::Absent,
            _ => return Err(EnvelopeError::BadCompression),
        };
        let has_version = header[OFFSET_FLAGS] & FLAG_ROW_VERSION != 0;
        let header = Header {
            class_digest: field(header, OFFSET_CLASS_DIGEST),
            epoch: EpochId::from_bytes(field(header, OFFSET_EPOCH)),
            created_ms: u64::from_le_bytes(field(header, OFFSET_CREATED)),
            life_ms: u64::from_le_bytes(field(header, OFFSET_LIFE)),
            upper: u64::from_le_bytes(field(header, OFFSET_UPPER)),
            proven_at: u64::from_le_bytes(field(header, OFFSET_PROVEN_AT)),
            row_version: has_version.then(|| u64::from_le_bytes(version)),
        };
        if header.proven_at < header.upper {
            return Err(EnvelopeError::Unsettled);
        }
        Ok(Self { header, tags: Tags(tags.as_chunks().0), body, was_encrypted: false })
    }

    /// Whether nobody without the secret could read it.
    #[must_use]
    pub const fn was_encrypted(&self) -> bool {
        self.was_encrypted
    }

    /// The value, unpacked; none if there is none. `bytes` are those that were decoded: a value that stands in them is lent,
    /// not copied. At most `value_bytes_max` are set aside.
    ///
    /// # Errors
    /// [`EnvelopeError`] for a value that can't or may not be unpacked.
    pub fn value(&self, bytes: &Bytes, value_bytes_max: usize) -> Result<Option<Bytes>, EnvelopeError> {
        Ok(match self.body {
            Body::Absent => None,
            Body::Packed(stored) => Some(compress::expand(stored, value_bytes_max)?),
            Body::Value(value) if self.was_encrypted => Some(Bytes::copy_from_slice(value)),
            Body::Value(value) => Some(bytes.slice_ref(value)),
        })
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
    let algorithm = header[OFFSET_ALGORITHM];
    let overhead = overhead(algorithm).ok_or(EnvelopeError::UnsupportedAlgorithm(algorithm))?;
    match header[OFFSET_COMPRESSION] {
        COMPRESSION_NONE | COMPRESSION_LZ4 => {}
        compression => return Err(EnvelopeError::UnsupportedCompression(compression)),
    }
    if bytes.len() < overhead {
        return Err(too_short);
    }
    Ok(header)
}

/// What an envelope adds to tags and value, by its algorithm.
const fn overhead(algorithm: u8) -> Option<usize> {
    match algorithm {
        ALGORITHM_HMAC_SHA256_128 => Some(ENVELOPE_OVERHEAD_BYTES),
        ALGORITHM_AES_256_GCM => Some(ENCRYPTED_OVERHEAD_BYTES),
        _ => None,
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
    // One entry has one form: a row version that the flags deny, or that stands elsewhere, would be a second form of the
    // same entry.
    let algorithm = header[OFFSET_ALGORITHM];
    let has_version = header[OFFSET_FLAGS] & FLAG_ROW_VERSION != 0 && algorithm == ALGORITHM_HMAC_SHA256_128;
    if !has_version && field::<8>(header, OFFSET_ROW_VERSION) != [0; 8] {
        return Err(EnvelopeError::ReservedBits);
    }
    let tag_count = u16::from_le_bytes(field(header, OFFSET_TAG_COUNT));
    if usize::from(tag_count) > TAGS_PER_ENTRY_MAX {
        return Err(EnvelopeError::TooManyTags(tag_count));
    }
    let value_bytes = u32::from_le_bytes(field(header, OFFSET_VALUE_BYTES));
    let tags_bytes = u64::from(tag_count) * TAG_BYTES as u64;
    let overhead = overhead(algorithm).ok_or(EnvelopeError::UnsupportedAlgorithm(algorithm))?;
    let claimed = overhead as u64 + tags_bytes + u64::from(value_bytes);
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
        EnvelopeRef::decode(&bytes, &expected, &mut Vec::new()).map(drop)
    }

    #[test]
    fn a_genuine_seal_does_not_excuse_a_writers_fault() {
        use EnvelopeError as E;
        assert_eq!(reason_after(|_| ()), Ok(()));
        assert_eq!(reason_after(|b| b[OFFSET_KIND] = KIND_ABSENT), Err(E::AbsentWithValue));
        let packed_absence = |b: &mut Vec<u8>| {
            (b[OFFSET_KIND], b[OFFSET_COMPRESSION], b[OFFSET_VALUE_BYTES]) =
                (KIND_ABSENT, COMPRESSION_LZ4, 0);
            b.truncate(b.len() - 5);
        };
        assert_eq!(reason_after(packed_absence), Err(E::BadCompression));
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
