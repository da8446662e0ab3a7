//! What a database holds: its tables, their keys, and whether they can be followed and served.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};
use trueup_core::key::ColumnForm;

use super::{
    canonical::{KeyColumn, collation_of, form_collation, form_of},
    connection,
    error::{At, SqliteError},
    handle::READ_LOCK_WAIT,
    names::{PREFIX, ROW, identifier, same_name},
    predicate::of_index,
};

/// One table (or view) of a database.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its name, as the schema spells it.
    pub name: String,
    /// Columns in the order of the table; hidden ones of virtual tables are left out.
    pub columns: Vec<ColumnInfo>,
    /// The primary key's columns in the order of the key; empty without a declared key.
    pub key: Vec<KeyColumn>,
    /// Whether triggers can follow it at all; the reason why not.
    pub unfollowable: Option<&'static str>,
    /// Whether one row can be served by its key; the reason why not, and what to do.
    pub unservable: Option<String>,
    pub(super) uniques: Vec<UniqueIndex>,
    pub(super) without_rowid: bool,
    /// The key is `INTEGER PRIMARY KEY`, another name of the rowid.
    pub(super) rowid_alias: bool,
    pub(super) is_view: bool,
}

/// One column.
#[derive(Clone, Debug)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The declared type; empty without one.
    pub declared_type: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The DEFAULT, as SQL.
    pub default: Option<String>,
    /// Whether its value is computed (`GENERATED ALWAYS AS`).
    pub generated: bool,
    /// How its values compare.
    pub form: ColumnForm,
}

/// A primary key, UNIQUE constraint or unique index.
#[derive(Clone, Debug)]
pub(super) struct UniqueIndex {
    /// Name and collation of each column; none where it cannot be said which rows collide.
    pub(super) columns: Option<Vec<(String, String)>>,
    /// Which rows it covers, as SQL over [`ROW`]; none stands for all.
    pub(super) covers: Option<String>,
    /// Is the primary key.
    pub(super) primary: bool,
}

impl TableInfo {
    /// The column called `name`, which SQLite compares without case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| same_name(&column.name, name))
    }

    /// A name by which the hidden rowid can be reached, if the table has one that is not its key.
    pub(super) fn hidden_rowid(&self) -> Option<&'static str> {
        if self.without_rowid || self.rowid_alias || self.is_view {
            return None;
        }
        ["rowid", "_rowid_", "oid"].into_iter().find(|name| self.column(name).is_none())
    }
}

/// Every table and view of the main database except SQLite's and Trueup's own, by name.
///
/// # Errors
/// Whatever SQLite reports.
pub fn discover(conn: &Connection) -> rusqlite::Result<Vec<TableInfo>> {
    let mut list = conn.prepare_cached(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' ORDER BY name",
    )?;
    let rows = list.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, bool>(2)?,
            row.get::<_, bool>(3)?,
        ))
    })?;
    let mut tables = Vec::new();
    for row in rows {
        let (name, kind, without_rowid, strict) = row?;
        if !is_own(&name) {
            tables.push(describe(conn, name, &kind, without_rowid, strict)?);
        }
    }
    Ok(tables)
}

/// [`discover`] for the database at `path`, whether or not a feed is installed.
///
/// # Errors
/// [`SqliteError`], naming the file and the fix.
pub fn discover_file(path: &Path) -> Result<Vec<TableInfo>, SqliteError> {
    let conn = connection::open_writer(path, READ_LOCK_WAIT)?;
    let at = At { path, doing: "reading its schema", patience: READ_LOCK_WAIT };
    discover(&conn).map_err(|error| at.error(error))
}

/// The table called `name`, if there is one.
///
/// # Errors
/// Whatever SQLite reports.
pub fn discover_table(conn: &Connection, name: &str) -> rusqlite::Result<Option<TableInfo>> {
    let found = conn
        .prepare_cached(
            "SELECT name, type, wr, strict FROM pragma_table_list
             WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
        )?
        .query_row([name], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    match found {
        Some((name, kind, without_rowid, strict)) if !is_own(&name) => {
            describe(conn, name, &kind, without_rowid, strict).map(Some)
        }
        _ => Ok(None),
    }
}

/// SQLite's own tables and ours.
pub(super) fn is_own(name: &str) -> bool {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| same_name(start, prefix));
    starts("sqlite_") || starts(PREFIX)
}

