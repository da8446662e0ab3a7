//! All keys of a table, page by page.
//!
//! Tables with a rowid are read in its order, which is the order of the file; those without one in the order of their key,
//! which can hold no NULL then. A rowid that changes without a change of the key is told as a change of the row; VACUUM, which
//! may renumber rows, moves the schema's version, and with it the epoch.

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, params_from_iter, types::Value};
use trueup_core::{
    env::BoxFuture,
    key::{Key, KeyBody, KeyForm, OwnedSqlValue},
    proof::{TableTags, Tag},
    source::{KeyPage, KeySet, LoadError, PageEnd},
};

use super::{
    canonical::{KeyColumn, canonical, canonical_parts},
    discover::TableInfo,
    handle::Sqlite,
    load::Fault,
    names::{identifier, same_name},
};

/// Names of the rowid, of which a table's own columns may hide some.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// How the keys of a table are read, in one shape of it.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    /// By key, or with the rowid in front of the key.
    by_rowid: bool,
    first: String,
    next: String,
}

impl Pages {
    /// None where the rowid has no name left.
    pub(super) fn of(table: &TableInfo) -> Option<Self> {
        let key: Vec<String> = table.key.iter().map(|column| identifier(&column.name)).collect();
        let key = key.join(", ");
        let from = identifier(&table.name);
        if table.without_rowid {
            let places: Vec<String> = (0..table.key.len()).map(|i| format!("?{}", i + 2)).collect();
            return Some(Self {
                by_rowid: false,
                first: format!("SELECT {key} FROM {from} ORDER BY {key} LIMIT ?1"),
                next: format!(
                    "SELECT {key} FROM {from} WHERE ({key}) > ({}) ORDER BY {key} LIMIT ?1",
                    places.join(", ")
                ),
            });
        }
        let is_free = |name: &&&str| !table.columns.iter().any(|column| same_name(&column.name, name));
        let rowid = ROWID_NAMES.iter().find(is_free)?;
        Some(Self {
            by_rowid: true,
            first: format!("SELECT {rowid}, {key} FROM {from} ORDER BY {rowid} LIMIT ?1"),
            next: format!("SELECT {rowid}, {key} FROM {from} WHERE {rowid} > ?2 ORDER BY {rowid} LIMIT ?1"),
        })
    }
}

/// The keys of one table.
pub(super) struct TableKeys {
    pub(super) sqlite: Sqlite,
    pub(super) schema_version: i64,
    /// As it stands in tags.
    pub(super) table: String,
    pub(super) form: KeyForm,
    pub(super) key: Vec<KeyColumn>,
    pub(super) pages: Pages,
    pub(super) limit: Duration,
}

/// Shared with the thread that reads a page.
pub(super) struct SharedKeys(pub(super) Arc<TableKeys>);

impl TableKeys {
    fn page(&self, after: Option<&PageEnd>, rows_max: usize) -> Result<KeyPage, LoadError> {
        let shared = &self.sqlite.shared;
        let ((tags, end), seen) = shared.read(&shared.readers, self.limit, |conn, state| {
            if state.schema_version != self.schema_version {
                return Err(LoadError::Unavailable("the schema was altered meanwhile".into()).into());
            }
            self.read(conn, after, rows_max)
        })?;
        Ok(KeyPage { tags, end, upper: seen.upper, epoch: seen.epoch })
    }

    fn read(
        &self,
        conn: &Connection,
        after: Option<&PageEnd>,
        rows_max: usize,
    ) -> Result<(Vec<Tag>, Option<PageEnd>), Fault> {
        let sql = if after.is_some() { &self.pages.next } else { &self.pages.first };
        let mut statement = conn.prepare_cached(sql)?;
        let after = after.map(|end| end.0.as_slice()).unwrap_or_default();
        let values = std::iter::once(Value::Integer(rows_max as i64)).chain(after.iter().map(owned));
        let mut rows = statement.query(params_from_iter(values))?;
        let first = usize::from(self.pages.by_rowid);
        let (mut tags, mut end) = (Vec::with_capacity(rows_max), None);
        while let Some(row) = rows.next()? {
            let values: Vec<_> =
                (0..self.key.len()).map(|index| row.get_ref(first + index)).collect::<Result<_, _>>()?;
            let parts = canonical_parts(&self.key, values.iter().copied()).ok_or_else(|| {
                let why = format!("a row of table `{}` has a key that is no text of UTF-8", self.table);
                LoadError::Refused(why.into())
            })?;
            tags.push(Tag::row(&self.table, parts.iter().map(String::as_str)));
            if tags.len() == rows_max {
                let width = if self.pages.by_rowid { 1 } else { self.key.len() };
                let values = (0..width).map(|index| row.get::<_, Value>(index).map(of_value));
                end = Some(PageEnd(values.collect::<Result<_, _>>()?));
            }
        }
        Ok((tags, end))
    }
}

impl KeySet<Key> for SharedKeys {
    fn tag(&self, key: &Key) -> Option<Tag> {
        let KeyBody::Columns(values) = self.0.form.values(key).ok()?.body else { return None };
        let columns = self.0.key.iter().zip(&values);
        let parts: Vec<String> = columns
            .map(|(column, value)| canonical(&column.form, value.as_value()))
            .collect::<Option<_>>()?;
        (parts.len() == self.0.key.len()).then(|| Tag::row(&self.0.table, parts.iter().map(String::as_str)))
    }

    fn table(&self) -> TableTags {
        TableTags::of(&self.0.table)
    }

    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        Box::pin(async move {
            let (keys, after) = (Arc::clone(&self.0), after.cloned());
            // Milliseconds of a thread: never on one that answers readers.
            let page = tokio::task::spawn_blocking(move || keys.page(after.as_ref(), rows_max)).await;
            page.unwrap_or(Err(LoadError::Lost))
        })
    }
}

fn owned(value: &OwnedSqlValue) -> Value {
    match value {
        OwnedSqlValue::Null => Value::Null,
        OwnedSqlValue::Int(int) => Value::Integer(*int),
        OwnedSqlValue::Bool(truth) => Value::Integer((*truth).into()),
        OwnedSqlValue::Real(real) => Value::Real(*real),
        OwnedSqlValue::Text(text) => Value::Text(text.clone()),
        OwnedSqlValue::Blob(bytes) => Value::Blob(bytes.clone()),
    }
}

fn of_value(value: Value) -> OwnedSqlValue {
    match value {
        Value::Null => OwnedSqlValue::Null,
        Value::Integer(int) => OwnedSqlValue::Int(int),
        Value::Real(real) => OwnedSqlValue::Real(real),
        Value::Text(text) => OwnedSqlValue::Text(text),
        Value::Blob(bytes) => OwnedSqlValue::Blob(bytes),
    }
}
