//! Values on their way into statements, as text: the server reads it by the parameter's own type. And snapshots on their way out.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use trueup_core::{
    key::OwnedSqlValue,
    proof::{BadSnapshot, Xid, XidSnapshot},
};

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
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
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

/// A `pg_snapshot` in its binary format: how many ids were running, `xmin`, `xmax`, and those ids.
#[derive(Debug)]
pub(super) struct AsSnapshot(pub(super) XidSnapshot);

impl FromSql<'_> for AsSnapshot {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let (count, rest) = raw.split_first_chunk::<4>().ok_or(BadSnapshot)?;
        let (ids, rest) = rest.as_chunks::<8>();
        let mut ids = ids.iter().map(|id| Xid(u64::from_be_bytes(*id)));
        let (xmin, xmax) = (ids.next().ok_or(BadSnapshot)?, ids.next().ok_or(BadSnapshot)?);
        if ids.len() != u32::from_be_bytes(*count) as usize || !rest.is_empty() {
            return Err(BadSnapshot.into());
        }
        Ok(Self(XidSnapshot::new(xmin, xmax, ids.collect())?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::PG_SNAPSHOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_read_as_the_server_writes_them() {
        let wire = |count: u32, ids: &[u64]| {
            let ids = ids.iter().flat_map(|id| id.to_be_bytes());
            count.to_be_bytes().into_iter().chain(ids).collect::<Vec<u8>>()
        };
        let read = |raw: &[u8]| AsSnapshot::from_sql(&Type::PG_SNAPSHOT, raw).ok().map(|s| s.0.to_string());
        assert_eq!(read(&wire(0, &[10, 10])).as_deref(), Some("10:10:"));
        assert_eq!(read(&wire(2, &[10, 15, 11, 13])).as_deref(), Some("10:15:11,13"));
        // Fewer or more ids than announced, a byte too many, and what no snapshot is.
        for (count, ids) in
            [(1, &[10, 15][..]), (0, &[10, 15, 11]), (0, &[10]), (2, &[10, 15, 13, 11]), (0, &[2, 1])]
        {
            assert_eq!(read(&wire(count, ids)), None, "{count} {ids:?}");
        }
        assert_eq!(read(&[wire(0, &[10, 10]), vec![0]].concat()), None);
        assert_eq!(read(&[]), None);
    }

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
