//! Values as SQLite binds them, and statements with them.

use rusqlite::{
    Connection, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::error::failed;
use crate::store::{Cell, Dialect, Row, StoreError, StoreErrorKind, Value};

struct Param<'a>(Value<'a>);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Bool(value) => ValueRef::Integer(value.into()),
            Value::Int(value) => ValueRef::Integer(value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

pub(super) fn execute(conn: &Connection, sql: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
    let sql = Dialect::Sqlite.render(sql);
    let run = || {
        let mut statement = conn.prepare_cached(&sql)?;
        statement.execute(rusqlite::params_from_iter(params.iter().map(|value| Param(*value))))
    };
    run().map(|rows| rows as u64).map_err(|why| failed("executing a statement", &why))
}

pub(super) fn query(conn: &Connection, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
    let sql = Dialect::Sqlite.render(sql);
    let wrong = |why: rusqlite::Error| failed("running a query", &why);
    let mut statement = conn.prepare_cached(&sql).map_err(wrong)?;
    let columns = statement.column_count();
    let params = rusqlite::params_from_iter(params.iter().map(|value| Param(*value)));
    let mut rows = statement.query(params).map_err(wrong)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(wrong)? {
        let cells = (0..columns).map(|place| cell(row, place)).collect::<Result<_, _>>()?;
        out.push(Row::new(cells));
    }
    Ok(out)
}

fn cell(row: &rusqlite::Row<'_>, place: usize) -> Result<Cell, StoreError> {
    let unusable = |what| StoreError::new(StoreErrorKind::Usage, format!("column {place} {what}"));
    match row.get_ref(place).map_err(|why| failed("reading a row", &why))? {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(value) => Ok(Cell::Int(value)),
        ValueRef::Text(value) => {
            let text = std::str::from_utf8(value).map_err(|_| unusable("holds text that is not UTF-8"))?;
            Ok(Cell::Text(text.to_owned()))
        }
        ValueRef::Blob(value) => Ok(Cell::Bytes(value.to_vec())),
        ValueRef::Real(_) => Err(unusable("is a floating-point number; cast it to INTEGER or TEXT")),
    }
}
