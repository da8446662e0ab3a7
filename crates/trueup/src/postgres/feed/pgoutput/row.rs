//! The values of one row as the log tells them.

use super::read::{Malformed, Reader};

/// A value of a row, in the database's own text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// NULL; in the old row of a table without REPLICA IDENTITY FULL also every column outside of the identity.
    Null,
    /// A large value that the change left as it was, and that is therefore not told.
    Unchanged,
    /// Its text.
    Text(&'a str),
    /// Told, but not as text in UTF-8.
    Opaque,
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Unchanged => "Unchanged",
            // What it says belongs to the application.
            Self::Text(_) => "Text(..)",
            Self::Opaque => "Opaque",
        })
    }
}

/// A row of a message: checked, and decoded again as often as it is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    columns: u16,
    bytes: &'a [u8],
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl<'a> Row<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let columns = reader.u16("number of columns")?;
        let whole = reader.rest();
        for _ in 0..columns {
            value(reader)?;
        }
        let bytes = &whole[..whole.len() - reader.rest().len()];
        Ok(Self { columns, bytes })
    }

    /// Its values, in the order of the relation's columns.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // Checked when the row was decoded, so nothing is cut short here.
        (0..self.columns).map_while(move |_| value(&mut reader).ok())
    }
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Malformed> {
    match reader.u8("kind of a value")? {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' => {
            let length = reader.u32("length of a value")?;
            let bytes = reader.bytes(length, "value")?;
            Ok(std::str::from_utf8(bytes).map_or(Value::Opaque, Value::Text))
        }
        b'b' => {
            let length = reader.u32("length of a value")?;
            reader.bytes(length, "value")?;
            Ok(Value::Opaque)
        }
        _ => Err(Malformed::Impossible("kind of a value")),
    }
}
