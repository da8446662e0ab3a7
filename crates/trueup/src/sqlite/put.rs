//! Rows on their way in: from JSON to columns, as the columns' affinities take them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter, types::Value};
use serde_json::Value as Json;
use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::{Affinity, ColumnForm, Key, OwnedSqlValue},
    proof::Token,
    source::{AfterCommit, LoadError, Loaded, Loader as _, Outcome, RowWriter},
    write::{Row, RowChange},
};

use super::{
    canonical::{Bound, KeyColumn},
    discover::TableInfo,
    names::{identifier, same_name},
    row::RowLoader,
    write::{SqliteTx, WriteError},
};
use crate::noted::{After, LoadAfter, OneRow};

/// What writing needs to know of a table, while the schema has one version.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The table, as SQL.
    table: String,
    key: Vec<KeyColumn>,
    /// The columns of the class's value.
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    generated: bool,
    blob: bool,
}

/// A row could not be written.
#[derive(Debug)]
pub(super) enum PutFault {
    Sql(rusqlite::Error),
    Load(LoadError),
}

impl From<rusqlite::Error> for PutFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LoadError> for PutFault {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl Target {
    pub(super) fn of(table: &TableInfo, names: &[&str]) -> Self {
        let column = |name: &&str| {
            let info = table.column(name);
            Column {
                name: (*name).to_owned(),
                generated: info.is_some_and(|column| column.generated),
                // What is declared as bytes is shown, and given, in base64.
                blob: info.is_some_and(|column| {
                    let blob = matches!(column.form, ColumnForm::Sqlite { affinity: Affinity::Blob, .. });
                    blob && !column.declared_type.is_empty()
                }),
            }
        };
        Self {
            table: identifier(&table.name),
            key: table.key.clone(),
            columns: names.iter().map(column).collect(),
        }
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| same_name(&column.name, name))
    }

    fn is_key(&self, name: &str) -> bool {
        self.key.iter().any(|column| same_name(&column.name, name))
    }

    /// The change with the key's columns, and whether it tells every column of the value.
    fn check(&self, key: &[OwnedSqlValue], change: RowChange) -> Result<(RowChange, bool), String> {
        let Some(given) = change.row() else { return Ok((change, true)) };
        let mut row = Row::default();
        for (name, json) in given.iter() {
            let Some(column) = self.column(name).filter(|column| !column.generated) else {
                let known: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
                return Err(format!(
                    "the class has no column {name:?} that can be written; it has {}",
                    known.join(", ")
                ));
            };
            value_of(json, column.blob).map_err(|why| format!("column {name:?}: {why}"))?;
            row.set(&column.name, json.to_owned()).map_err(|error| error.to_string())?;
        }
        for (column, value) in self.key.iter().zip(key) {
            let json = json_of(value);
            if let Some(given) = row.get(&column.name)
                && given.trim_matches('"') != json.trim_matches('"')
            {
                return Err(format!("the row's {:?} is another than the key's", column.name));
            }
            if let Some(shown) = self.column(&column.name) {
                row.set(&shown.name, json).map_err(|error| error.to_string())?;
            }
        }
        let whole = self.columns.iter().all(|column| row.get(&column.name).is_some());
        Ok((change.with_row(row), whole))
    }

    /// Makes one change.
    pub(super) fn apply(
        &self,
        conn: &Connection,
        key: &[OwnedSqlValue],
        change: &RowChange,
    ) -> rusqlite::Result<()> {
        if !matches!(change, RowChange::Put(_)) {
            let sql = format!("DELETE FROM {} WHERE {}", self.table, self.by_key(0));
            conn.prepare_cached(&sql)?.execute(params_from_iter(key.iter().map(Bound)))?;
        }
        let Some(row) = change.row() else { return Ok(()) };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, json) in row.iter().filter(|(name, _)| !self.is_key(name)) {
            let blob = self.column(name).is_some_and(|column| column.blob);
            // It was checked when it was given.
            let value =
                value_of(json, blob).map_err(|why| rusqlite::Error::ToSqlConversionFailure(why.into()))?;
            names.push(identifier(name));
            values.push(value);
        }
        let places: Vec<String> = (1..=values.len()).map(|place| format!("?{place}")).collect();
        let bound: Vec<Bound<'_>> = key.iter().map(Bound).collect();
        let params = || values.iter().map(|v| v as &dyn ToSql).chain(bound.iter().map(|v| v as &dyn ToSql));
        // Not kept prepared: writers choose the columns, and so how many statements there are.
        if !names.is_empty() {
            let set: Vec<String> =
                names.iter().zip(&places).map(|(name, place)| format!("{name} = {place}")).collect();
            let sql =
                format!("UPDATE {} SET {} WHERE {}", self.table, set.join(", "), self.by_key(values.len()));
            if conn.prepare(&sql)?.execute(params_from_iter(params()))? > 0 {
                return Ok(());
            }
        }
        let key_names = self.key.iter().map(|column| identifier(&column.name));
        let all: Vec<String> = names.iter().cloned().chain(key_names).collect();
        let places: Vec<String> = (1..=all.len()).map(|place| format!("?{place}")).collect();
        let conflict = if names.is_empty() { " ON CONFLICT DO NOTHING" } else { "" };
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}){conflict}",
            self.table,
            all.join(", "),
            places.join(", ")
        );
        conn.prepare(&sql)?.execute(params_from_iter(params())).map(drop)
    }

    fn by_key(&self, first: usize) -> String {
        let part =
            |(i, column): (usize, &KeyColumn)| format!("{} = ?{}", identifier(&column.name), first + i + 1);
        self.key.iter().enumerate().map(part).collect::<Vec<_>>().join(" AND ")
    }
}