fn describe(
    conn: &Connection,
    name: String,
    kind: &str,
    without_rowid: bool,
    strict: bool,
) -> rusqlite::Result<TableInfo> {
    let unfollowable = match kind {
        "table" => None,
        "view" => Some("a view holds no rows of its own; declare a query over it instead"),
        "shadow" => Some("it is the inside of a virtual table, which triggers cannot follow"),
        _ => Some(
            "virtual tables (full-text search, R-tree and such) run no triggers, so changes cannot be seen",
        ),
    };
    let mut key: Vec<(i64, KeyColumn)> = Vec::new();
    let mut columns = Vec::new();
    let mut info = conn.prepare_cached("SELECT * FROM pragma_table_xinfo(?1)")?;
    let mut rows = info.query([&name])?;
    while let Some(row) = rows.next()? {
        let hidden: i64 = row.get("hidden")?;
        if hidden == 1 {
            continue;
        }
        let column = describe_column(conn, &name, kind, strict, row, hidden)?;
        let place: i64 = row.get("pk")?;
        if place > 0 {
            key.push((place, KeyColumn { name: column.name.clone(), form: column.form }));
        }
        columns.push(column);
    }
    key.sort_by_key(|(place, _)| *place);
    let key: Vec<KeyColumn> = key.into_iter().map(|(_, column)| column).collect();
    let uniques = if kind == "table" { uniques(conn, &name)? } else { Vec::new() };
    // `INTEGER PRIMARY KEY DESC` is an ordinary key with an index of its own.
    let rowid_alias = !without_rowid
        && matches!(&key[..], [only] if is_declared_integer(&columns, only))
        && !uniques.iter().any(|index| index.primary);
    let mut table = TableInfo {
        name,
        columns,
        key,
        unfollowable,
        unservable: None,
        uniques,
        without_rowid,
        rowid_alias,
        is_view: kind == "view",
    };
    if rowid_alias {
        table.key.iter_mut().for_each(|column| column.form = ColumnForm::Integer);
    }
    table.unservable = unservable(&table);
    Ok(table)
}

fn describe_column(
    conn: &Connection,
    table: &str,
    kind: &str,
    strict: bool,
    row: &rusqlite::Row<'_>,
    hidden: i64,
) -> rusqlite::Result<ColumnInfo> {
    let name: String = row.get("name")?;
    let declared_type = row.get::<_, Option<String>>("type")?.unwrap_or_default();
    let collation = if kind == "table" {
        let (_, collation, ..) = conn.column_metadata(Some("main"), table, name.as_str())?;
        collation.map_or_else(|| "BINARY".to_owned(), |name| name.to_string_lossy().into_owned())
    } else {
        "BINARY".to_owned()
    };
    Ok(ColumnInfo {
        form: form_of(&declared_type, strict, &collation),
        name,
        declared_type,
        not_null: row.get("notnull")?,
        default: row.get("dflt_value")?,
        generated: hidden >= 2,
    })
}

fn is_declared_integer(columns: &[ColumnInfo], key: &KeyColumn) -> bool {
    columns.iter().any(|column| column.name == key.name && same_name(&column.declared_type, "INTEGER"))
}

fn uniques(conn: &Connection, table: &str) -> rusqlite::Result<Vec<UniqueIndex>> {
    let mut list = conn.prepare_cached(
        "SELECT name, origin, partial FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name",
    )?;
    let indexes = list
        .query_map([table], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    indexes
        .into_iter()
        .map(|(name, origin, partial)| {
            let covers = if partial { predicate(conn, table, &name)? } else { None };
            let columns = if partial && covers.is_none() { None } else { index_columns(conn, &name)? };
            Ok(UniqueIndex { columns, covers, primary: origin == "pk" })
        })
        .collect()
}

/// Name and collation of each column; none where one is an expression.
fn index_columns(conn: &Connection, index: &str) -> rusqlite::Result<Option<Vec<(String, String)>>> {
    let mut columns =
        conn.prepare_cached("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    columns
        .query_map([index], |row| {
            let (name, collation): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
            Ok(name.map(|name| (name, collation.unwrap_or_else(|| "BINARY".into()))))
        })?
        .collect()
}

/// The WHERE of a partial index. None where it does not compile over [`ROW`] (it names the table, or calls a function of
/// its own program): in a trigger it would make every write fail.
fn predicate(conn: &Connection, table: &str, index: &str) -> rusqlite::Result<Option<String>> {
    let sql: String =
        conn.query_row("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?1", [index], |row| {
            row.get(0)
        })?;
    let Some(predicate) = of_index(&sql) else { return Ok(None) };
    // The line ends so that a comment at the end of the predicate does.
    let predicate = format!("({predicate}\n)");
    let compiles =
        conn.prepare(&format!("SELECT 1 FROM {} AS {ROW} WHERE {predicate}", identifier(table))).is_ok();
    Ok(compiles.then_some(predicate))
}

fn unservable(table: &TableInfo) -> Option<String> {
    if let Some(reason) = table.unfollowable {
        return Some(reason.to_owned());
    }
    if table.key.is_empty() {
        return Some(format!(
            "it has no primary key, so a row has no name; add one (`CREATE TABLE ... (id INTEGER PRIMARY KEY, ...)`) \
             or declare a query over {}",
            identifier(&table.name)
        ));
    }
    if let Some(column) = table.key.iter().find(|column| !column.form.has_row_tag()) {
        return Some(format!(
            "key column `{}` has a collation of its own, which only its own program knows; declare a query instead",
            column.name
        ));
    }
    let primary = table.uniques.iter().find(|index| index.primary)?;
    let differs = |(name, collation): &(String, String)| {
        let column = table.column(name)?;
        (collation_of(collation) != Some(form_collation(&column.form)?)).then(|| name.clone())
    };
    primary.columns.iter().flatten().find_map(differs).map(|name| {
        format!(
            "key column `{name}` compares otherwise in the key than in the table; give both the same COLLATE"
        )
    })
}
