//! Decimal numbers of any length, without converting them.

use std::fmt::{self, Write};

use super::MalformedValue;

/// Numbers longer than this, written out, are shown with an exponent.
const PLAIN_DIGITS_MAX: i64 = 40;
/// Exponents beyond what PostgreSQL's `numeric` holds (131,072 digits before the point).
const EXPONENT_MAX: i64 = 200_000;

/// A well-formed decimal literal: sign, digits, point, exponent; no hexadecimal, no `_`.
#[derive(Clone, Copy)]
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
    /// Neither point nor exponent: SQLite reads such text as an integer if it fits.
    pub(super) is_integer_literal: bool,
}

/// Removes the white space that SQL databases allow around a number.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\x0B', '\x0C', '\r'])
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

impl<'a> Decimal<'a> {
    /// Reads all of `text`, already trimmed; `None` when it is not a decimal literal.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = sign(text.as_bytes());
        let (whole, rest) = digits(rest);
        let (has_point, (fraction, rest)) = match rest {
            [b'.', rest @ ..] => (true, digits(rest)),
            rest => (false, (&rest[..0], rest)),
        };
        let exponent = match rest {
            [] => None,
            [b'e' | b'E', rest @ ..] => Some(Self::exponent(rest)?),
            _ => return None,
        };
        let is_integer_literal = !has_point && exponent.is_none();
        let exponent = exponent.unwrap_or(0);
        (whole.len() + fraction.len() > 0).then_some(Self {
            negative,
            whole,
            fraction,
            exponent,
            is_integer_literal,
        })
    }

    /// Saturates: beyond every database's range, but still a number.
    fn exponent(text: &[u8]) -> Option<i64> {
        let (negative, rest) = sign(text);
        let (digits, rest) = digits(rest);
        if digits.is_empty() || !rest.is_empty() {
            return None;
        }
        let size = digits.iter().fold(0_i64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(i64::MAX / 4)
        });
        Some(if negative { -size } else { size })
    }

    /// Significant digits (first and last are not 0) and the power of ten of the last one; `None` for zero.
    fn significant(&self) -> Option<(impl Iterator<Item = u8> + use<'a>, i64, i64)> {
        let all = self.whole.iter().chain(self.fraction).copied();
        let first = all.clone().position(|digit| digit != b'0')?;
        let zeros_after = all.clone().rev().take_while(|digit| *digit == b'0').count();
        let count = self.whole.len() + self.fraction.len() - first - zeros_after;
        let power = self.exponent - self.fraction.len() as i64 + zeros_after as i64;
        Some((all.skip(first).take(count), count as i64, power))
    }

    /// The value, when it is integral and fits.
    pub(super) fn to_i64(self) -> Option<i64> {
        let Some((digits, count, power)) = self.significant() else { return Some(0) };
        const DIGITS_OF_I64: i64 = 19;
        if power < 0 || count + power > DIGITS_OF_I64 {
            return None;
        }
        let size =
            digits.chain((0..power).map(|_| b'0')).fold(0_i128, |sum, d| sum * 10 + i128::from(d - b'0'));
        i64::try_from(if self.negative { -size } else { size }).ok()
    }

    /// Writes the one text of this value: no leading or trailing zeros, no `+`, an exponent only for long numbers.
    pub(super) fn write(&self, out: &mut impl Write) -> Result<(), MalformedValue> {
        let Some((digits, count, power)) = self.significant() else { return Ok(out.write_char('0')?) };
        if power.abs() > EXPONENT_MAX {
            return Err(MalformedValue::type_error("a number within the database's range"));
        }
        if self.negative {
            out.write_char('-')?;
        }
        let point = count + power;
        if point > PLAIN_DIGITS_MAX || power < -PLAIN_DIGITS_MAX {
            write_digits(out, digits)?;
            return Ok(write!(out, "e{power}")?);
        }
        if point <= 0 {
            out.write_str("0.")?;
            write_digits(out, (point..0).map(|_| b'0'))?;
        }
        for (at, digit) in digits.chain((0..power).map(|_| b'0')).enumerate() {
            if at > 0 && at as i64 == point {
                out.write_char('.')?;
            }
            out.write_char(char::from(digit))?;
        }
        Ok(())
    }
}

