//! The secret that seals envelopes, as people store it.

use std::fmt;

use zeroize::Zeroizing;

use super::hex;
use crate::env::random::{self, RandomError};

/// 32 random bytes, wiped from memory when dropped and never shown.
///
/// One written form: 64 hexadecimal digits, as `openssl rand -hex 32` prints them. Raw bytes and base64 are
/// refused on purpose: with one form a pass phrase of the right length cannot be taken for a key by mistake.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; Self::BYTES]>);

/// The text is no secret. It is never repeated in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not 64 hexadecimal digits.
    #[error("a secret is 64 hexadecimal digits (make one with `openssl rand -hex 32`)")]
    NotHex,
    /// One byte repeated: a placeholder, not a drawn secret.
    #[error("this secret is one byte repeated, which anyone can guess; make one with `openssl rand -hex 32`")]
    Guessable,
}

impl Secret {
    /// Length of a secret, in bytes: the output of SHA-256, beyond which HMAC gains nothing.
    pub const BYTES: usize = 32;

    /// A new secret from the system's randomness.
    ///
    /// # Errors
    /// [`RandomError`] where the system gives none.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        random::fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Reads 64 hexadecimal digits of either case; white space around them is ignored.
    ///
    /// # Errors
    /// [`SecretError`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        if !hex::read(text.trim(), bytes.as_mut_slice()) {
            return Err(SecretError::NotHex);
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(SecretError::Guessable);
        }
        Ok(Self(bytes))
    }

    /// The written form, for the file or table that shares the secret. Wiped when dropped.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        // Sized at once: growing would leave copies of the secret behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(Self::BYTES * 2));
        // Writing to a String cannot fail.
        let _ = hex::write(&mut *text, self.bytes());
        text
    }

    pub(super) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn reads_its_written_form() {
        let secret = Secret::from_hex(&format!("  {TEXT}\r\n")).unwrap();
        assert_eq!(secret.bytes()[31], 0x1f);
        assert_eq!(*secret.to_hex(), TEXT);
    }

    #[test]
    fn generated_secrets_differ() {
        assert_ne!(Secret::generate().unwrap().bytes(), Secret::generate().unwrap().bytes());
    }

    #[test]
    fn refuses_what_is_no_drawn_secret() {
        for text in ["", "hunter2", &TEXT[1..], &format!("{TEXT}00"), "correct horse battery staple ok!"] {
            assert_eq!(Secret::from_hex(text).unwrap_err(), SecretError::NotHex, "{text}");
        }
        assert_eq!(Secret::from_hex(&"00".repeat(32)).unwrap_err(), SecretError::Guessable);
    }

    #[test]
    fn is_never_shown() {
        let secret = Secret::from_hex(TEXT).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }
}
