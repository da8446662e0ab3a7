//! Integers, numerics, floats, booleans and UUIDs.

use std::fmt::Write;

use super::{
    HEX_LOWER, MalformedValue, SqlValue,
    number::{Decimal, integral, trim, write_finite, write_int},
    write_hex_byte,
};

pub(super) const TRUE: &str = "true";
pub(super) const FALSE: &str = "false";
pub(super) const NOT_INTEGER: MalformedValue = MalformedValue::type_error("a 64-bit integer, such as 42");
pub(super) const NOT_REAL: MalformedValue = MalformedValue::type_error("a 64-bit float");
const NOT_NUMERIC: MalformedValue = MalformedValue::type_error("a decimal number");
const NOT_BOOLEAN: MalformedValue = MalformedValue::type_error("a boolean, such as `true` or `false`");
const NOT_UUID: MalformedValue = MalformedValue::type_error("a UUID of 32 hexadecimal digits");

/// A value that is no [`SqlValue::Int`]: one that is has been written before anything was asked.
pub(super) fn write_integer(value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
    let int = match value {
        SqlValue::Uint(int) => i64::try_from(int).ok(),
        SqlValue::Real(real) => integral(real),
        SqlValue::Text(text) => Decimal::parse(trim(text)).and_then(Decimal::to_i64),
        _ => None,
    };
    Ok(write_int(out, int.ok_or(NOT_INTEGER)?)?)
}

pub(super) fn write_numeric(value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
    match value {
        SqlValue::Int(int) => Ok(write_int(out, int)?),
        SqlValue::Uint(int) => Ok(out.write_str(itoa::Buffer::new().format(int))?),
        SqlValue::Real(real) if !real.is_finite() => Ok(out.write_str(non_finite_name(real))?),
        SqlValue::Real(real) => write_finite(out, real),
        SqlValue::Text(text) => match Decimal::parse(trim(text)) {
            Some(decimal) => decimal.write(out),
            None => Ok(out.write_str(non_finite_name(non_finite(trim(text)).ok_or(NOT_NUMERIC)?))?),
        },
        _ => Err(NOT_NUMERIC),
    }
}

pub(super) fn write_real(value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
    let real = match value {
        SqlValue::Int(int) => int as f64,
        SqlValue::Uint(int) => int as f64,
        SqlValue::Real(real) => real,
        SqlValue::Text(text) => parse_real(trim(text)).ok_or(NOT_REAL)?,
        _ => return Err(NOT_REAL),
    };
    if real.is_finite() { write_finite(out, real) } else { Ok(out.write_str(non_finite_name(real))?) }
}

/// Reads a float; one too large for 64 bits is refused, as PostgreSQL does.
pub(super) fn parse_real(text: &str) -> Option<f64> {
    match Decimal::parse(text) {
        Some(_) => text.parse().ok().filter(|real: &f64| real.is_finite()),
        None => non_finite(text),
    }
}

/// PostgreSQL's names of what is no number; there NaN equals NaN.
fn non_finite(text: &str) -> Option<f64> {
    let (sign, name) = match text.as_bytes() {
        [b'-', ..] => (-1.0, &text[1..]),
        [b'+', ..] => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    text.eq_ignore_ascii_case("nan").then_some(f64::NAN)
}

fn non_finite_name(real: f64) -> &'static str {
    match real {
        real if real.is_nan() => "nan",
        f64::NEG_INFINITY => "-inf",
        _ => "inf",
    }
}

pub(super) fn write_boolean(value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
    let truth = match value {
        SqlValue::Bool(truth) => Some(truth),
        SqlValue::Int(0) | SqlValue::Uint(0) => Some(false),
        SqlValue::Int(1) | SqlValue::Uint(1) => Some(true),
        SqlValue::Text(text) => parse_boolean(trim(text)),
        _ => None,
    };
    Ok(out.write_str(if truth.ok_or(NOT_BOOLEAN)? { TRUE } else { FALSE })?)
}

