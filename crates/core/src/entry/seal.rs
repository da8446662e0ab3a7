//! Writing an envelope.

use bytes::Bytes;

use super::{
    error::EncodeError,
    keys::MacKey,
    layout::{
        ALGORITHM_HMAC_SHA256_128, COMPRESSION_NONE, ENVELOPE_OVERHEAD_BYTES, FLAG_ROW_VERSION, Header,
        KIND_ABSENT, KIND_VALUE, MAGIC, TAG_BYTES, VERSION,
    },
};
use crate::limits::TAGS_PER_ENTRY_MAX;

/// What the source holds under the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A value, encoded by its class; may be empty.
    Value(&'a [u8]),
    /// Nothing, as proven as a value is.
    Absent,
}

impl std::fmt::Debug for Body<'_> {
    /// Shows a value's length alone: values never reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Self::Absent => f.write_str("Absent"),
        }
    }
}

/// A settled entry on its way to L2.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// What the entry is and what was proven of it.
    pub header: Header,
    /// What it depends on; at most [`TAGS_PER_ENTRY_MAX`].
    pub tags: &'a [u64],
    /// The value, or that there is none.
    pub body: Body<'a>,
}

impl Envelope<'_> {
    /// The entry's bytes, sealed with `key` for the place named by `key_digest` (SHA-256 of the canonical key).
    /// Allocates once.
    ///
    /// # Errors
    /// [`EncodeError`] when the entry may not or can't be stored in L2.
    pub fn encode(&self, key_digest: &[u8; 32], key: &MacKey) -> Result<Bytes, EncodeError> {
        let Header { upper, proven_at, .. } = self.header;
        if proven_at < upper {
            return Err(EncodeError::Unsettled { upper, proven_at });
        }
        let too_many = || EncodeError::TooManyTags(self.tags.len());
        let tag_count = u16::try_from(self.tags.len()).map_err(|_| too_many())?;
        if usize::from(tag_count) > TAGS_PER_ENTRY_MAX {
            return Err(too_many());
        }
        let (kind, value) = match self.body {
            Body::Value(value) => (KIND_VALUE, value),
            Body::Absent => (KIND_ABSENT, &[][..]),
        };
        let value_bytes = u32::try_from(value.len()).map_err(|_| EncodeError::ValueTooLarge(value.len()))?;

        let mut out = Vec::with_capacity(ENVELOPE_OVERHEAD_BYTES + self.tags.len() * TAG_BYTES + value.len());
        self.write_header(&mut out, kind, tag_count, value_bytes, key);
        self.tags.iter().for_each(|tag| out.extend_from_slice(&tag.to_le_bytes()));
        out.extend_from_slice(value);
        let mac = key.seal(key_digest, &out);
        out.extend_from_slice(&mac);
        Ok(out.into())
    }

    /// Appends the fixed part, field after field in the order of `layout`.
    fn write_header(&self, out: &mut Vec<u8>, kind: u8, tag_count: u16, value_bytes: u32, key: &MacKey) {
        let header = &self.header;
        let flags = if header.row_version.is_some() { FLAG_ROW_VERSION } else { 0 };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, ALGORITHM_HMAC_SHA256_128, COMPRESSION_NONE, kind, flags, 0]);
        out.extend_from_slice(&tag_count.to_le_bytes());
        out.extend_from_slice(&key.id().0.to_le_bytes());
        out.extend_from_slice(&header.class_digest);
        out.extend_from_slice(header.epoch.as_bytes());
        out.extend_from_slice(&header.created_ms.to_le_bytes());
        out.extend_from_slice(&header.life_ms.to_le_bytes());
        out.extend_from_slice(&header.upper.to_le_bytes());
        out.extend_from_slice(&header.proven_at.to_le_bytes());
        out.extend_from_slice(&header.row_version.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&value_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }
}
