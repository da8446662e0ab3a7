//! Tokens: "I have written through here".

use std::{fmt, str::FromStr};

use super::Position;
use crate::entry::EpochId;

/// A position at or after a writer's own commit. A read that carries it reflects that write.
///
/// As text it is the epoch in hex, a dash, and the position in decimal. It holds no secret: who makes one up can only
/// ask for fresher answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The epoch in which the position counts.
    pub epoch: EpochId,
    /// The position.
    pub position: Position,
}

impl Token {
    /// The later of two tokens, for a session that must not go back in time. Across epochs `other`, the newer one,
    /// wins: positions of two epochs cannot be compared.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        if self.epoch == other.epoch && self.position > other.position { self } else { other }
    }

    /// The token of a reader who was given both at once. Nobody can say which of two epochs is the later one, so then only
    /// the source may answer next.
    #[must_use]
    pub fn together(self, other: Self) -> Self {
        if self.epoch == other.epoch {
            self.merged(other)
        } else {
            Self { epoch: EpochId::UNKNOWN, position: self.position.max(other.position) }
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.epoch.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{}", self.position)
    }
}

/// Not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a token: expected 32 hex digits, a dash and a position, as `TRUEUP.TOKEN` or a write returned it"
)]
pub struct BadToken;

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let (hex, position) = text.split_once('-').ok_or(BadToken)?;
        let decimal = !position.is_empty() && position.bytes().all(|b| b.is_ascii_digit());
        if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) || !decimal {
            return Err(BadToken);
        }
        let epoch = u128::from_str_radix(hex, 16).map_err(|_| BadToken)?;
        let position = position.parse().map_err(|_| BadToken)?;
        Ok(Self { epoch: EpochId::from_bytes(epoch.to_be_bytes()), position: Position(position) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let token = Token { epoch: EpochId::from_bytes([0xAB; 16]), position: Position(42) };
        assert_eq!(token.to_string().parse(), Ok(token));
        for text in ["", "-", "ab-1", &format!("{}-", "a".repeat(32)), &format!("{}-+1", "a".repeat(32))] {
            assert_eq!(text.parse::<Token>(), Err(BadToken), "{text:?}");
        }
    }

    #[test]
    fn merging_keeps_the_later_one() {
        let at = |epoch: u8, position| Token {
            epoch: EpochId::from_bytes([epoch; 16]),
            position: Position(position),
        };
        assert_eq!(at(1, 5).merged(at(1, 7)), at(1, 7));
        assert_eq!(at(1, 7).merged(at(1, 5)), at(1, 7));
        assert_eq!(at(1, 7).merged(at(2, 5)), at(2, 5));
        assert_eq!(at(1, 5).together(at(1, 7)), at(1, 7));
        let unknown = Token { epoch: EpochId::UNKNOWN, position: Position(7) };
        assert_eq!(at(1, 7).together(at(2, 5)), unknown);
        assert_eq!(unknown.together(at(1, 5)), unknown);
    }
}
