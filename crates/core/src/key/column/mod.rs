//! The canonical text of one column's value, by the database's own type.
//!
//! Reader and change feed hash the same text, so what the database holds equal must be written one way, and what it
//! tells apart two ways.

mod number;
mod scalar;
mod sqlite;
mod text;
mod time;

use std::fmt::{self, Write};

use thiserror::Error;

pub(super) use self::scalar::boolean_word;
pub use self::{sqlite::Affinity, text::Collation};
use super::{
    OwnedSqlValue, SqlValue,
    escape::{self, Escaped, HEX_LOWER, Place, write_hex_byte},
};

/// Begins a value whose SQL type is not the ordinary one of its column. Escaped everywhere else.
const MARK: char = '!';
const MARK_NULL: &str = "!null";
const MARK_BLOB: &str = "!x";
const MARK_TEXT: &str = "!t";

/// How values of one column are compared, and so written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnForm {
    /// 64-bit integer (PostgreSQL `int2`, `int4`, `int8`; SQLite `INTEGER PRIMARY KEY`): `042`, `+42`, `42.0` are `42`.
    Integer,
    /// Decimal number of any length (PostgreSQL `numeric`): `42.00` is `42`.
    Numeric,
    /// 64-bit float (PostgreSQL `float8`): the exact value where it is integral, else the shortest decimal.
    Real,
    /// Text under a collation.
    Text(Collation),
    /// Bytes (PostgreSQL `bytea`), in hexadecimal.
    Blob,
    /// Boolean: `t`, `TRUE`, `yes`, `on`, `1` are `true`.
    Boolean,
    /// UUID: letter case, hyphens and braces do not matter.
    Uuid,
    /// Point in time (PostgreSQL `timestamptz`): UTC, to the microsecond. An integer is microseconds since 1970.
    TimestampTz,
    /// A column of an ordinary (not `STRICT`) SQLite table, whose values keep a type of their own.
    Sqlite {
        /// What the declared type converts values to.
        affinity: Affinity,
        /// How text in it is compared.
        collation: Collation,
    },
    /// A type without a canonical text that is known here. Usable as a key, but two spellings of one value are two keys,
    /// and its row has no tag: see [`ColumnForm::has_row_tag`].
    Opaque,
}

/// A value that does not fit its column's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedValue {
    /// Not a value of the column's type.
    #[error("the value must be {expected}")]
    WrongType {
        /// What the type accepts.
        expected: &'static str,
    },
    /// `!` begins the text, but none of the forms that it stands for.
    #[error("the value begins with `!` but is none of `!null`, `!xHEX`, `!tTEXT`")]
    BadMark,
    /// The percent-encoding is broken.
    #[error("the value is not percent-encoded UTF-8")]
    BadEncoding,
    /// The sink takes no more.
    #[error("the sink refused the text")]
    Sink,
}

impl MalformedValue {
    const fn type_error(expected: &'static str) -> Self {
        Self::WrongType { expected }
    }
}

impl From<fmt::Error> for MalformedValue {
    fn from(_: fmt::Error) -> Self {
        Self::Sink
    }
}

impl ColumnForm {
    /// Whether one row can be tagged by this column: the canonical text is equal exactly when the database's values are.
    /// Otherwise a key over the column depends on the whole table.
    #[must_use]
    pub const fn has_row_tag(&self) -> bool {
        !matches!(self, Self::Opaque)
    }

    /// Writes the canonical text of a typed value, as it stands in a key.
    ///
    /// # Errors
    /// [`MalformedValue`] when the value is none of the column's. A feed that meets one must raise the table's `wide`
    /// tag: it does not know which row's key to raise.
    pub fn canonical(&self, value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
        self.write_value(value, Place::Body, out)
    }

    #[inline]
    pub(super) fn write_value(
        &self,
        value: SqlValue<'_>,
        place: Place,
        out: &mut impl Write,
    ) -> Result<(), MalformedValue> {
        match (self, value) {
            (Self::Integer, SqlValue::Int(int)) => Ok(number::write_int(out, int)?),
            (Self::Text(Collation::Binary), SqlValue::Text(text)) => {
                Ok(Escaped::new(out, place).write_str(text)?)
            }
            _ => self.write_any(value, place, out),
        }
    }

    fn write_any(
        &self,
        value: SqlValue<'_>,
        place: Place,
        out: &mut impl Write,
    ) -> Result<(), MalformedValue> {
        if value == SqlValue::Null {
            return Ok(out.write_str(MARK_NULL)?);
        }
        match self {
            Self::Integer => scalar::write_integer(value, out),
            Self::Numeric => scalar::write_numeric(value, out),
            Self::Real => scalar::write_real(value, out),
            Self::Text(collation) => text::write(*collation, value, place, out),
            Self::Blob => write_blob(value, out),
            Self::Boolean => scalar::write_boolean(value, out),
            Self::Uuid => scalar::write_uuid(value, out),
            Self::TimestampTz => time::write(value, place, out),
            Self::Sqlite { affinity, collation } => sqlite::write(*affinity, *collation, value, place, out),
            Self::Opaque => write_opaque(value, place, out),
        }
    }

