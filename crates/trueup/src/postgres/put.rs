//! Rows on their way in: from JSON to columns, by the types that the catalogue knows.
//!
//! PostgreSQL itself reads the JSON (`jsonb_populate_recordset`), so a value is written as `to_jsonb` would show it, and
//! numbers keep every digit.

use std::collections::BTreeMap;

use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::{ColumnForm, Key, OwnedSqlValue},
    proof::Token,
    source::{AfterCommit, LoadError, RowWriter},
    write::{Row, RowChange},
};

use super::{
    canonical::KeyColumn,
    discover::TableInfo,
    error::{At, PostgresError},
    names::{identifier, qualified},
    row::RowLoader,
    value::AsText,
    write::{PgTx, WriteError},
};
use crate::noted::OneRow;

/// What writing needs to know of a table, while it has one shape.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The table, as SQL.
    table: String,
    key: Vec<KeyColumn>,
    /// The columns of the class's value.
    columns: Vec<String>,
}

/// One change of a row of a class, ready to be executed.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The key's columns, as PostgreSQL reads them.
    key: Row,
    /// What is done.
    change: RowChange,
}

impl Target {
    pub(super) fn of(table: &TableInfo, columns: Vec<String>) -> Self {
        Self { table: qualified(&table.schema, &table.table), key: table.key.clone(), columns }
    }

    /// The change with the key's columns, and whether it tells every column of the value.
    fn check(&self, key: &[OwnedSqlValue], change: RowChange) -> Result<(RowChange, bool), String> {
        let Some(row) = change.row() else { return Ok((change, true)) };
        let mut row = row.clone();
        for column in row.columns() {
            if !self.columns.iter().any(|known| known == column) {
                return Err(format!(
                    "the class has no column {column:?} that can be written; it has {}",
                    self.columns.join(", ")
                ));
            }
        }
        for (column, value) in self.key.iter().zip(key) {
            let json = json_of(&column.form, value);
            if let Some(given) = row.get(&column.name)
                && given.trim_matches('"') != json.trim_matches('"')
            {
                return Err(format!("the row's {:?} is another than the key's", column.name));
            }
            if self.columns.contains(&column.name) {
                row.set(&column.name, json).map_err(|error| error.to_string())?;
            }
        }
        let whole = self.columns.iter().all(|column| row.get(column).is_some());
        Ok((change.with_row(row), whole))
    }

    pub(super) fn ready(&self, key: &[OwnedSqlValue], change: &RowChange) -> Result<Ready, String> {
        let mut columns = Row::default();
        for (column, value) in self.key.iter().zip(key) {
            let text = serde_json::to_string(&AsText::of(value).0).map_err(|error| error.to_string())?;
            columns.set(&column.name, text).map_err(|error| error.to_string())?;
        }
        Ok(Ready { key: columns, change: change.clone() })
    }

    /// Makes changes of rows, each of another key.
    pub(super) async fn apply(&self, tx: &PgTx, changes: &[Ready]) -> Result<(), tokio_postgres::Error> {
        let gone = changes.iter().filter(|ready| !matches!(ready.change, RowChange::Put(_)));
        let gone: Vec<Vec<u8>> = gone.map(|ready| ready.key.to_json()).collect();
        if !gone.is_empty() {
            self.execute(tx, &self.delete(), &gone).await?;
        }
        // One statement for all rows that give the same columns.
        let mut alike: BTreeMap<Vec<&str>, Vec<Vec<u8>>> = BTreeMap::new();
        for ready in changes {
            let Some(row) = ready.change.row() else { continue };
            let is_key = |name: &str| self.key.iter().any(|column| column.name == name);
            let columns: Vec<&str> = row.columns().filter(|name| !is_key(name)).collect();
            let mut whole = row.clone();
            whole.update(ready.key.clone());
            alike.entry(columns).or_default().push(whole.to_json());
        }
        for (columns, rows) in alike {
            self.execute(tx, &self.put(&columns), &rows).await?;
        }
        Ok(())
    }

