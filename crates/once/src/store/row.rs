//! Rows as both databases give them.

use super::{StoreError, StoreErrorKind};

/// One value of a row.
#[derive(Clone, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A whole number, or a truth value as 0 or 1.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A row: its values by their place, from 0.
#[derive(Clone, PartialEq, Eq)]
pub struct Row(Vec<Cell>);

impl Row {
    /// A row of these values.
    #[must_use]
    pub const fn new(cells: Vec<Cell>) -> Self {
        Self(cells)
    }

    /// The whole number at `place`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Usage`] where there is none: another type, NULL, no such place.
    pub fn int(&self, place: usize) -> Result<i64, StoreError> {
        self.opt_int(place)?.ok_or_else(|| wrong(place, "a number, not NULL"))
    }

    /// The whole number at `place`, if it is not NULL.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn opt_int(&self, place: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(place) {
            Some(Cell::Int(value)) => Ok(Some(*value)),
            Some(Cell::Null) => Ok(None),
            _ => Err(wrong(place, "a number")),
        }
    }

    /// The truth value at `place`.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn flag(&self, place: usize) -> Result<bool, StoreError> {
        Ok(self.int(place)? != 0)
    }

    /// The text at `place`.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn text(&self, place: usize) -> Result<&str, StoreError> {
        self.opt_text(place)?.ok_or_else(|| wrong(place, "text, not NULL"))
    }

    /// The text at `place`, if it is not NULL.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn opt_text(&self, place: usize) -> Result<Option<&str>, StoreError> {
        match self.0.get(place) {
            Some(Cell::Text(value)) => Ok(Some(value)),
            Some(Cell::Null) => Ok(None),
            _ => Err(wrong(place, "text")),
        }
    }

    /// The bytes at `place`.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn bytes(&self, place: usize) -> Result<&[u8], StoreError> {
        self.opt_bytes(place)?.ok_or_else(|| wrong(place, "bytes, not NULL"))
    }

    /// The bytes at `place`, if they are not NULL.
    ///
    /// # Errors
    /// As [`Row::int`].
    pub fn opt_bytes(&self, place: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.0.get(place) {
            Some(Cell::Bytes(value)) => Ok(Some(value)),
            Some(Cell::Null) => Ok(None),
            _ => Err(wrong(place, "bytes")),
        }
    }
}

fn wrong(place: usize, wanted: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Usage, format!("column {place} of the answer is not {wanted}"))
}

impl std::fmt::Debug for Row {
    /// How many values there are: they never reach a log themselves.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("columns", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_what_it_is() {
        let row = Row::new(vec![Cell::Int(1), Cell::Text("a".into()), Cell::Bytes(vec![2]), Cell::Null]);
        assert_eq!(row.int(0).unwrap(), 1);
        assert!(row.flag(0).unwrap());
        assert_eq!(row.text(1).unwrap(), "a");
        assert_eq!(row.bytes(2).unwrap(), [2]);
        assert_eq!(row.opt_int(3).unwrap(), None);
        assert_eq!(row.int(1).unwrap_err().kind(), StoreErrorKind::Usage);
        assert_eq!(row.text(3).unwrap_err().kind(), StoreErrorKind::Usage);
        assert_eq!(row.text(4).unwrap_err().kind(), StoreErrorKind::Usage);
        assert_eq!(format!("{row:?}"), "Row { columns: 4 }");
    }
}
