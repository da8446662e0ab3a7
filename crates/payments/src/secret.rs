//! The one secret of the service, and the keys that are made of it.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a secret, at least.
const BYTES_MIN: usize = 32;

/// The secret. All instances have the same.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// The secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file.
    #[error("the secret's file {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        why: std::io::Error,
    },
    /// It is too short to be one.
    #[error(
        "the secret in {path} has {bytes} bytes; {BYTES_MIN} at least are one, such as `head -c 32 /dev/urandom`"
    )]
    Short {
        /// The file.
        path: String,
        /// How many it has.
        bytes: usize,
    },
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret in a file.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let shown = path.display().to_string();
        let bytes = fs::read(path).map_err(|why| SecretError::File { path: shown.clone(), why })?;
        if bytes.len() < BYTES_MIN {
            return Err(SecretError::Short { path: shown, bytes: bytes.len() });
        }
        Ok(Self::new(bytes))
    }

    /// The secret in a file, drawn where there is none yet. Nobody but its owner may read it.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read_or_draw(path: &Path) -> Result<Self, SecretError> {
        if path.exists() {
            return Self::read(path);
        }
        let mut bytes = Zeroizing::new(vec![0; BYTES_MIN]);
        getrandom::fill(&mut bytes)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.map_err(|why| SecretError::File { path: path.display().to_string(), why })?;
        Self::read(path)
    }

    /// A key for one purpose: who knows it knows no other.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "an HMAC's key may have any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(b"payments-1 ");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_drawn_once_and_a_short_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let drawn = Secret::read_or_draw(&path).unwrap();
        assert_eq!(drawn.derive("a"), Secret::read_or_draw(&path).unwrap().derive("a"));
        assert_ne!(drawn.derive("a"), drawn.derive("b"));
        fs::write(&path, b"short").unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Short { bytes: 5, .. })));
        assert!(Secret::read(&folder.path().join("none")).is_err());
    }
}