    async fn execute(&self, tx: &PgTx, sql: &str, rows: &[Vec<u8>]) -> Result<(), tokio_postgres::Error> {
        let rows: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(row)).collect();
        let json = AsText(Some(format!("[{}]", rows.join(","))));
        // Not kept prepared: writers choose the columns, and so how many statements there are.
        tx.client().execute(sql, &[&json]).await.map(drop)
    }

    fn delete(&self) -> String {
        let table = &self.table;
        format!(
            "DELETE FROM {table} t USING jsonb_populate_recordset(NULL::{table}, $1) r WHERE {}",
            self.on("t")
        )
    }

    /// First what is there is updated: a row that gives some columns only cannot always be inserted.
    fn put(&self, columns: &[&str]) -> String {
        let table = &self.table;
        let key: Vec<String> = self.key.iter().map(|column| identifier(&column.name)).collect();
        let columns: Vec<String> = columns.iter().map(|name| identifier(name)).collect();
        let all: Vec<&String> = key.iter().chain(&columns).collect();
        let list = |names: &[&String], of: &str| {
            names.iter().map(|name| format!("{of}{name}")).collect::<Vec<_>>().join(", ")
        };
        let set = |of: &str| {
            columns.iter().map(|name| format!("{name} = {of}.{name}")).collect::<Vec<_>>().join(", ")
        };
        let (names, keys) = (list(&all, ""), key.join(", "));
        let rows = format!("r AS (SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, $1))");
        let insert = format!(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {} FROM r",
            list(&all, "r.")
        );
        if columns.is_empty() {
            return format!("WITH {rows} {insert} ON CONFLICT ({keys}) DO NOTHING");
        }
        let key: Vec<&String> = key.iter().collect();
        format!(
            "WITH {rows}, u AS (UPDATE {table} t SET {} FROM r WHERE {} RETURNING {}) {insert} WHERE NOT EXISTS \
             (SELECT FROM u WHERE {}) ON CONFLICT ({keys}) DO UPDATE SET {}",
            set("r"),
            self.on("t"),
            list(&key, "t."),
            self.on("u"),
            set("excluded")
        )
    }

    fn on(&self, other: &str) -> String {
        let key = self.key.iter().map(|column| identifier(&column.name));
        key.map(|name| format!("{other}.{name} = r.{name}")).collect::<Vec<_>>().join(" AND ")
    }
}

/// A key's value as `to_jsonb` shows it.
fn json_of(form: &ColumnForm, value: &OwnedSqlValue) -> String {
    match (form, value) {
        (_, OwnedSqlValue::Null) => "null".to_owned(),
        (_, OwnedSqlValue::Int(int)) => int.to_string(),
        (_, OwnedSqlValue::Bool(truth)) => truth.to_string(),
        (_, OwnedSqlValue::Real(real)) if real.is_finite() => real.to_string(),
        (ColumnForm::Numeric, OwnedSqlValue::Text(number))
            if number.parse::<f64>().is_ok_and(f64::is_finite) =>
        {
            number.clone()
        }
        (_, other) => {
            let text = AsText::of(other).0.unwrap_or_default();
            serde_json::Value::String(text).to_string()
        }
    }
}

impl RowWriter<Raw> for RowLoader {
    fn check(&self, key: &Key, change: RowChange) -> Result<(RowChange, bool), String> {
        let (target, values) = self.target(key).map_err(|error| error.to_string())?;
        target.check(&values, change)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        change: &'a RowChange,
        after: &'a dyn AfterCommit<Raw>,
    ) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move {
            let (target, values) = self.target(key)?;
            let ready = target.ready(&values, change).map_err(|why| LoadError::Refused(why.into()))?;
            let row = OneRow { loader: self, key, then: after };
            let work = async |tx: &PgTx| target.apply(tx, std::slice::from_ref(&ready)).await;
            match self.postgres().write_and_publish(work, Some(&row)).await {
                Ok(committed) => Ok(committed.token),
                Err(WriteError::Work(error)) if is_of_the_row(&error) => {
                    Err(LoadError::Refused(super::error::words(&error).into()))
                }
                Err(WriteError::Work(error)) => Err(self.writing().error(&error).to_load_error()),
                Err(WriteError::Source(error)) if error.code().is_some_and(is_code_of_the_row) => {
                    Err(LoadError::Refused(error.to_string().into()))
                }
                Err(WriteError::Source(error)) => Err(error.to_load_error()),
            }
        })
    }
}

impl RowLoader {
    fn writing(&self) -> At<'_> {
        self.postgres().shared.at("writing a row")
    }
}

/// Whether PostgreSQL refuses a row for what it holds: trying again cannot help.
pub(super) fn is_of_the_row(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| is_code_of_the_row(code.code()))
}

/// Data exceptions, constraints, WITH CHECK OPTION, what a trigger raises, and a generated column.
pub(super) fn is_code_of_the_row(code: &str) -> bool {
    matches!(code.get(..2), Some("22" | "23" | "44" | "P0")) || code == "428C9"
}

/// The same of an error whose statement is not known any more.
pub(super) fn is_error_of_the_row(error: &PostgresError) -> bool {
    error.code().is_some_and(is_code_of_the_row)
}
