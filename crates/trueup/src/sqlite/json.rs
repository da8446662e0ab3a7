//! Rows as JSON.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::{Row, types::ValueRef};

/// The columns of a result, each name ready to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// `{"name":` of the first column, `,"name":` of the others.
    prefixes: Vec<Vec<u8>>,
}

impl Columns {
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let prefix = |(index, name): (usize, &str)| {
            let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
            write_text(name, &mut prefix);
            prefix.push(b':');
            prefix
        };
        Self { prefixes: names.into_iter().enumerate().map(prefix).collect() }
    }

    /// Appends `row` as an object: integers in full, reals in the shortest form that reads back equal, text as it is
    /// (what is not UTF-8 in it is replaced), blobs in base64, and the two infinities, which JSON has no number for, as
    /// `"Infinity"` and `"-Infinity"`.
    pub(super) fn write_row(&self, row: &Row<'_>, out: &mut Vec<u8>) -> rusqlite::Result<()> {
        if self.prefixes.is_empty() {
            out.push(b'{');
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            out.extend_from_slice(prefix);
            write_value(row.get_ref(index)?, out);
        }
        out.push(b'}');
        Ok(())
    }
}

fn write_value(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        // Writing to a Vec cannot fail.
        ValueRef::Integer(int) => drop(write!(out, "{int}")),
        ValueRef::Real(real) if real.is_finite() => drop(serde_json::to_writer(out, &real)),
        ValueRef::Real(real) => write_text(if real > 0.0 { "Infinity" } else { "-Infinity" }, out),
        ValueRef::Text(bytes) => write_text(&String::from_utf8_lossy(bytes), out),
        ValueRef::Blob(bytes) => write_text(&STANDARD.encode(bytes), out),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    drop(serde_json::to_writer(out, text));
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn every_type_has_its_form() {
        let conn = Connection::open_in_memory().unwrap();
        let sql =
            "SELECT 9223372036854775807, 0.1, 1.0, -9e999, 'a\"b\n', x'00ff', NULL, CAST(x'ff41' AS TEXT)";
        let columns = Columns::new(["i", "r", "one", "inf", "t\"x", "b", "n", "bad"]);
        let mut out = Vec::new();
        conn.query_row(sql, [], |row| columns.write_row(row, &mut out)).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"i":9223372036854775807,"r":0.1,"one":1.0,"inf":"-Infinity","t\"x":"a\"b\n","b":"AP8=","n":null,"bad":"�A"}"#
        );
    }
}
