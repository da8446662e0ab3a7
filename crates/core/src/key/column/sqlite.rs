//! SQLite's dynamic types: what a value becomes when it is stored in a column, and what equals what.
//!
//! Source: <https://www.sqlite.org/datatype3.html>, sections 3 (affinity) and 4 (comparison).

use std::fmt::Write;

use super::{
    Collation, Escaped, MARK_TEXT, MalformedValue, OwnedSqlValue, Place, SqlValue,
    number::{Decimal, trim, write_finite, write_int},
    write_marked_blob,
};

/// Infinity as a number that SQLite reads back as infinity; a plain name would be text there.
const INFINITY: &str = "9e999";

/// What a column's declared type converts values to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// `INT`, `INTEGER`, ...: text that spells a number becomes one.
    Integer,
    /// `NUMERIC`, `DECIMAL`, `DATE`, ...: stores and compares as `Integer` does.
    Numeric,
    /// `REAL`, `FLOAT`, `DOUBLE`: as `Numeric`, integers becoming floats.
    Real,
    /// `TEXT`, `CHAR`, `CLOB`: integers become text.
    Text,
    /// `BLOB` or no type: nothing is converted.
    Blob,
}

impl Affinity {
    /// The affinity of a column by its declared type, as SQLite determines it; `None` stands for no declared type.
    #[must_use]
    pub fn of_declared_type(declared: Option<&str>) -> Self {
        let declared = declared.unwrap_or_default().to_ascii_uppercase();
        let names = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if names(&["INT"]) => Self::Integer,
            () if names(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if declared.is_empty() || names(&["BLOB"]) => Self::Blob,
            () if names(&["REAL", "FLOA", "DOUB"]) => Self::Real,
            () => Self::Numeric,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Numeric => "numeric",
            Self::Real => "real",
            Self::Text => "text",
            Self::Blob => "blob",
        }
    }
}

pub(super) fn write(
    affinity: Affinity,
    collation: Collation,
    value: SqlValue<'_>,
    place: Place,
    out: &mut impl Write,
) -> Result<(), MalformedValue> {
    match (affinity, value) {
        (_, SqlValue::Null) => Ok(out.write_str(super::MARK_NULL)?),
        (_, SqlValue::Real(real)) if real.is_nan() => Ok(out.write_str(super::MARK_NULL)?),
        (_, SqlValue::Bool(truth)) => write(affinity, collation, SqlValue::Int(truth.into()), place, out),
        (_, SqlValue::Blob(bytes)) => write_marked_blob(bytes, out),
        (Affinity::Text, SqlValue::Real(_)) => Err(MalformedValue::type_error("text, an integer or bytes")),
        (Affinity::Text, SqlValue::Int(int)) => Ok(write_int(out, int)?),
        (Affinity::Real, SqlValue::Int(int)) => write_float(int as f64, out),
        (_, SqlValue::Int(int)) => Ok(write_int(out, int)?),
        (_, SqlValue::Uint(int)) => match i64::try_from(int) {
            Ok(int) => write(affinity, collation, SqlValue::Int(int), place, out),
            Err(_) => Err(MalformedValue::type_error("an integer of 64 bits with sign")),
        },
        (_, SqlValue::Real(real)) => write_float(real, out),
        (Affinity::Text, SqlValue::Text(text)) => Ok(collation.write(text, &mut Escaped::new(out, place))?),
        (Affinity::Blob, SqlValue::Text(text)) => {
            if as_number(text).is_some() {
                out.write_str(MARK_TEXT)?;
            }
            Ok(collation.write(text, &mut Escaped::new(out, place))?)
        }
        (Affinity::Integer | Affinity::Numeric | Affinity::Real, SqlValue::Text(text)) => {
            match as_number(text) {
                Some(number) => write(affinity, collation, number, place, out),
                None => Ok(collation.write(text, &mut Escaped::new(out, place))?),
            }
        }
    }
}

fn write_float(real: f64, out: &mut impl Write) -> Result<(), MalformedValue> {
    if real.is_finite() {
        return write_finite(out, real);
    }
    if real.is_sign_negative() {
        out.write_char('-')?;
    }
    Ok(out.write_str(INFINITY)?)
}

