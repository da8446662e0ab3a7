//! Values on their way into statements, as text: the server reads it by the parameter's own type.

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use trueup_core::key::OwnedSqlValue;

/// A parameter in text format. `Debug` does not show it.
pub(super) struct AsText(pub(super) Option<String>);

impl AsText {
    /// A value taken out of a key.
    pub(super) fn of(value: &OwnedSqlValue) -> Self {
        Self(match value {
            OwnedSqlValue::Null => None,
            OwnedSqlValue::Int(int) => Some(int.to_string()),
            OwnedSqlValue::Bool(truth) => Some(if *truth { "true" } else { "false" }.to_owned()),
            OwnedSqlValue::Real(real) if real.is_nan() => Some("NaN".to_owned()),
            OwnedSqlValue::Real(real) if real.is_infinite() => {
                Some(if *real > 0.0 { "Infinity" } else { "-Infinity" }.to_owned())
            }
            // The shortest text that reads back equal.
            OwnedSqlValue::Real(real) => Some(real.to_string()),
            OwnedSqlValue::Text(text) => Some(text.clone()),
            OwnedSqlValue::Blob(bytes) => {
                let mut text = String::with_capacity(2 + bytes.len() * 2);
                text.push_str("\\x");
                bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
                Some(text)
            }
        })
    }

    /// An array of values, in PostgreSQL's own notation.
    pub(super) fn array<'v>(values: impl Iterator<Item = &'v Self>) -> Self {
        let mut text = String::from("{");
        for (index, value) in values.enumerate() {
            if index > 0 {
                text.push(',');
            }
            match &value.0 {
                None => text.push_str("NULL"),
                Some(element) => {
                    text.push('"');
                    for c in element.chars() {
                        if matches!(c, '"' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                    text.push('"');
                }
            }
        }
        text.push('}');
        Self(Some(text))
    }
}

impl ToSql for AsText {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

impl std::fmt::Debug for AsText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AsText(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_server_reads_them() {
        let text = |value| AsText::of(&value).0;
        assert_eq!(text(OwnedSqlValue::Null), None);
        assert_eq!(text(OwnedSqlValue::Real(f64::NEG_INFINITY)).as_deref(), Some("-Infinity"));
        assert_eq!(text(OwnedSqlValue::Real(1e300)).unwrap().parse::<f64>().unwrap(), 1e300);
        assert_eq!(text(OwnedSqlValue::Blob(vec![0, 255])).as_deref(), Some("\\x00ff"));
    }

    #[test]
    fn arrays_quote_each_element() {
        let values = [AsText(Some("a\"b\\c".into())), AsText(None), AsText(Some("NULL".into()))];
        assert_eq!(AsText::array(values.iter()).0.as_deref(), Some(r#"{"a\"b\\c",NULL,"NULL"}"#));
        assert_eq!(AsText::array([].iter()).0.as_deref(), Some("{}"));
    }
}
