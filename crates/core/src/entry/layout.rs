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
/// The value's bytes as they are.
pub(super) const COMPRESSION_NONE: u8 = 0;

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

/// What an envelope adds to a value, without its tags (8 bytes each), in bytes.
pub const ENVELOPE_OVERHEAD_BYTES: usize = HEADER_BYTES + MAC_BYTES;

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