/// The number that `text` spells, spaces around it allowed, hexadecimal not: an integer if it fits, else a float. Text
/// ends at a NUL, after which SQLite takes the way of floats.
fn as_number(text: &str) -> Option<SqlValue<'static>> {
    let (spelled, ends_at_nul) = text.split_once('\0').map_or((text, false), |(spelled, _)| (spelled, true));
    let spelled = trim(spelled);
    let decimal = Decimal::parse(spelled)?;
    match (decimal.is_integer_literal && !ends_at_nul).then(|| decimal.to_i64()).flatten() {
        Some(int) => Some(SqlValue::Int(int)),
        None => spelled.parse().ok().map(SqlValue::Real),
    }
}

/// What a spelling without a type stands for where the column gives none: a number if it looks like one, else text.
pub(super) fn literal(text: &str) -> SqlValue<'_> {
    as_number(text).unwrap_or(SqlValue::Text(text))
}

/// The number in canonical text, unless it is text.
pub(super) fn number(affinity: Affinity, canonical: &str) -> Option<OwnedSqlValue> {
    if affinity == Affinity::Text {
        return None;
    }
    match as_number(canonical)? {
        SqlValue::Int(int) => Some(OwnedSqlValue::Int(int)),
        SqlValue::Real(real) => Some(OwnedSqlValue::Real(real)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(affinity: Affinity, value: SqlValue<'_>) -> String {
        let mut out = String::new();
        write(affinity, Collation::Binary, value, Place::Body, &mut out).unwrap();
        out
    }

    #[test]
    fn an_affinity_decides_whether_text_is_a_number() {
        for affinity in [Affinity::Integer, Affinity::Numeric, Affinity::Real] {
            for text in ["042", " 42 ", "+42", "42.0", "4.2e1"] {
                assert_eq!(canonical(affinity, SqlValue::Text(text)), "42");
            }
            assert_eq!(canonical(affinity, SqlValue::Text("abc")), "abc");
            assert_eq!(canonical(affinity, SqlValue::Text("0x2A")), "0x2A");
        }
        assert_eq!(canonical(Affinity::Integer, SqlValue::Text("42\0x")), "42");
        assert_eq!(canonical(Affinity::Integer, SqlValue::Text("9007199254740993\0")), "9007199254740992");
        assert_eq!(canonical(Affinity::Text, SqlValue::Text("042")), "042");
        assert_eq!(canonical(Affinity::Text, SqlValue::Int(42)), "42");
    }

    #[test]
    fn types_that_differ_in_the_database_differ_in_the_key() {
        let values = [
            SqlValue::Int(42),
            SqlValue::Text("42"),
            SqlValue::Blob(b"42"),
            SqlValue::Null,
            SqlValue::Text("!null"),
            SqlValue::Text("!x3432"),
        ];
        let texts = values.map(|value| canonical(Affinity::Blob, value));
        assert_eq!(texts, ["42", "!t42", "!x3432", "!null", "%21null", "%21x3432"]);
        assert_eq!(canonical(Affinity::Blob, SqlValue::Real(42.0)), "42");
    }

    #[test]
    fn integers_beyond_64_bits_and_infinity_are_floats() {
        assert_eq!(
            canonical(Affinity::Integer, SqlValue::Text("9223372036854775808")),
            "9223372036854776000"
        );
        assert_eq!(canonical(Affinity::Real, SqlValue::Int(i64::MAX)), "9223372036854776000");
        assert_eq!(canonical(Affinity::Numeric, SqlValue::Text("-1e999")), "-9e999");
        assert_eq!(canonical(Affinity::Numeric, SqlValue::Text("-9e999")), "-9e999");
    }

    #[test]
    fn affinities_follow_the_declared_type() {
        let of = |text| Affinity::of_declared_type(Some(text));
        assert_eq!(of("bigint"), Affinity::Integer);
        assert_eq!(of("CHARINT"), Affinity::Integer);
        assert_eq!(of("varchar(20)"), Affinity::Text);
        assert_eq!(of("double precision"), Affinity::Real);
        assert_eq!(of("decimal(10,2)"), Affinity::Numeric);
        assert_eq!(of("STRING"), Affinity::Numeric);
        assert_eq!(of("blob"), Affinity::Blob);
        assert_eq!(Affinity::of_declared_type(None), Affinity::Blob);
    }
}