/// A value as SQLite holds it: what `json.rs` shows of it leads back to it.
fn value_of(json: &str, blob: bool) -> Result<Value, &'static str> {
    let parsed: Json = serde_json::from_str(json).map_err(|_| "it is no JSON")?;
    Ok(match parsed {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Integer(truth.into()),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Integer(int),
            None => Value::Real(number.as_f64().ok_or("the number is too large")?),
        },
        Json::String(text) if blob => {
            Value::Blob(STANDARD.decode(text).map_err(|_| "bytes are given in base64")?)
        }
        Json::String(text) => Value::Text(text),
        // SQLite has no type for them: as text they are what its JSON functions read.
        Json::Array(_) | Json::Object(_) => Value::Text(json.to_owned()),
    })
}

/// A key's value as `json.rs` shows it.
fn json_of(value: &OwnedSqlValue) -> String {
    match value {
        OwnedSqlValue::Null => "null".to_owned(),
        OwnedSqlValue::Int(int) => int.to_string(),
        OwnedSqlValue::Bool(truth) => i64::from(*truth).to_string(),
        OwnedSqlValue::Real(real) => serde_json::to_string(real).unwrap_or_default(),
        OwnedSqlValue::Text(text) => Json::String(text.clone()).to_string(),
        OwnedSqlValue::Blob(bytes) => Json::String(STANDARD.encode(bytes)).to_string(),
    }
}

/// Whether SQLite refuses a row for what it holds: trying again cannot help.
pub(super) fn is_of_the_row(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        )
}

/// Why a row was refused, without a value of it.
pub(super) fn reason_of(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => "a constraint is violated".to_owned(),
        Some(ErrorCode::TypeMismatch) => "a value does not fit its type".to_owned(),
        Some(ErrorCode::TooBig) => "a value is too large".to_owned(),
        _ => "a value cannot be written".to_owned(),
    }
}

impl RowWriter<Raw> for RowLoader {
    fn check(&self, key: &Key, change: RowChange) -> Result<(RowChange, bool), String> {
        let values = self.values(key).map_err(|error| error.to_string())?;
        self.last_target().check(&values, change)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        change: &'a RowChange,
        after: &'a dyn AfterCommit<Raw>,
    ) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move {
            let values = self.values(key)?;
            let row = OneRow { loader: self, key, then: after };
            let work = async |tx: &SqliteTx<'_>| {
                tx.with(|conn| -> Result<(), PutFault> {
                    Ok(self.target_on(conn)?.apply(conn, &values, change)?)
                })
            };
            match self.sqlite().write_and_publish(work, Some(&row)).await {
                Ok(committed) => Ok(committed.token),
                Err(WriteError::Work(PutFault::Sql(error))) if is_of_the_row(&error) => {
                    Err(LoadError::Refused(reason_of(&error).into()))
                }
                Err(WriteError::Work(PutFault::Sql(error))) => {
                    Err(self.sqlite().shared.at("writing a row").error(error).to_load_error())
                }
                Err(WriteError::Work(PutFault::Load(error))) => Err(error),
                Err(WriteError::Source(error)) => Err(error.to_load_error()),
            }
        })
    }
}

impl LoadAfter for RowLoader {
    fn load_after<'a>(
        &'a self,
        _: After<'a>,
        key: &'a Key,
        outcome: Outcome,
    ) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async move {
            // Whoever reads after the commit sees it, on whichever connection.
            if outcome.committed().await { self.load(key).await } else { Err(LoadError::Lost) }
        })
    }
}