    /// Writes the canonical text of a part as it arrived: percent-encoded, and perhaps marked.
    pub(super) fn write_encoded(
        &self,
        raw: &str,
        place: Place,
        out: &mut impl Write,
    ) -> Result<(), MalformedValue> {
        if raw == MARK_NULL {
            return self.write_value(SqlValue::Null, place, out);
        }
        let decode = |text| escape::decode(text).map_err(|_| MalformedValue::BadEncoding);
        if let Some(digits) = raw.strip_prefix(MARK_BLOB) {
            let bytes = from_hex(digits).ok_or(MalformedValue::BadMark)?;
            return self.write_value(SqlValue::Blob(&bytes), place, out);
        }
        if let Some(text) = raw.strip_prefix(MARK_TEXT) {
            return self.write_value(SqlValue::Text(&decode(text)?), place, out);
        }
        if raw.starts_with(MARK) {
            return Err(MalformedValue::BadMark);
        }
        self.write_spelled(&decode(raw)?, place, out)
    }

    /// Writes the canonical text of a value spelled by a person or a client without types.
    pub(super) fn write_spelled(
        &self,
        text: &str,
        place: Place,
        out: &mut impl Write,
    ) -> Result<(), MalformedValue> {
        let value = match self {
            // Without an affinity the database keeps the type it is given, so the spelling has to choose one.
            Self::Sqlite { affinity: Affinity::Blob, .. } => sqlite::literal(text),
            _ => SqlValue::Text(text),
        };
        self.write_value(value, place, out)
    }

    /// Takes the value back out of its canonical text, typed for binding.
    pub(super) fn read(&self, canonical: &str) -> Result<OwnedSqlValue, MalformedValue> {
        let decode = |text| match escape::decode(text) {
            Ok(text) => Ok(OwnedSqlValue::Text(text.into_owned())),
            Err(_) => Err(MalformedValue::BadEncoding),
        };
        let blob = |digits| from_hex(digits).map(OwnedSqlValue::Blob).ok_or(MalformedValue::BadMark);
        if canonical == MARK_NULL {
            return Ok(OwnedSqlValue::Null);
        } else if let Some(digits) = canonical.strip_prefix(MARK_BLOB) {
            return blob(digits);
        } else if let Some(text) = canonical.strip_prefix(MARK_TEXT) {
            return decode(text);
        }
        match self {
            Self::Integer => canonical.parse().map(OwnedSqlValue::Int).map_err(|_| scalar::NOT_INTEGER),
            Self::Real => scalar::parse_real(canonical).map(OwnedSqlValue::Real).ok_or(scalar::NOT_REAL),
            Self::Boolean => Ok(OwnedSqlValue::Bool(canonical == scalar::TRUE)),
            Self::Blob => blob(canonical),
            Self::Sqlite { affinity, .. } => match sqlite::number(*affinity, canonical) {
                Some(number) => Ok(number),
                None => decode(canonical),
            },
            Self::Numeric | Self::Text(_) | Self::Uuid | Self::TimestampTz | Self::Opaque => {
                decode(canonical)
            }
        }
    }

    /// The form's name in a fingerprint and in messages.
    pub(super) fn write_name(&self, out: &mut impl Write) -> fmt::Result {
        let name = match self {
            Self::Integer => "integer",
            Self::Numeric => "numeric",
            Self::Real => "real",
            Self::Text(collation) => return write!(out, "text {}", collation.name()),
            Self::Blob => "blob",
            Self::Boolean => "boolean",
            Self::Uuid => "uuid",
            Self::TimestampTz => "timestamptz",
            Self::Sqlite { affinity, collation } => {
                return write!(out, "sqlite {} {}", affinity.name(), collation.name());
            }
            Self::Opaque => "opaque",
        };
        out.write_str(name)
    }
}

fn write_hex(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write_hex_byte(out, *byte, HEX_LOWER))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(value(pair[0])? * 16 + value(pair[1])?)).collect()
}

fn write_marked_blob(bytes: &[u8], out: &mut impl Write) -> Result<(), MalformedValue> {
    out.write_str(MARK_BLOB)?;
    Ok(write_hex(bytes, out)?)
}

fn write_blob(value: SqlValue<'_>, out: &mut impl Write) -> Result<(), MalformedValue> {
    let refused = MalformedValue::type_error("bytes in hexadecimal, such as `0aff`");
    match value {
        SqlValue::Blob(bytes) => Ok(write_hex(bytes, out)?),
        SqlValue::Text(text) => {
            let digits = text.strip_prefix("\\x").unwrap_or(text);
            Ok(write_hex(&from_hex(digits).ok_or(refused)?, out)?)
        }
        _ => Err(refused),
    }
}

fn write_opaque(value: SqlValue<'_>, place: Place, out: &mut impl Write) -> Result<(), MalformedValue> {
    match value {
        SqlValue::Null => Ok(out.write_str(MARK_NULL)?),
        SqlValue::Int(int) => Ok(number::write_int(out, int)?),
        SqlValue::Uint(int) => Ok(out.write_str(itoa::Buffer::new().format(int))?),
        SqlValue::Real(_) => scalar::write_real(value, out),
        SqlValue::Text(text) => Ok(Escaped::new(out, place).write_str(text)?),
        SqlValue::Blob(bytes) => write_marked_blob(bytes, out),
        SqlValue::Bool(truth) => Ok(out.write_str(if truth { scalar::TRUE } else { scalar::FALSE })?),
    }
}