/// PostgreSQL's spellings: the words below, and their beginnings where those are not ambiguous.
fn parse_boolean(text: &str) -> Option<bool> {
    const WORDS: [(&str, usize, bool); 8] = [
        ("true", 1, true),
        ("false", 1, false),
        ("yes", 1, true),
        ("no", 1, false),
        ("on", 2, true),
        ("off", 2, false),
        ("1", 1, true),
        ("0", 1, false),
    ];
    WORDS.iter().find_map(|(word, shortest, truth)| {
        let begins = word.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
        (begins && text.len() >= *shortest).then_some(*truth)
    })
}

pub(super) fn write_uuid(value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
    let bytes = match value {
        SqlValue::Blob(bytes) => <[u8; 16]>::try_from(bytes).ok(),
        SqlValue::Text(text) => parse_uuid(text),
        _ => None,
    };
    for (at, byte) in bytes.ok_or(NOT_UUID)?.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.write_char('-')?;
        }
        write_hex_byte(out, *byte, HEX_LOWER)?;
    }
    Ok(())
}

/// PostgreSQL's spellings: braces around it, a hyphen after any group of four digits.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    const DIGITS_PER_GROUP: usize = 4;
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut bytes = [0_u8; 16];
    let mut count = 0_usize;
    let mut after_hyphen = true;
    for c in inner.chars() {
        if c == '-' {
            let between_groups = !after_hyphen && count.is_multiple_of(DIGITS_PER_GROUP) && count < 32;
            if !between_groups {
                return None;
            }
            after_hyphen = true;
            continue;
        }
        let byte = bytes.get_mut(count / 2)?;
        *byte = *byte * 16 + u8::try_from(c.to_digit(16)?).ok()?;
        count += 1;
        after_hyphen = false;
    }
    (count == 32).then_some(bytes)
}

/// The boolean that a free parameter spells.
pub(in crate::key) fn boolean_word(text: &str) -> Result<&'static str, MalformedValue> {
    parse_boolean(trim(text)).map(|truth| if truth { TRUE } else { FALSE }).ok_or(NOT_BOOLEAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Option<String> {
        let mut out = String::new();
        write_uuid(SqlValue::Text(text), &mut out).ok().map(|()| out)
    }

    #[test]
    fn one_uuid_has_one_text() {
        const CANONICAL: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            CANONICAL,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(uuid(text).as_deref(), Some(CANONICAL), "{text}");
        }
        for text in [
            "",
            "{}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1é",
            "a0eebc99--9c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn booleans_are_spelled_as_the_database_allows() {
        for text in ["t", "TRUE", "tru", " yes ", "Y", "on", "1"] {
            assert_eq!(boolean_word(text), Ok(TRUE), "{text}");
        }
        for text in ["f", "False", "n", "no", "of", "off", "0"] {
            assert_eq!(boolean_word(text), Ok(FALSE), "{text}");
        }
        for text in ["", "o", "2", "truee", "ja", "ý"] {
            assert_eq!(boolean_word(text), Err(NOT_BOOLEAN), "{text}");
        }
    }

    #[test]
    fn numerics_may_be_no_number() {
        for (text, expected) in [("NaN", "nan"), ("-Infinity", "-inf"), ("+inf", "inf"), (" 042.10 ", "42.1")]
        {
            let mut out = String::new();
            write_numeric(SqlValue::Text(text), &mut out).unwrap();
            assert_eq!(out, expected);
        }
        assert_eq!(write_numeric(SqlValue::Text("-nan"), &mut String::new()), Err(NOT_NUMERIC));
    }

    #[test]
    fn a_float_out_of_range_is_refused() {
        assert_eq!(write_real(SqlValue::Text("1e999"), &mut String::new()), Err(NOT_REAL));
        assert_eq!(write_real(SqlValue::Text("1_0"), &mut String::new()), Err(NOT_REAL));
    }
}
