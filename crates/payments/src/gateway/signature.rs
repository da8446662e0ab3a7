//! Signatures of the gateway's messages to us.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The secret that the gateway signs its messages with: HMAC-SHA256 of the body, in hex.
#[derive(Clone)]
pub struct WebhookKey(Zeroizing<Vec<u8>>);

impl WebhookKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The signature of `body`.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        let bytes = self.mac(body).finalize().into_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `signature` is that of `body`. Takes as long whatever the signature.
    #[must_use]
    pub fn verifies(&self, body: &[u8], signature: &str) -> bool {
        let bytes = signature.as_bytes();
        if !bytes.len().is_multiple_of(2) {
            return false;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let decoded: Option<Vec<u8>> = bytes
            .chunks(2)
            .map(|pair| Some(u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).unwrap_or_default()))
            .collect();
        decoded.is_some_and(|decoded| self.mac(body).verify_slice(&decoded).is_ok())
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "an HMAC's key may have any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(body);
        mac
    }
}

impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signature_of_this_body_verifies() {
        let key = WebhookKey::new(b"secret".to_vec());
        let signature = key.sign(b"body");
        assert!(key.verifies(b"body", &signature));
        assert!(!key.verifies(b"bodY", &signature));
        assert!(!WebhookKey::new(b"other".to_vec()).verifies(b"body", &signature));
        for wrong in ["", "0", "zz", "é", &signature[2..], &format!("{signature}00")] {
            assert!(!key.verifies(b"body", wrong), "{wrong}");
        }
    }
}
