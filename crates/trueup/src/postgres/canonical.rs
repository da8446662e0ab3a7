//! From PostgreSQL's values to the canonical text that tags and keys are made of.
//!
//! The feed and the loaders both come through here: what one hashes, the other hashes.

use trueup_core::key::{Collation, ColumnForm, OwnedSqlValue, SqlValue};

/// One column that a tag is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// How its values compare.
    pub form: ColumnForm,
    /// The type that a parameter compared with the column has, as SQL.
    pub(super) parameter: String,
}

/// The form of a column of a type of `pg_catalog`, and whether its collation is deterministic. Domains come as their base
/// type.
///
/// Types whose equality is not exactly that of the form's text are opaque: `float4` (its values are spelled in two lengths),
/// `citext` (its folding is that of the server's locale), dates and all others.
pub(super) fn form_of(type_name: &str, deterministic: bool) -> ColumnForm {
    match type_name {
        "int2" | "int4" | "int8" => ColumnForm::Integer,
        "numeric" => ColumnForm::Numeric,
        "float8" => ColumnForm::Real,
        "text" | "varchar" if deterministic => ColumnForm::Text(Collation::Binary),
        "bpchar" if deterministic => ColumnForm::Text(Collation::RTrim),
        "bool" => ColumnForm::Boolean,
        "uuid" => ColumnForm::Uuid,
        "bytea" => ColumnForm::Blob,
        "timestamptz" => ColumnForm::TimestampTz,
        _ => ColumnForm::Opaque,
    }
}

/// The type of a parameter that is compared with a column of this form; wide enough that no key is out of its range.
/// `own` is the column's own type.
pub(super) fn parameter_type(form: &ColumnForm, own: &str) -> String {
    match form {
        ColumnForm::Integer => "int8",
        ColumnForm::Numeric => "numeric",
        ColumnForm::Real => "float8",
        ColumnForm::Text(Collation::RTrim) => "bpchar",
        ColumnForm::Text(_) => "text",
        ColumnForm::Boolean => "bool",
        ColumnForm::Uuid => "uuid",
        ColumnForm::Blob => "bytea",
        ColumnForm::TimestampTz => "timestamptz",
        _ => own,
    }
    .to_owned()
}

/// The canonical text of a value as the feed tells it: the type's own output. None where it has none, so that its row can
/// only be named by the whole table.
pub(super) fn canonical_told(form: &ColumnForm, told: Option<&str>) -> Option<String> {
    let value = match (form, told) {
        (ColumnForm::Opaque, _) => return None,
        (_, None) => SqlValue::Null,
        // The other notation of bytes (`bytea_output = escape`) can look like hexadecimal.
        (ColumnForm::Blob, Some(text)) if !text.starts_with("\\x") => return None,
        (_, Some(text)) => SqlValue::Text(text),
    };
    canonical(form, value)
}

/// The canonical text of a value taken out of a key.
pub(super) fn canonical_key(form: &ColumnForm, value: &OwnedSqlValue) -> Option<String> {
    if form.has_row_tag() { canonical(form, value.as_value()) } else { None }
}

fn canonical(form: &ColumnForm, value: SqlValue<'_>) -> Option<String> {
    let mut text = String::new();
    form.canonical(value, &mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_feed_tells_is_written_like_what_a_key_says() {
        for (form, told, key) in [
            (ColumnForm::Integer, "42", OwnedSqlValue::Int(42)),
            (ColumnForm::Numeric, "42.00", OwnedSqlValue::Text("42".into())),
            (ColumnForm::Real, "-0", OwnedSqlValue::Real(0.0)),
            (ColumnForm::Text(Collation::RTrim), "ab  ", OwnedSqlValue::Text("ab".into())),
            (ColumnForm::Boolean, "t", OwnedSqlValue::Bool(true)),
            (ColumnForm::Blob, "\\x00ff", OwnedSqlValue::Blob(vec![0, 255])),
            (
                ColumnForm::TimestampTz,
                "2024-05-01 12:00:00+00",
                OwnedSqlValue::Text("2024-05-01T12:00:00Z".into()),
            ),
        ] {
            let (told, key) = (canonical_told(&form, Some(told)), canonical_key(&form, &key));
            assert!(told.is_some());
            assert_eq!(told, key, "{form:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_no_text() {
        assert_eq!(canonical_told(&ColumnForm::Blob, Some("ab")), None, "escaped bytes, not hexadecimal");
        assert_eq!(canonical_told(&ColumnForm::TimestampTz, Some("0044-03-15 00:00:00+00 BC")), None);
        assert_eq!(canonical_told(&ColumnForm::TimestampTz, Some("05/01/2024 12:00:00 UTC")), None);
        assert_eq!(canonical_told(&ColumnForm::Opaque, Some("x")), None);
        assert_eq!(canonical_key(&ColumnForm::Opaque, &OwnedSqlValue::Text("x".into())), None);
    }
}
