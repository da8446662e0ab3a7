//! Percent-encoding, decoded and written back one way.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use super::KeyError;

/// Whether `:` ends what is being written, and so must be escaped in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A scope value: `:` ends the scope.
    Scope,
    /// A key part or a parameter: `:` is ordinary, which keeps times readable.
    Body,
}

/// A sink that escapes what is written through it: every character that has a meaning in key text, or that a person
/// could not see, becomes `%XX` of its UTF-8 bytes, in capitals.
pub(super) struct Escaped<'a, W> {
    out: &'a mut W,
    place: Place,
}

impl<'a, W: Write> Escaped<'a, W> {
    pub(super) fn new(out: &'a mut W, place: Place) -> Self {
        Self { out, place }
    }

    fn stands_for_itself(&self, c: char) -> bool {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' => true,
            ':' => self.place == Place::Body,
            _ => !c.is_ascii() && !is_invisible(c),
        }
    }
}

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c| !self.stands_for_itself(c)) {
            self.out.write_str(&rest[..at])?;
            let escaped_bytes = rest[at..].chars().next().map_or(0, char::len_utf8);
            for byte in &rest.as_bytes()[at..at + escaped_bytes] {
                write_hex_byte(self.out.write_char('%').map(|()| &mut *self.out)?, *byte, HEX_UPPER)?;
            }
            rest = &rest[at + escaped_bytes..];
        }
        self.out.write_str(rest)
    }
}

pub(super) const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
pub(super) const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// Writes two hexadecimal digits.
pub(super) fn write_hex_byte(out: &mut impl Write, byte: u8, digits: &[u8; 16]) -> fmt::Result {
    out.write_char(char::from(digits[usize::from(byte >> 4)]))?;
    out.write_char(char::from(digits[usize::from(byte & 0xF)]))
}

/// Characters outside ASCII that show nothing or turn the direction of text. The list is fixed here, and not asked of a
/// Unicode library, so that the form of a key does not move when the library does.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{A0}' | '\u{AD}' | '\u{61C}' | '\u{1680}' | '\u{180E}' | '\u{2000}'..='\u{200F}'
        | '\u{2028}'..='\u{202F}' | '\u{205F}'..='\u{206F}' | '\u{3000}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Decodes `%XX`; refuses a `%` without two hexadecimal digits, and bytes that are not UTF-8.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, KeyError> {
    let after_percents = text.as_bytes().split(|byte| *byte == b'%').skip(1);
    for after in after_percents {
        let digits = after.get(..2).ok_or(KeyError::BadEncoding)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(KeyError::BadEncoding);
        }
    }
    percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| KeyError::BadEncoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str, place: Place) -> String {
        let mut out = String::new();
        Escaped::new(&mut out, place).write_str(text).unwrap();
        out
    }

    #[test]
    fn what_has_a_meaning_or_cannot_be_seen_is_escaped() {
        assert_eq!(
            escaped("a,b&c=d%e@f+g h!\0\n/", Place::Body),
            "a%2Cb%26c%3Dd%25e%40f%2Bg%20h%21%00%0A%2F"
        );
        assert_eq!(escaped("Žižkov 北", Place::Body), "Žižkov%20北");
        assert_eq!(escaped("\u{202E}\u{85}\u{A0}", Place::Body), "%E2%80%AE%C2%85%C2%A0");
        assert_eq!(escaped("12:30", Place::Body), "12:30");
        assert_eq!(escaped("12:30", Place::Scope), "12%3A30");
    }

    #[test]
    fn halves_of_escapes_are_refused() {
        for text in ["%", "a%", "%4", "%4g", "%%41", "100%"] {
            assert_eq!(decode(text), Err(KeyError::BadEncoding), "{text}");
        }
        assert_eq!(decode("%C3"), Err(KeyError::BadEncoding));
        assert_eq!(decode("%c3%A9").unwrap(), "é");
    }

    proptest! {
        #[test]
        fn decoding_takes_back_escaping(text in any::<String>(), scope in any::<bool>()) {
            let written = escaped(&text, if scope { Place::Scope } else { Place::Body });
            prop_assert_eq!(decode(&written).unwrap(), text.as_str());
            prop_assert!(!written.contains(|c: char| c.is_control() || ",&=@+!".contains(c)));
            prop_assert!(!(scope && written.contains(':')));
        }
    }
}
