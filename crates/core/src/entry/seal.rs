//! Writing an envelope.

use bytes::Bytes;

use super::{
    aead,
    error::EncodeError,
    keys::MacKey,
    layout::{
        ALGORITHM_AES_256_GCM, ALGORITHM_HMAC_SHA256_128, COMPRESSION_LZ4, COMPRESSION_NONE, DRAWN_BYTES,
        ENCRYPTED_OVERHEAD_BYTES, ENVELOPE_OVERHEAD_BYTES, FLAG_ROW_VERSION, HEADER_BYTES, Header,
        KIND_ABSENT, KIND_VALUE, MAGIC, TAG_BYTES, VERSION,
    },
};
use crate::{env::random, limits::TAGS_PER_ENTRY_MAX};

/// What the source holds under the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A value, encoded by its class; may be empty.
    Value(&'a [u8]),
    /// The same, as [`compress`](super::compress) made it smaller.
    Packed(&'a [u8]),
    /// Nothing, as proven as a value is.
    Absent,
}

impl std::fmt::Debug for Body<'_> {
    /// Shows a value's length alone: values never reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Self::Packed(stored) => write!(f, "Packed({} bytes)", stored.len()),
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
    /// The entry's bytes, sealed with `key` for the place named by `key_digest` (SHA-256 of the canonical key): whoever
    /// reads them can read the value. Allocates once.
    ///
    /// # Errors
    /// [`EncodeError`] when the entry may not or can't be stored in L2.
    pub fn encode(&self, key_digest: &[u8; 32], key: &MacKey) -> Result<Bytes, EncodeError> {
        let parts = self.parts()?;
        let version = self.header.row_version.unwrap_or(0);
        let header = self.header_bytes(ALGORITHM_HMAC_SHA256_128, version, &parts, key);
        let mut out = Vec::with_capacity(ENVELOPE_OVERHEAD_BYTES + parts.bytes());
        out.extend_from_slice(&header);
        parts.append(&mut out);
        let mac = key.seal(key_digest, &out);
        out.extend_from_slice(&mac);
        Ok(out.into())
    }

    /// The entry's bytes, encrypted with keys derived from `key`: row version, tags and value can be read with the
    /// secret alone. The header stands in the clear, and is authenticated like the rest.
    ///
    /// # Errors
    /// [`EncodeError`] when the entry may not or can't be stored in L2.
    pub fn encrypt(&self, key_digest: &[u8; 32], key: &MacKey) -> Result<Bytes, EncodeError> {
        let mut drawn = [0; DRAWN_BYTES];
        random::fill(&mut drawn).map_err(|_| EncodeError::NoRandomness)?;
        self.encrypt_with(&drawn, key_digest, key)
    }

    /// Never twice with the same `drawn`, but for fixtures.
    pub(super) fn encrypt_with(
        &self,
        drawn: &[u8; DRAWN_BYTES],
        key_digest: &[u8; 32],
        key: &MacKey,
    ) -> Result<Bytes, EncodeError> {
        let parts = self.parts()?;
        let header = self.header_bytes(ALGORITHM_AES_256_GCM, 0, &parts, key);
        let mut out = Vec::with_capacity(ENCRYPTED_OVERHEAD_BYTES + parts.bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.header.row_version.unwrap_or(0).to_le_bytes());
        parts.append(&mut out);
        let sealed = aead::Sealed { header: &header, key_digest, drawn };
        let tag = aead::seal(key, &sealed, &mut out[HEADER_BYTES..])
            .ok_or(EncodeError::ValueTooLarge(parts.value.len()))?;
        out.extend_from_slice(drawn);
        out.extend_from_slice(&tag);
        Ok(out.into())
    }

    /// The parts of variable length, if the entry may be stored at all.
    fn parts(&self) -> Result<Parts<'_>, EncodeError> {
        let Header { upper, proven_at, .. } = self.header;
        if proven_at < upper {
            return Err(EncodeError::Unsettled { upper, proven_at });
        }
        let too_many = || EncodeError::TooManyTags(self.tags.len());
        let tag_count = u16::try_from(self.tags.len()).map_err(|_| too_many())?;
        if usize::from(tag_count) > TAGS_PER_ENTRY_MAX {
            return Err(too_many());
        }
        let (kind, compression, value) = match self.body {
            Body::Value(value) => (KIND_VALUE, COMPRESSION_NONE, value),
            Body::Packed(stored) => (KIND_VALUE, COMPRESSION_LZ4, stored),
            Body::Absent => (KIND_ABSENT, COMPRESSION_NONE, &[][..]),
        };
        let value_bytes = u32::try_from(value.len()).map_err(|_| EncodeError::ValueTooLarge(value.len()))?;
        Ok(Parts { kind, compression, tag_count, value_bytes, tags: self.tags, value })
    }

    /// The fixed part, field after field in the order of `layout`.
    fn header_bytes(
        &self,
        algorithm: u8,
        version: u64,
        parts: &Parts<'_>,
        key: &MacKey,
    ) -> [u8; HEADER_BYTES] {
        let header = &self.header;
        let flags = if header.row_version.is_some() { FLAG_ROW_VERSION } else { 0 };
        let mut out = [0; HEADER_BYTES];
        let mut rest = &mut out[..];
        let mut put = |field: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        };
        put(&MAGIC);
        put(&[VERSION, algorithm, parts.compression, parts.kind, flags, 0]);
        put(&parts.tag_count.to_le_bytes());
        put(&key.id().0.to_le_bytes());
        put(&header.class_digest);
        put(header.epoch.as_bytes());
        put(&header.created_ms.to_le_bytes());
        put(&header.life_ms.to_le_bytes());
        put(&header.upper.to_le_bytes());
        put(&header.proven_at.to_le_bytes());
        put(&version.to_le_bytes());
        put(&parts.value_bytes.to_le_bytes());
        out
    }
}

/// What an envelope is made of, lengths checked.
struct Parts<'a> {
    kind: u8,
    compression: u8,
    tag_count: u16,
    value_bytes: u32,
    tags: &'a [u64],
    value: &'a [u8],
}

impl Parts<'_> {
    const fn bytes(&self) -> usize {
        self.tags.len() * TAG_BYTES + self.value.len()
    }

    fn append(&self, out: &mut Vec<u8>) {
        self.tags.iter().for_each(|tag| out.extend_from_slice(&tag.to_le_bytes()));
        out.extend_from_slice(self.value);
    }
}
