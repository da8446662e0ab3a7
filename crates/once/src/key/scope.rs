//! Keys, and whose they are.

use crate::{
    error::{OnceError, check_name},
    limits::{KEY_CHARS_MAX, KEY_CHARS_MIN},
};

/// An idempotency key as the client chose it: 20 to 255 of `A-Z a-z 0-9 - _ . : ~`.
///
/// One shape for all ways to send it: what a header carries as a quoted string and as a bare token is the same key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// Why a key is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short to be unguessable and unique, or too long.
    #[error(
        "an idempotency key has {KEY_CHARS_MIN} to {KEY_CHARS_MAX} characters; this one has {0}. A UUID serves well"
    )]
    Length(usize),
    /// A character that keys do not have.
    #[error(
        "an idempotency key is made of A-Z a-z 0-9 - _ . : ~; this one has another character at place {0}"
    )]
    Character(usize),
}

impl Key {
    /// The key of this text.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:~".contains(&b);
        if let Some(place) = text.bytes().position(|b| !allowed(b)) {
            return Err(KeyError::Character(place));
        }
        if !(KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&text.len()) {
            return Err(KeyError::Length(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// Its text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    /// Its length: a key never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} characters)", self.0.len())
    }
}

/// A key and whose it is: two principals may choose the same key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    principal: Box<str>,
    key: Key,
}

impl Scope {
    /// The scope of `key` for `principal`: the authenticated one, tenant and all, never a name that the client can choose.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where the principal's name is empty, too long or holds control characters.
    pub fn new(principal: &str, key: Key) -> Result<Self, OnceError> {
        check_name("the principal", principal)?;
        Ok(Self { principal: principal.into(), key })
    }

    /// Whose key it is.
    #[must_use]
    pub const fn principal(&self) -> &str {
        &self.principal
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_shape() {
        assert!(Key::new("8e03978e-40d5-43dd-bc93-6894a57f9324").is_ok());
        assert_eq!(Key::new("short").unwrap_err(), KeyError::Length(5));
        assert_eq!(Key::new(&"a".repeat(256)).unwrap_err(), KeyError::Length(256));
        assert!(Key::new(&"a".repeat(255)).is_ok() && Key::new(&"a".repeat(20)).is_ok());
        assert_eq!(Key::new("aaaaaaaaaaaaaaaaaaaa aaaa").unwrap_err(), KeyError::Character(20));
        assert_eq!(Key::new("ключключключключключ").unwrap_err(), KeyError::Character(0));
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = Key::new("8e03978e-40d5-43dd-bc93-6894a57f9324").unwrap();
        assert_eq!(format!("{key:?}"), "Key(36 characters)");
        assert!(!format!("{:?}", Scope::new("tenant-1/user-2", key).unwrap()).contains("user"));
    }
}
