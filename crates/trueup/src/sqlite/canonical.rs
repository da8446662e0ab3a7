//! From SQLite's values to the canonical text that tags and keys are made of.
//!
//! The feed and the loaders both come through here: what one hashes, the other hashes.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use trueup_core::key::{Affinity, Collation, ColumnForm, OwnedSqlValue, SqlValue};

use super::names::same_name;

/// One column that a tag is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// How its values compare.
    pub form: ColumnForm,
}

/// The form of a column by its declared type and collation. Strict tables take `ANY` as it is.
pub(super) fn form_of(declared_type: &str, strict: bool, collation: &str) -> ColumnForm {
    let affinity = if strict && same_name(declared_type, "ANY") {
        Affinity::Blob
    } else {
        Affinity::of_declared_type(Some(declared_type))
    };
    match collation_of(collation) {
        Some(collation) => ColumnForm::Sqlite { affinity, collation },
        None => ColumnForm::Opaque,
    }
}

/// A collation that is built into SQLite. Any other is known to its own program alone.
pub(super) fn collation_of(name: &str) -> Option<Collation> {
    match () {
        () if same_name(name, "BINARY") => Some(Collation::Binary),
        () if same_name(name, "NOCASE") => Some(Collation::NoCase),
        () if same_name(name, "RTRIM") => Some(Collation::RTrim),
        () => None,
    }
}

/// The collation by which a column compares, if it is a known one.
pub(super) const fn form_collation(form: &ColumnForm) -> Option<Collation> {
    match form {
        ColumnForm::Sqlite { collation, .. } => Some(*collation),
        ColumnForm::Opaque => None,
        _ => Some(Collation::Binary),
    }
}

/// The canonical texts of `values` under `columns`; none where a value has no such text (text that is not UTF-8), so
/// that its row can only be named by the whole table.
pub(super) fn canonical_parts<'v>(
    columns: &[KeyColumn],
    values: impl Iterator<Item = ValueRef<'v>>,
) -> Option<Vec<String>> {
    columns.iter().zip(values).map(|(column, value)| canonical(&column.form, sql_value(value)?)).collect()
}

/// The canonical text of one value.
pub(super) fn canonical(form: &ColumnForm, value: SqlValue<'_>) -> Option<String> {
    let mut text = String::new();
    form.canonical(value, &mut text).ok()?;
    Some(text)
}

fn sql_value(value: ValueRef<'_>) -> Option<SqlValue<'_>> {
    Some(match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(int) => SqlValue::Int(int),
        ValueRef::Real(real) => SqlValue::Real(real),
        ValueRef::Text(bytes) => SqlValue::Text(std::str::from_utf8(bytes).ok()?),
        ValueRef::Blob(bytes) => SqlValue::Blob(bytes),
    })
}

/// A value taken out of a key, on its way into a statement.
pub(super) struct Bound<'a>(pub(super) &'a OwnedSqlValue);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            OwnedSqlValue::Null => ValueRef::Null,
            OwnedSqlValue::Int(int) => ValueRef::Integer(*int),
            OwnedSqlValue::Bool(truth) => ValueRef::Integer((*truth).into()),
            OwnedSqlValue::Real(real) => ValueRef::Real(*real),
            OwnedSqlValue::Text(text) => ValueRef::Text(text.as_bytes()),
            OwnedSqlValue::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
