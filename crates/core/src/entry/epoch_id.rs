//! The name of an epoch.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use super::hex;

/// Separates this hash from every other use of SHA-256 in the project.
const DOMAIN: &[u8] = b"trueup epoch v1";

/// What makes an epoch: when any part differs, nothing older can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochParts {
    /// The source's own identity (PostgreSQL: `system_identifier`; SQLite: a number drawn when the feed was installed).
    pub system_id: u64,
    /// The source's timeline (PostgreSQL); 0 where the source has none.
    pub timeline: u32,
    /// The random number that the feed carries, renewed whenever the feed is made anew.
    pub feed_nonce: u128,
    /// How often this feed was lost, or had a gap, since its nonce was drawn.
    pub generation: u64,
}

/// An epoch as it stands in envelopes, tokens and feed messages: compared for equality, never ordered.
///
/// 16 bytes: the first half of a SHA-256 over the four parts. Nobody gains by making two epochs collide (whoever
/// chooses the parts already rules the source), so 128 bits are ample.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochId([u8; Self::BYTES]);

impl EpochId {
    /// Length of an epoch's name, in bytes.
    pub const BYTES: usize = 16;

    /// No node is ever in it: what is named by it can only be answered by the source.
    pub const UNKNOWN: Self = Self([0; Self::BYTES]);

    /// The name of the epoch made of `parts`.
    #[must_use]
    pub fn new(parts: &EpochParts) -> Self {
        // Every part has a fixed width, so two different parts never feed the hash the same bytes.
        let digest = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update(parts.system_id.to_le_bytes())
            .chain_update(parts.timeline.to_le_bytes())
            .chain_update(parts.feed_nonce.to_le_bytes())
            .chain_update(parts.generation.to_le_bytes())
            .finalize();
        let mut id = [0; Self::BYTES];
        id.copy_from_slice(&digest[..Self::BYTES]);
        Self(id)
    }

    /// The epoch whose name is `bytes`.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The name's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, &self.0)
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochId({self})")
    }
}

/// The text names no epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is written as 32 hexadecimal digits")]
pub struct EpochIdParseError;

impl FromStr for EpochId {
    type Err = EpochIdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; Self::BYTES];
        if hex::read(text, &mut id) { Ok(Self(id)) } else { Err(EpochIdParseError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: EpochParts = EpochParts { system_id: 1, timeline: 2, feed_nonce: 3, generation: 4 };

    #[test]
    fn every_part_counts() {
        let others = [
            EpochParts { system_id: 9, ..PARTS },
            EpochParts { timeline: 9, ..PARTS },
            EpochParts { feed_nonce: 9, ..PARTS },
            EpochParts { generation: 9, ..PARTS },
            EpochParts { system_id: 2, timeline: 1, ..PARTS },
        ];
        for other in others {
            assert_ne!(EpochId::new(&PARTS), EpochId::new(&other), "{other:?}");
        }
    }

    #[test]
    fn the_name_is_the_same_for_ever() {
        // Nodes of different releases meet over these bytes, and `docs/format.md` promises them.
        assert_eq!(EpochId::new(&PARTS).to_string(), "bbd4d16c44f3bcd3a76c8f545b2ee748");
    }

    #[test]
    fn text_reads_back() {
        let id = EpochId::new(&PARTS);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("abc".parse::<EpochId>(), Err(EpochIdParseError));
    }
}
