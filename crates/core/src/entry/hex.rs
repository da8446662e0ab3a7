//! Lower-case hexadecimal of short fixed arrays.

use std::fmt;

/// Writes `bytes` as lower-case hexadecimal.
pub(super) fn write(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Fills `out` from exactly `2 * out.len()` hexadecimal digits of either case; false if `text` is anything else.
pub(super) fn read(text: &str, out: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return false;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return false,
        }
    }
    true
}

fn digit(ascii: u8) -> Option<u8> {
    // A radix of 16 keeps the digit below 16, so it fits.
    char::from(ascii).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_what_it_wrote_in_either_case() {
        let bytes = [0x00, 0x0f, 0xa5, 0xff];
        let mut text = String::new();
        super::write(&mut text, &bytes).unwrap();
        assert_eq!(text, "000fa5ff");
        for form in [text.clone(), text.to_uppercase()] {
            let mut back = [0; 4];
            assert!(super::read(&form, &mut back));
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn refuses_other_lengths_and_other_characters() {
        for text in ["", "00", "000fa5ff0", "000fa5ff00", "000fa5fg", "+00fa5ff", "00 fa5ff", "ä0fa5ff"] {
            assert!(!super::read(text, &mut [0; 4]), "{text}");
        }
    }
}
