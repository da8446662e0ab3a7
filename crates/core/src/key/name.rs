//! A key as it is looked up.

/// Integers that are looked up by their value end below this: up to eighteen digits.
const INTEGERS_END: u64 = 1_000_000_000_000_000_000;
const INTEGER_DIGITS_MAX: usize = INTEGERS_END.ilog10() as usize;

/// A key's canonical text, as it is looked up. A plain integer, the commonest key, goes by its value: on a hit it is neither
/// written nor compared as text.
///
/// There is no `Debug`: a key may hold personal data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyName<'a> {
    /// The integer whose decimal text it is.
    Integer(u64),
    /// Any other text.
    Text(&'a str),
}

impl<'a> KeyName<'a> {
    /// The name that `text` is. An integer has one text only, without a sign or leading zeroes.
    #[inline]
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        match integer(text.as_bytes()) {
            Some(integer) => Self::Integer(integer),
            None => Self::Text(text),
        }
    }

    /// The name of an integer's text; none where that is looked up as text.
    #[inline]
    pub(crate) fn of_integer(integer: i64) -> Option<Self> {
        u64::try_from(integer).ok().filter(|&integer| integer < INTEGERS_END).map(Self::Integer)
    }

    /// Shows `look` the text.
    pub fn with_text<R>(self, look: impl FnOnce(&str) -> R) -> R {
        match self {
            Self::Integer(integer) => look(itoa::Buffer::new().format(integer)),
            Self::Text(text) => look(text),
        }
    }
}

#[inline]
fn integer(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if text.len() <= INTEGER_DIGITS_MAX => text.iter().try_fold(0, |integer, digit| {
            digit.is_ascii_digit().then(|| integer * 10 + u64::from(digit - b'0'))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(name: KeyName<'_>) -> String {
        name.with_text(str::to_owned)
    }

    fn is_integer(text: &str) -> bool {
        matches!(KeyName::of(text), KeyName::Integer(_))
    }

    #[test]
    fn only_the_one_text_of_an_integer_is_one() {
        for text in ["0", "7", "10", "999999999999999999"] {
            assert!(is_integer(text), "{text}");
            assert_eq!(shown(KeyName::of(text)), text);
        }
        let others = [
            "",
            "00",
            "01",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "1000000000000000000",
            "@tenant=a:1",
            "\u{661}",
        ];
        for text in others {
            assert!(!is_integer(text), "{text}");
            assert_eq!(shown(KeyName::of(text)), text);
        }
    }

    /// One that were named otherwise than its text would never be found.
    #[test]
    fn the_last_integer_that_goes_by_its_value_is_below_the_end() {
        let last = i64::try_from(INTEGERS_END - 1).unwrap();
        for integer in [last, last + 1] {
            let text = integer.to_string();
            let name = KeyName::of_integer(integer);
            assert_eq!((name.is_some(), is_integer(&text)), (integer == last, integer == last), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_has_the_name_of_its_text(integer: i64, shift in 0..64_u32) {
            let integer: i64 = integer >> shift;
            let text = integer.to_string();
            let name = KeyName::of_integer(integer);
            prop_assert!(name.is_none_or(|name| name == KeyName::of(&text)));
            prop_assert_eq!(name.is_some(), is_integer(&text));
        }

        #[test]
        fn different_texts_have_different_names(a in "[0-9]{1,19}|.*", b in "[0-9]{1,19}|.*") {
            prop_assert_eq!(KeyName::of(&a) == KeyName::of(&b), a == b);
            prop_assert_eq!(shown(KeyName::of(&a)), a);
        }
    }
}
