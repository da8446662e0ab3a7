//! Why an envelope was not written, or is not used.

use super::keys::KeyId;
use crate::limits::TAGS_PER_ENTRY_MAX;

/// The entry can't be sealed. It is still good where it is; only L2 goes without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More tags than an entry may carry.
    #[error(
        "an entry with {0} tags can't be stored, {TAGS_PER_ENTRY_MAX} is the most; declare wider tags for its class"
    )]
    TooManyTags(usize),
    /// The value's length does not fit its field.
    #[error("a value of {0} bytes can't be stored, {max} is the most", max = u32::MAX)]
    ValueTooLarge(usize),
    /// The system gave no random bytes, without which nothing can be encrypted.
    #[error("an entry can't be encrypted without random bytes, and the system gave none")]
    NoRandomness,
    /// The feed has not reached the position the load can have seen, so nothing is proven for other nodes.
    #[error("an unsettled entry is never stored: proven at {proven_at}, but its load can have seen {upper}")]
    Unsettled {
        /// What the load can have seen.
        upper: u64,
        /// Where it was checked.
        proven_at: u64,
    },
}

/// The bytes found are not an entry this reader may use. Each reason is a miss, none is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Fewer bytes than the fixed parts take.
    #[error("{0} bytes are too few for an envelope")]
    TooShort(usize),
    /// Some other program's bytes.
    #[error("the bytes do not begin like an envelope: another program wrote them")]
    NotOurs,
    /// A version this release doesn't read.
    #[error("the envelope's version is {0}: a release that this one doesn't read wrote it")]
    UnsupportedVersion(u8),
    /// A sealing algorithm this release doesn't know.
    #[error("the envelope's algorithm is {0}, which this release doesn't know")]
    UnsupportedAlgorithm(u8),
    /// A compression this release doesn't know.
    #[error("the envelope's compression is {0}, which this release doesn't know")]
    UnsupportedCompression(u8),
    /// Another class's entry, or one of an older plan.
    #[error("the entry belongs to another class or to another plan of this one")]
    ForeignClass,
    /// A kind other than value and absent.
    #[error("the entry's kind is {0}, which doesn't exist")]
    UnknownKind(u8),
    /// Flag bits or reserved bytes that must be zero are not.
    #[error("the envelope sets bits that this version keeps at zero")]
    ReservedBits,
    /// More tags than an entry may carry.
    #[error("the entry claims {0} tags, {TAGS_PER_ENTRY_MAX} is the most")]
    TooManyTags(u16),
    /// The lengths inside do not add up to the bytes found.
    #[error("the entry claims {claimed} bytes and has {found}: it was cut or extended")]
    LengthMismatch {
        /// Length by the fields inside, in bytes.
        claimed: u64,
        /// Length found, in bytes.
        found: usize,
    },
    /// Sealed with a key that the ring doesn't hold.
    #[error(
        "the entry was sealed with key {0}, which this node doesn't hold (rotated out, or another fleet's)"
    )]
    UnknownKey(KeyId),
    /// Changed, or moved here from another key; encrypted or not.
    #[error("the entry's MAC is wrong: it was changed, or written under another key")]
    BadMac,
    /// Genuine, but absent and with a value: a writer's fault.
    #[error("the entry says that there is no value and has one")]
    AbsentWithValue,
    /// Genuine, but never settled: a writer's fault.
    #[error("the entry was stored before it was settled")]
    Unsettled,
    /// Genuine, but its value unpacks to more than its class keeps: the bound was lowered since.
    #[error("the entry's value claims {claimed} bytes unpacked, and its class keeps {limit} at most")]
    TooLarge {
        /// Length that it claims, in bytes.
        claimed: u64,
        /// The most that the class keeps, in bytes.
        limit: usize,
    },
    /// Genuine, but not what its compression promises: a writer's fault.
    #[error("the entry's value can't be unpacked")]
    BadCompression,
}

impl EnvelopeError {
    /// The reason's name in metrics and receipts; never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooShort(_) => "too_short",
            Self::NotOurs => "not_ours",
            Self::UnsupportedVersion(_) => "unsupported_version",
            Self::UnsupportedAlgorithm(_) => "unsupported_algorithm",
            Self::UnsupportedCompression(_) => "unsupported_compression",
            Self::ForeignClass => "foreign_class",
            Self::UnknownKind(_) => "unknown_kind",
            Self::ReservedBits => "reserved_bits",
            Self::TooManyTags(_) => "too_many_tags",
            Self::LengthMismatch { .. } => "length_mismatch",
            Self::UnknownKey(_) => "unknown_key",
            Self::BadMac => "bad_mac",
            Self::AbsentWithValue => "absent_with_value",
            Self::Unsettled => "unsettled",
            Self::TooLarge { .. } => "too_large",
            Self::BadCompression => "bad_compression",
        }
    }
}
