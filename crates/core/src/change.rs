//! Rows on their way to the source: the columns that a writer gives, as JSON.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// Columns of one row, by name, each value as the JSON it was written in: a number keeps every digit.
#[derive(Clone, Default)]
pub struct Row(BTreeMap<String, Box<RawValue>>);

/// What was given is no row. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a row is a JSON object with a value for each column that is to be written, such as {{\"views\": 7}}"
)]
pub struct BadRow;

impl Row {
    /// Reads a JSON object. Of a column that is named twice the last value counts.
    ///
    /// # Errors
    /// [`BadRow`] for anything else.
    pub fn parse(json: &[u8]) -> Result<Self, BadRow> {
        serde_json::from_slice(json).map(Self).map_err(|_| BadRow)
    }

    /// The fields of `value` as columns.
    ///
    /// # Errors
    /// [`BadRow`] where it is no struct or map with names, or cannot be serialized.
    pub fn of(value: &impl Serialize) -> Result<Self, BadRow> {
        Self::parse(&serde_json::to_vec(value).map_err(|_| BadRow)?)
    }

    /// The names of the columns, in alphabetical order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    /// The JSON of a column's value.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(|value| value.get())
    }

    /// Gives a column this value, as JSON.
    ///
    /// # Errors
    /// [`BadRow`] when it is none.
    pub fn set(&mut self, column: &str, json: String) -> Result<(), BadRow> {
        let value = RawValue::from_string(json).map_err(|_| BadRow)?;
        self.0.insert(column.to_owned(), value);
        Ok(())
    }

    /// Without that column; its JSON, if it was there.
    pub fn remove(&mut self, column: &str) -> Option<String> {
        self.0.remove(column).map(|value| value.get().to_owned())
    }

    /// Whether no column is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The row as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(64);
        json.push(b'{');
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            // Writing text to a Vec cannot fail.
            drop(serde_json::to_writer(&mut json, name));
            json.push(b':');
            json.extend_from_slice(value.get().as_bytes());
        }
        json.push(b'}');
        json
    }

    /// Takes over what `newer` says of any column.
    pub fn update(&mut self, newer: Self) {
        self.0.extend(newer.0);
    }
}

impl fmt::Debug for Row {
    /// Shows how many columns there are: values never reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({} columns)", self.0.len())
    }
}

/// What a write does to one row.
#[derive(Clone, Debug)]
pub enum RowChange {
    /// The row has these values in these columns; it is added where there is none.
    Put(Row),
    /// There is no such row.
    Delete,
    /// The row that was there is gone, and this one is: what a deletion and an addition come to.
    Replace(Row),
}

impl RowChange {
    /// Both, one after the other, as one change.
    #[must_use]
    pub fn then(self, newer: Self) -> Self {
        match (self, newer) {
            (Self::Put(mut row), Self::Put(newer)) => {
                row.update(newer);
                Self::Put(row)
            }
            (Self::Replace(mut row), Self::Put(newer)) => {
                row.update(newer);
                Self::Replace(row)
            }
            (Self::Delete, Self::Put(newer)) => Self::Replace(newer),
            (_, newer) => newer,
        }
    }

    /// The value of a reader for whom the row was `base` before; none where there is no row.
    ///
    /// # Errors
    /// [`BadRow`] when `base` is no JSON object.
    pub fn over(&self, base: Option<&[u8]>) -> Result<Option<Bytes>, BadRow> {
        let row = match self {
            Self::Delete => return Ok(None),
            Self::Replace(row) => row.to_json(),
            Self::Put(row) => match base {
                None => row.to_json(),
                Some(base) => {
                    let mut merged = Row::parse(base)?;
                    merged.update(row.clone());
                    merged.to_json()
                }
            },
        };
        Ok(Some(row.into()))
    }

    /// The same with another row, where there is one.
    #[must_use]
    pub fn with_row(&self, row: Row) -> Self {
        match self {
            Self::Put(_) => Self::Put(row),
            Self::Replace(_) => Self::Replace(row),
            Self::Delete => Self::Delete,
        }
    }

    /// A short stable name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Delete => "delete",
            Self::Replace(_) => "replace",
        }
    }

    /// The columns that are given.
    #[must_use]
    pub const fn row(&self) -> Option<&Row> {
        match self {
            Self::Put(row) | Self::Replace(row) => Some(row),
            Self::Delete => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(json: &str) -> RowChange {
        RowChange::Put(Row::parse(json.as_bytes()).unwrap())
    }

    fn shown(change: &RowChange, base: Option<&str>) -> Option<String> {
        let value = change.over(base.map(str::as_bytes)).unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn a_row_is_an_object_and_keeps_every_digit() {
        let row = Row::parse(br#"{"b": 12345678901234567890.123456789, "a": [1,  2], "a": null}"#).unwrap();
        assert_eq!(row.to_json(), br#"{"a":null,"b":12345678901234567890.123456789}"#);
        for no_row in ["", "7", "[]", "null", "{", "{\"a\"}", "\"a\""] {
            assert!(Row::parse(no_row.as_bytes()).is_err(), "{no_row}");
        }
        assert!(Row::of(&7).is_err());
        assert_eq!(format!("{row:?}"), "Row(2 columns)");
    }

    #[test]
    fn what_follows_wins_column_by_column() {
        let both = put(r#"{"a":1,"b":2}"#).then(put(r#"{"b":3}"#));
        assert_eq!(shown(&both, None).unwrap(), r#"{"a":1,"b":3}"#);
        assert_eq!(shown(&both, Some(r#"{"a":0,"c":9}"#)).unwrap(), r#"{"a":1,"b":3,"c":9}"#);
        let anew = both.clone().then(RowChange::Delete).then(put(r#"{"b":4}"#)).then(put(r#"{"d":5}"#));
        assert!(matches!(anew, RowChange::Replace(_)));
        assert_eq!(shown(&anew, Some(r#"{"a":0}"#)).unwrap(), r#"{"b":4,"d":5}"#);
        assert_eq!(shown(&both.then(RowChange::Delete), Some("{}")), None);
        assert!(put("{}").over(Some(b"[1]")).is_err());
    }
}
