//! Where each field of an envelope, version 1, stands. `docs/format.md` is the same table for people.

use super::epoch_id::EpochId;

/// First bytes of every envelope of every version. The first is no ASCII, so that no text is taken for one.
pub(super) const MAGIC: [u8; 4] = *b"\x89TUP";
/// The version written, and the only one read so far.
pub(super) const VERSION: u8 = 1;
/// Bytes that every version begins with: magic and version.
pub(super) const PREFIX_BYTES: usize = 5;

/// HMAC-SHA256 cut to [`MAC_BYTES`]; the value stands in the clear.
pub(super) const ALGORITHM_HMAC_SHA256_128: u8 = 1;
/// AES-256-GCM under a key derived for this one envelope; row version, tags and value are hidden.
pub(super) const ALGORITHM_AES_256_GCM: u8 = 2;
/// The value's bytes as they are.
pub(super) const COMPRESSION_NONE: u8 = 0;
/// The value's length (4 bytes) and then its bytes as an LZ4 block.
pub(super) const COMPRESSION_LZ4: u8 = 1;

/// A value follows (it may be empty).
pub(super) const KIND_VALUE: u8 = 0;
/// The source holds nothing under this key.
pub(super) const KIND_ABSENT: u8 = 1;

/// The row version field means something.
pub(super) const FLAG_ROW_VERSION: u8 = 1;

pub(super) const OFFSET_VERSION: usize = 4;
pub(super) const OFFSET_ALGORITHM: usize = 5;
pub(super) const OFFSET_COMPRESSION: usize = 6;
pub(super) const OFFSET_KIND: usize = 7;
pub(super) const OFFSET_FLAGS: usize = 8;
pub(super) const OFFSET_RESERVED: usize = 9;
pub(super) const OFFSET_TAG_COUNT: usize = 10;
pub(super) const OFFSET_KEY_ID: usize = 12;
pub(super) const OFFSET_CLASS_DIGEST: usize = 16;
pub(super) const OFFSET_EPOCH: usize = 32;
pub(super) const OFFSET_CREATED: usize = 48;
pub(super) const OFFSET_LIFE: usize = 56;
pub(super) const OFFSET_UPPER: usize = 64;
pub(super) const OFFSET_PROVEN_AT: usize = 72;
pub(super) const OFFSET_ROW_VERSION: usize = 80;
pub(super) const OFFSET_VALUE_BYTES: usize = 88;
pub(super) const OFFSET_RESERVED_END: usize = 92;

/// Bytes before the tags.
pub(super) const HEADER_BYTES: usize = 96;
/// One tag.
pub(super) const TAG_BYTES: usize = 8;
/// The MAC, last in the envelope.
pub(super) const MAC_BYTES: usize = 16;
/// The row version, where it is encrypted: before the tags.
pub(super) const HIDDEN_VERSION_BYTES: usize = 8;
/// What an encrypted envelope's key and nonce are made of: drawn at random for each.
pub(super) const DRAWN_BYTES: usize = 24;
/// The tag of AES-GCM, last in an encrypted envelope.
pub(super) const GCM_TAG_BYTES: usize = 16;

/// What an envelope adds to a value, without its tags (8 bytes each), in bytes.
pub const ENVELOPE_OVERHEAD_BYTES: usize = HEADER_BYTES + MAC_BYTES;

/// What an encrypted envelope adds to a value, without its tags (8 bytes each), in bytes.
pub const ENCRYPTED_OVERHEAD_BYTES: usize = HEADER_BYTES + HIDDEN_VERSION_BYTES + DRAWN_BYTES + GCM_TAG_BYTES;

/// Where a store that keeps the newer of two envelopes has to look. These offsets hold for every algorithm and compression of
/// version 1.
pub mod order {
    /// Leading bytes of an envelope that hold everything needed to compare.
    pub const PREFIX_BYTES: usize = super::OFFSET_ROW_VERSION;
    /// Magic and version: if they differ, the two can't be compared.
    pub const FORMAT: std::ops::Range<usize> = 0..super::PREFIX_BYTES;
    /// Class digest and epoch: if they differ, the two can't be compared.
    pub const WORLD: std::ops::Range<usize> = super::OFFSET_CLASS_DIGEST..super::OFFSET_CREATED;
    /// `upper`, then `proven_at`, each 8 bytes, little-endian: the greater pair is the newer entry.
    pub const POSITIONS: std::ops::Range<usize> = super::OFFSET_UPPER..super::OFFSET_ROW_VERSION;
}

/// [`Header::life_ms`] of an entry that only its proof bounds.
pub const LIFE_UNBOUNDED_MS: u64 = u64::MAX;

/// The fields of fixed width: what the entry is and what was proven of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Digest of the class's plan; another plan's entries are misses.
    pub class_digest: [u8; 16],
    /// The epoch in which the entry was proven; the reader compares it with its own.
    pub epoch: EpochId,
    /// When the entry was sealed, by the writer's wall clock, in milliseconds since 1970. A reader subtracts the age
    /// that follows from `life_ms`, to shorten the stay; no proof rests on it.
    pub created_ms: u64,
    /// How long a node may keep the entry, in milliseconds from `created_ms`: its class's hard age;
    /// [`LIFE_UNBOUNDED_MS`] if nothing but the proof bounds it. A reader never writes the entry again.
    pub life_ms: u64,
    /// Source position that bounds what the load can have seen.
    pub upper: u64,
    /// Applied position of the last check; never below `upper`, for only settled entries are sealed.
    pub proven_at: u64,
    /// The row's version as shown to clients, where the class has one.
    pub row_version: Option<u64>,
}
