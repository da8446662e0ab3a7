//! One text of SQL for both databases: `?1` is a parameter, BIGINT and TEXT are the types.

use rusqlite::types::FromSql as FromSqlite;
use tokio_postgres::types::{FromSql as FromPostgres, ToSql as ToPostgres};

use crate::world::LabError;

/// The text as PostgreSQL takes it: `$1` in the place of `?1`. No incident has a question mark in its data.
pub(super) fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

/// A parameter.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => rusqlite::ToSql::to_sql(number),
            Self::Text(text) => rusqlite::ToSql::to_sql(text),
        }
    }
}

/// The parameters as PostgreSQL's client takes them.
pub(super) fn for_postgres(values: &[Value]) -> Vec<&(dyn ToPostgres + Sync)> {
    values.iter().map(Value::for_postgres).collect()
}

impl Value {
    fn for_postgres(&self) -> &(dyn ToPostgres + Sync) {
        match self {
            Self::Number(number) => number,
            Self::Text(text) => text,
        }
    }
}

/// What can stand for the parameters of a statement.
pub(super) trait Values {
    fn values(self) -> Vec<Value>;
}

impl Values for () {
    fn values(self) -> Vec<Value> {
        Vec::new()
    }
}

impl<T: Into<Value>, const N: usize> Values for [T; N] {
    fn values(self) -> Vec<Value> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<A: Into<Value>, B: Into<Value>> Values for (A, B) {
    fn values(self) -> Vec<Value> {
        vec![self.0.into(), self.1.into()]
    }
}

impl<A: Into<Value>, B: Into<Value>, C: Into<Value>> Values for (A, B, C) {
    fn values(self) -> Vec<Value> {
        vec![self.0.into(), self.1.into(), self.2.into()]
    }
}

/// A row of either database.
pub(super) enum Cells<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Cells<'_> {
    fn at<T: FromSqlite + for<'a> FromPostgres<'a>>(&self, column: usize) -> Result<T, LabError> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// What a row can be read as: its first column, or as many as the tuple has.
pub(super) trait Record: Sized {
    fn read(row: &Cells<'_>) -> Result<Self, LabError>;
}

impl Record for i64 {
    fn read(row: &Cells<'_>) -> Result<Self, LabError> {
        row.at(0)
    }
}

impl Record for String {
    fn read(row: &Cells<'_>) -> Result<Self, LabError> {
        row.at(0)
    }
}

impl<A, B> Record for (A, B)
where
    A: FromSqlite + for<'a> FromPostgres<'a>,
    B: FromSqlite + for<'a> FromPostgres<'a>,
{
    fn read(row: &Cells<'_>) -> Result<Self, LabError> {
        Ok((row.at(0)?, row.at(1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_as_each_database_has_them() {
        let sql = "UPDATE account SET balance = ?2 WHERE id = ?1";
        assert_eq!(numbered(sql), "UPDATE account SET balance = $2 WHERE id = $1");
        let values = (7, "seven").values();
        assert_eq!(for_postgres(&values).len(), 2);
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = db.prepare("SELECT ?2, ?1").unwrap();
        let mut rows = statement.query(rusqlite::params_from_iter(&values)).unwrap();
        let row = rows.next().unwrap().unwrap();
        assert_eq!(<(String, i64)>::read(&Cells::Sqlite(row)).unwrap(), ("seven".to_owned(), 7));
    }
}
