//! SQL values on their way into and out of a key.

use std::fmt;

/// One SQL value as a database, a driver or a typed key holds it. `Debug` shows the type alone.
#[derive(Clone, Copy, PartialEq)]
pub enum SqlValue<'a> {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer; equal to `Int` where both can hold it.
    Uint(u64),
    /// A 64-bit float.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
    /// A boolean.
    Bool(bool),
}

impl SqlValue<'_> {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "Null",
            Self::Int(_) => "Int(..)",
            Self::Uint(_) => "Uint(..)",
            Self::Real(_) => "Real(..)",
            Self::Text(_) => "Text(..)",
            Self::Blob(_) => "Blob(..)",
            Self::Bool(_) => "Bool(..)",
        }
    }
}

impl fmt::Debug for SqlValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

/// A canonical value taken out of a key, for binding it in a query. `Debug` shows the type alone.
#[derive(Clone, PartialEq)]
pub enum OwnedSqlValue {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// A 64-bit float.
    Real(f64),
    /// Text; also numerics, UUIDs and timestamps, whose canonical text every driver can cast.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// A boolean.
    Bool(bool),
}

impl OwnedSqlValue {
    /// The same value, borrowed.
    #[must_use]
    pub fn as_value(&self) -> SqlValue<'_> {
        match self {
            Self::Null => SqlValue::Null,
            Self::Int(int) => SqlValue::Int(*int),
            Self::Real(real) => SqlValue::Real(*real),
            Self::Text(text) => SqlValue::Text(text),
            Self::Blob(bytes) => SqlValue::Blob(bytes),
            Self::Bool(truth) => SqlValue::Bool(*truth),
        }
    }
}

impl fmt::Debug for OwnedSqlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_value().fmt(f)
    }
}
