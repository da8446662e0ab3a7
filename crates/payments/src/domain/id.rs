//! Names of things: UUIDs. Those that a rerun must find again are made of what they name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::{NoContext, Timestamp, Uuid};

use super::Currency;

/// The namespace of every name that is made of something else.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d6f_6e65_7920_6973_206e_6f74_2063_6163);
const MS_PER_S: u64 = 1_000;
const NS_PER_MS: u32 = 1_000_000;

/// The id of an account, payment, posting, person or anything else: a UUID in its usual text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Uuid);

/// Not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID in lower case with hyphens, such as 0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44")]
pub struct IdError;

impl Id {
    /// A new one, version 7: sorted by time.
    #[must_use]
    pub fn new(unix_ms: u64) -> Self {
        let rest_ms = u32::try_from(unix_ms % MS_PER_S).unwrap_or_default();
        Self(Uuid::new_v7(Timestamp::from_unix(NoContext, unix_ms / MS_PER_S, rest_ms * NS_PER_MS)))
    }

    /// The one that a job gives to what it does for something on a date: the same on every run.
    #[must_use]
    pub const fn of_job(id: Uuid) -> Self {
        Self(id)
    }

    /// The one that these parts always make, version 5.
    fn of(parts: &[&str]) -> Self {
        let mut name = Vec::new();
        for part in parts {
            name.extend_from_slice(&(part.len() as u64).to_be_bytes());
            name.extend_from_slice(part.as_bytes());
        }
        Self(Uuid::new_v5(&NAMESPACE, &name))
    }

    /// Its text.
    #[must_use]
    pub fn text(self) -> String {
        self.0.hyphenated().to_string()
    }
}

/// The posting of an operation. Not the operation's own id, which its client chose: nobody can take the name of another's posting.
#[must_use]
pub fn posting_of(kind: &str, tenant: &str, operation: Id) -> Id {
    Id::of(&["posting", kind, tenant, &operation.text()])
}

/// What the gateway knows attempt number `attempt` at an operation by.
#[must_use]
pub fn attempt_key(operation: Id, attempt: u32) -> Id {
    Id::of(&["attempt", &operation.text(), &attempt.to_string()])
}

/// A tenant's own account: `clearing`, `fees`, `outside`.
#[must_use]
pub fn system_account(tenant: &str, purpose: &str, currency: Currency) -> Id {
    Id::of(&["system", tenant, purpose, currency.code()])
}

impl FromStr for Id {
    type Err = IdError;

    /// One spelling only: another would be another key of a cache, and another business id.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let id = Uuid::try_parse(text).map_err(|_| IdError)?;
        let id = Self(id);
        if id.0.is_nil() || id.text() != text {
            return Err(IdError);
        }
        Ok(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_is_sorted_by_time() {
        let (early, late) = (Id::new(1_700_000_000_000), Id::new(1_700_000_000_001));
        assert!(early.text() < late.text());
        assert_ne!(Id::new(1), Id::new(1));
        assert_eq!(early.text().as_bytes()[14], b'7');
    }

    #[test]
    fn what_is_made_of_something_is_the_same_in_every_release() {
        let account: Id = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44".parse().unwrap();
        let posting = posting_of("transfer", "acme", account);
        assert_eq!(posting, posting_of("transfer", "acme", account));
        assert_ne!(posting, posting_of("charge", "acme", account));
        assert_ne!(posting, posting_of("transfer", "other", account));
        assert_ne!(attempt_key(account, 1), attempt_key(account, 2));
        assert_ne!(system_account("a", "fees", Currency::EUR), system_account("a", "fees", Currency::CZK));
        assert_eq!(posting.text().as_bytes()[14], b'5');
    }

    #[test]
    fn there_is_one_spelling() {
        for text in [
            "",
            "0197B1F0-7C4A-7D8E-9F10-3B1C5A7E2D44",
            "0197b1f07c4a7d8e9f103b1c5a7e2d44",
            "{0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44}",
            "urn:uuid:0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44",
            "00000000-0000-0000-0000-000000000000",
            "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d4g",
        ] {
            assert_eq!(text.parse::<Id>(), Err(IdError), "{text}");
        }
    }
}
