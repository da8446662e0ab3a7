//! The header `Idempotency-Key`.

use axum::http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, Parser};

use crate::key::{Key, KeyError};

/// The header's name.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest header value that is looked at, in bytes: a key, its quotes and a parameter or two.
const VALUE_BYTES_MAX: usize = 1_024;

/// Why a request has no usable key. Does not show the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No header.
    #[error(
        "this request needs the header Idempotency-Key, with a value that the client draws anew for each thing it wants done (a UUID) and repeats in each retry"
    )]
    Missing,
    /// More than one header.
    #[error("there is more than one header Idempotency-Key; send one")]
    Several,
    /// Neither a quoted string nor a bare token.
    #[error(
        "Idempotency-Key is neither a quoted string (\"8e03978e-40d5-43dd-bc93-6894a57f9324\") nor 20 to 255 of A-Z a-z 0-9 - _"
    )]
    Syntax,
    /// A string that is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The key that a request carries: a structured-field string, or a bare token of 20 to 255 of `A-Z a-z 0-9 - _`, which means
/// the same.
///
/// # Errors
/// [`HeaderError`].
pub fn key_of(headers: &HeaderMap) -> Result<Key, HeaderError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = values.next().ok_or(HeaderError::Missing)?;
    if values.next().is_some() {
        return Err(HeaderError::Several);
    }
    let text = value.to_str().map_err(|_| HeaderError::Syntax)?.trim_matches([' ', '\t']);
    if text.len() > VALUE_BYTES_MAX {
        return Err(HeaderError::Syntax);
    }
    if text.starts_with('"') {
        let item: Item = Parser::new(text).parse().map_err(|_| HeaderError::Syntax)?;
        let BareItem::String(key) = &item.bare_item else { return Err(HeaderError::Syntax) };
        return Ok(Key::new(key.as_str())?);
    }
    // Not a token of structured fields: those begin with a letter, and most UUIDs do not.
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(HeaderError::Syntax);
    }
    Ok(Key::new(text)?)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

    fn of(values: &[&str]) -> Result<Key, HeaderError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key_of(&headers)
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        let quoted = of(&[&format!("\"{UUID}\"")]).unwrap();
        assert_eq!(quoted, of(&[UUID]).unwrap());
        assert_eq!(quoted, of(&[&format!("  \"{UUID}\" ")]).unwrap());
        assert_eq!(quoted, of(&[&format!("\"{UUID}\";a=1")]).unwrap());
        assert_eq!(quoted.as_str(), UUID);
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert_eq!(of(&[]), Err(HeaderError::Missing));
        assert_eq!(of(&[UUID, UUID]), Err(HeaderError::Several));
        for value in [
            "",
            " ",
            "\"",
            "\"\"x",
            "a b",
            "\"aaaaaaaaaaaaaaaaaaaaaaaa",
            ":aGVsbG8=:",
            "12345678901234567890.5",
            "\u{e9}aaaaaaaaaaaaaaaaaaaaaa",
            "\"\\x\"",
            "\"aaaaaaaaaaaaaaaaaaaaaa\", \"b\"",
            "(\"a\")",
        ] {
            assert_eq!(of(&[value]), Err(HeaderError::Syntax), "{value:?}");
        }
        assert!(matches!(of(&["\"\""]), Err(HeaderError::Key(KeyError::Length(0)))));
        assert!(matches!(of(&["short"]), Err(HeaderError::Key(KeyError::Length(5)))));
        assert!(matches!(of(&[&"a".repeat(256)]), Err(HeaderError::Key(KeyError::Length(256)))));
        assert!(matches!(
            of(&["\"aaaaaaaaaaaaaaaaaaaaaaa a\""]),
            Err(HeaderError::Key(KeyError::Character(23)))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.append(IDEMPOTENCY_KEY, value);
                let _ = key_of(&headers);
            }
        }
    }
}
