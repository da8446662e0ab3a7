//! The name of a class, as it stands in keys, metrics and `trueup.toml`.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr};

use compact_str::CompactString;

/// Longest class name, in bytes.
pub const CLASS_NAME_BYTES_MAX: usize = 64;

/// A class name: `[a-z][a-z0-9_.-]*`, at most [`CLASS_NAME_BYTES_MAX`] bytes. Up to 24 bytes are held in place, so
/// that a clone of a usual name allocates nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassName(CompactString);

/// A text that cannot name a class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "class name {0:?} is not valid: use a lower-case letter, then lower-case letters, digits, '_', '.' or '-', \
     {CLASS_NAME_BYTES_MAX} bytes at most, such as \"user\" or \"fee.table\""
)]
pub struct NameError(pub String);

impl ClassName {
    /// Checks `name` against the rule of the type.
    ///
    /// # Errors
    /// [`NameError`] with the offending text (cut to twice the allowed length).
    pub fn new(name: &str) -> Result<Self, NameError> {
        let rest_ok = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        let valid = name.len() <= CLASS_NAME_BYTES_MAX
            && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && name.bytes().all(rest_ok);
        if valid {
            Ok(Self(CompactString::from(name)))
        } else {
            Err(NameError(name.chars().take(2 * CLASS_NAME_BYTES_MAX).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ClassName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ClassName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl FromStr for ClassName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_rule_allows_and_nothing_else() {
        let longest = "a".repeat(CLASS_NAME_BYTES_MAX);
        for good in ["a", "user", "fee.table", "u2-x_y", longest.as_str()] {
            assert_eq!(ClassName::new(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(CLASS_NAME_BYTES_MAX + 1);
        for bad in ["", "2fa", "User", "a b", "a:b", "naïve", "_x", "a\n", too_long.as_str()] {
            assert!(ClassName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_error_names_the_text_and_the_rule() {
        assert_eq!(
            ClassName::new("User").unwrap_err().to_string(),
            "class name \"User\" is not valid: use a lower-case letter, then lower-case letters, digits, '_', '.' \
             or '-', 64 bytes at most, such as \"user\" or \"fee.table\""
        );
    }
}