fn write_digits(out: &mut impl Write, digits: impl Iterator<Item = u8>) -> fmt::Result {
    digits.into_iter().try_for_each(|digit| out.write_char(char::from(digit)))
}

/// `real` as an integer, when it is exactly one.
pub(super) fn integral(real: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    (real.fract() == 0.0 && (-LIMIT..LIMIT).contains(&real)).then_some(real as i64)
}

pub(super) fn write_int(out: &mut impl Write, int: i64) -> fmt::Result {
    out.write_str(itoa::Buffer::new().format(int))
}

/// Writes a finite float: exactly where an integer could equal it, else the shortest decimal that reads back as it.
pub(super) fn write_finite(out: &mut impl Write, real: f64) -> Result<(), MalformedValue> {
    if let Some(int) = integral(real) {
        return Ok(write_int(out, int)?);
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(real);
    Decimal::parse(text).ok_or(MalformedValue::type_error("a finite number"))?.write(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        Decimal::parse(text).unwrap().write(&mut out).unwrap();
        out
    }

    #[test]
    fn one_value_has_one_text() {
        for text in ["42", "042", "+42", "42.", "42.00", "4.2e1", "420e-1", "0.42E+2"] {
            assert_eq!(canonical(text), "42");
        }
        for text in ["0", "-0", "0.00", ".0", "0e9", "-0e99999999999999999999"] {
            assert_eq!(canonical(text), "0");
        }
        assert_eq!(canonical("-.050"), "-0.05");
        assert_eq!(canonical("12.340"), "12.34");
        assert_eq!(canonical("100"), "100");
        assert_eq!(canonical("1e50"), "1e50");
        assert_eq!(canonical("10e49"), "1e50");
        assert_eq!(canonical("1e-50"), "1e-50");
        assert_eq!(canonical("1e39"), format!("1{}", "0".repeat(39)));
    }

    #[test]
    fn what_is_not_a_decimal_literal_is_refused() {
        for text in ["", "+", ".", "e5", "1e", "1e+", "0x10", "1_000", "1 2", "--1", "1.2.3", "nan", "1\0"] {
            assert!(Decimal::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn integers_are_exact_to_the_last_digit() {
        assert_eq!(Decimal::parse("9223372036854775807").unwrap().to_i64(), Some(i64::MAX));
        assert_eq!(Decimal::parse("-9223372036854775808.0").unwrap().to_i64(), Some(i64::MIN));
        assert_eq!(Decimal::parse("9223372036854775808").unwrap().to_i64(), None);
        assert_eq!(Decimal::parse("42.5").unwrap().to_i64(), None);
        assert_eq!(Decimal::parse("1e99999999999999999999").unwrap().to_i64(), None);
    }

    proptest! {
        #[test]
        fn writing_is_idempotent_and_keeps_the_value(
            int in any::<i64>(), scale in 0_u32..60, zeros in 0_usize..4, negative_scale in any::<bool>()
        ) {
            let sign = if negative_scale { "-" } else { "" };
            let text = format!("{int}.{}e{sign}{scale}", "0".repeat(zeros));
            let once = canonical(&text);
            prop_assert_eq!(canonical(&once), once.clone());
            prop_assert_eq!(once.parse::<f64>().unwrap(), text.parse::<f64>().unwrap());
        }

        #[test]
        fn different_decimals_have_different_texts(a in -9999_i64..9999, b in -9999_i64..9999, s in 0_u32..6, t in 0_u32..6) {
            let equal = i128::from(a) * 10_i128.pow(t) == i128::from(b) * 10_i128.pow(s);
            prop_assert_eq!(canonical(&format!("{a}e-{s}")) == canonical(&format!("{b}e-{t}")), equal);
        }

        #[test]
        fn a_float_reads_back_as_itself(real in any::<f64>().prop_filter("finite", |real| real.is_finite())) {
            let mut text = String::new();
            write_finite(&mut text, real).unwrap();
            prop_assert_eq!(text.parse::<f64>().unwrap(), real);
        }
    }
}
