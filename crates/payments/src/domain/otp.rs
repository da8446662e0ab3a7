//! One-time passwords: hashed, single use, few attempts, compared in constant time.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Id;

/// Digits of a code.
pub const CODE_DIGITS: usize = 6;
/// Attempts at one code: three in a million guesses right.
pub const OTP_ATTEMPTS_MAX: i64 = 3;
/// Codes there are.
const CODES: u32 = 1_000_000;
/// Random numbers from here on are drawn again, so that each code is as likely as any other.
const FAIR_BELOW: u32 = u32::MAX - u32::MAX % CODES;

/// What codes are hashed with: without it a code is found by trying a million of them.
#[derive(Clone)]
pub struct OtpKey(Zeroizing<Vec<u8>>);

impl OtpKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The hash under which `code` is stored for the challenge `id`.
    #[must_use]
    pub fn hash(&self, id: Id, code: &str) -> OtpHash {
        OtpHash(self.mac(id, code).finalize().into_bytes().to_vec())
    }

    fn mac(&self, id: Id, code: &str) -> Hmac<Sha256> {
        // HMAC takes a key of any length.
        #[expect(clippy::expect_used, reason = "an HMAC's key may have any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(id.text().as_bytes());
        mac.update(code.as_bytes());
        mac
    }
}

impl std::fmt::Debug for OtpKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OtpKey")
    }
}

/// A code as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct OtpHash(Vec<u8>);

impl OtpHash {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for OtpHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OtpHash")
    }
}

/// A challenge, as its row says. Read in a transaction and locked; there is no class that could cache it.
#[derive(Clone, Debug)]
pub struct Otp {
    /// Its id.
    pub id: Id,
    /// The tenant.
    pub tenant: String,
    /// The person who was sent the code.
    pub person: Id,
    /// The code's hash.
    pub hash: OtpHash,
    /// Attempts that are left.
    pub attempts_left: i64,
    /// Whether its time is over, by the database's clock.
    pub is_expired: bool,
    /// Whether it was used.
    pub is_used: bool,
}

impl Otp {
    /// The row's hash, from bytes.
    #[must_use]
    pub fn stored_hash(bytes: &[u8]) -> OtpHash {
        OtpHash(bytes.to_vec())
    }

    /// Whether an attempt may be made at all.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.is_used && !self.is_expired && self.attempts_left > 0
    }

    /// Whether `code` is the one that was sent. Takes as long whatever the code.
    #[must_use]
    pub fn matches(&self, key: &OtpKey, code: &str) -> bool {
        key.mac(self.id, code).verify_slice(&self.hash.0).is_ok()
    }
}

/// A new code.
///
/// # Errors
/// Where the system gives no random numbers.
pub fn new_code() -> Result<Zeroizing<String>, getrandom::Error> {
    loop {
        let number = getrandom::u32()?;
        if number < FAIR_BELOW {
            return Ok(Zeroizing::new(format!("{:0CODE_DIGITS$}", number % CODES)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(key: &OtpKey, code: &str) -> Otp {
        let id = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44".parse().unwrap();
        Otp {
            id,
            tenant: "t".to_owned(),
            person: id,
            hash: key.hash(id, code),
            attempts_left: OTP_ATTEMPTS_MAX,
            is_expired: false,
            is_used: false,
        }
    }

    #[test]
    fn only_the_code_matches_and_only_with_the_key() {
        let key = OtpKey::new(b"a key of the service".to_vec());
        let otp = challenge(&key, "123456");
        assert!(otp.matches(&key, "123456"));
        for wrong in ["123457", "", "12345", "1234567", "１２３４５６"] {
            assert!(!otp.matches(&key, wrong), "{wrong}");
        }
        assert!(!otp.matches(&OtpKey::new(b"another".to_vec()), "123456"));
        let mut other = challenge(&key, "123456");
        other.id = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d45".parse().unwrap();
        assert!(!other.matches(&key, "123456"), "a hash is of one challenge");
    }

    #[test]
    fn what_is_used_late_or_tried_too_often_is_closed() {
        let key = OtpKey::new(vec![1]);
        let open = challenge(&key, "123456");
        assert!(open.is_open());
        assert!(!Otp { is_used: true, ..open.clone() }.is_open());
        assert!(!Otp { is_expired: true, ..open.clone() }.is_open());
        assert!(!Otp { attempts_left: 0, ..open }.is_open());
    }

    #[test]
    fn codes_have_six_digits_and_are_not_shown() {
        for _ in 0..1_000 {
            let code = new_code().unwrap();
            assert!(code.len() == CODE_DIGITS && code.bytes().all(|b| b.is_ascii_digit()));
        }
        let key = OtpKey::new(vec![1]);
        assert!(!format!("{:?}", challenge(&key, "123456")).contains("123456"));
    }
}
