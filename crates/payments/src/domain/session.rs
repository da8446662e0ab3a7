//! Sessions: who asks.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Id, Role};

/// A session, as its row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: Id,
    /// The tenant.
    pub tenant: String,
    /// The person.
    pub person: Id,
    /// What the person may do.
    pub role: Role,
    /// When it ends, in ms since 1970.
    pub expires_ms: i64,
    /// When it was ended before its time, in ms since 1970.
    pub revoked_ms: Option<i64>,
}

impl Session {
    /// Whether it holds at `now_ms`.
    #[must_use]
    pub fn is_live(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && now_ms < self.expires_ms
    }

    /// Whose idempotency keys are told apart by: never chosen by the client.
    #[must_use]
    pub fn principal(&self) -> String {
        format!("{}/{}", self.tenant, self.person)
    }
}

/// What a bearer token is stored and looked up by: whoever reads the table cannot come in with it.
#[must_use]
pub fn session_digest(bearer: &str) -> String {
    Sha256::digest(bearer).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
        hex.push(digit(byte >> 4));
        hex.push(digit(byte & 15));
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_its_time_or_by_hand() {
        let id = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44".parse().unwrap();
        let (tenant, role) = ("t".to_owned(), Role::Customer);
        let session = Session { id, tenant, person: id, role, expires_ms: 100, revoked_ms: None };
        assert!(session.is_live(99) && !session.is_live(100));
        assert!(!Session { revoked_ms: Some(1), ..session }.is_live(50));
    }

    #[test]
    fn a_digest_is_sha_256_in_hex() {
        assert_eq!(session_digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
