//! What a database holds: its tables, their keys, and whether they can be followed and served.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Row, types::ToSql};
use trueup_core::key::{ColumnForm, KeyForm, Part};

use super::{
    canonical::{KeyColumn, form_of, parameter_type},
    error::PostgresError,
    handle::Postgres,
    names::{SCHEMA, tag_name},
};

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableKind {
    /// An ordinary table, a partition too.
    Plain,
    /// A partitioned table: its rows are those of its leaves.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    Materialized,
    /// A foreign table.
    Foreign,
}

/// Which columns of a row the change log holds when the row is changed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    /// None.
    Nothing,
    /// All.
    Full,
    /// Those of an index.
    Index,
}

/// One table (or view) of a database.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// `schema.table`, as it stands in tags.
    pub name: String,
    /// Its schema.
    pub schema: String,
    /// Its name in the schema.
    pub table: String,
    /// Whether it is found by its bare name, by the role's `search_path`.
    pub visible: bool,
    /// What it is.
    pub kind: TableKind,
    /// Columns in the order of the table.
    pub columns: Vec<ColumnInfo>,
    /// The primary key's columns in the order of the key; empty without one.
    pub key: Vec<KeyColumn>,
    /// What the change log holds of old rows.
    pub identity: Identity,
    /// Whether row security decides who sees which rows.
    pub row_security: bool,
    /// Whether the change log can tell its changes at all; the reason why not.
    pub unfollowable: Option<&'static str>,
    /// Whether one row can be served by its key; the reason why not, and what to do.
    pub unservable: Option<String>,
    pub(super) oid: u32,
    /// Partitioned tables and inheritance parents above it, all of them.
    pub(super) ancestors: Vec<u32>,
    /// Partitions and inheritance children below it, all of them.
    pub(super) descendants: Vec<u32>,
    /// Columns of the index that is its replica identity, where it is [`Identity::Index`].
    pub(super) identity_columns: Vec<String>,
}

/// One column.
#[derive(Clone, Debug)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The declared type.
    pub declared_type: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// How its values compare.
    pub form: ColumnForm,
}

/// All tables and views, in the order of their names; those of PostgreSQL itself and our own left out.
///
/// # Errors
/// [`PostgresError`] when the catalogue cannot be read.
pub async fn discover(postgres: &Postgres) -> Result<Vec<TableInfo>, PostgresError> {
    let at = postgres.shared.at("looking at the catalogue");
    let client = postgres.shared.reader(at).await?;
    read_tables(&client, None).await.map_err(|e| at.error(&e))
}

/// The table called `name`: `schema.table`, or a bare name that `search_path` finds.
///
/// # Errors
/// [`PostgresError`] when the catalogue cannot be read.
pub async fn discover_table(postgres: &Postgres, name: &str) -> Result<Option<TableInfo>, PostgresError> {
    let at = postgres.shared.at("looking at the catalogue");
    let client = postgres.shared.reader(at).await?;
    let Some(oid) = find_table(&client, name).await.map_err(|e| at.error(&e))? else { return Ok(None) };
    let found = read_tables(&client, Some(&[oid])).await.map_err(|e| at.error(&e))?;
    Ok(found.into_iter().next())
}

/// The table that `name` means.
pub(super) fn find<'t>(tables: &'t [TableInfo], name: &str) -> Option<&'t TableInfo> {
    let exact = tables.iter().find(|table| table.name == name);
    exact.or_else(|| tables.iter().find(|table| table.visible && table.table == name))
}

/// The oid of the table that `name` means.
pub(super) async fn find_table(client: &Client, name: &str) -> Result<Option<u32>, tokio_postgres::Error> {
    const SQL: &str = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') \
        AND (n.nspname || '.' || c.relname = $1 OR (c.relname = $1 AND pg_table_is_visible(c.oid))) \
        ORDER BY n.nspname || '.' || c.relname = $1 DESC LIMIT 1";
    Ok(client.query_opt(SQL, &[&name]).await?.map(|row| row.get(0)))
}

const TABLES: &str = "SELECT c.oid, n.nspname::text, c.relname::text, pg_table_is_visible(c.oid), c.relkind::text, \
    c.relpersistence::text, c.relreplident::text, c.relrowsecurity \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    AND CASE WHEN $1::oid[] IS NULL \
        THEN n.nspname NOT IN ('pg_catalog', 'information_schema', $2) AND n.nspname NOT LIKE 'pg\\_toast%' \
            AND n.nspname NOT LIKE 'pg\\_temp%' \
        ELSE c.oid = ANY ($1) END \
    ORDER BY n.nspname, c.relname";

/// Domains of base types count as their base type.
const COLUMNS: &str = "SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), \
    format_type(t.oid, -1), CASE WHEN tn.nspname = 'pg_catalog' THEN t.typname::text ELSE '' END, \
    coalesce(l.collisdeterministic, true), a.attnotnull \
    FROM pg_attribute a JOIN pg_type d ON d.oid = a.atttypid \
    JOIN pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END \
    JOIN pg_namespace tn ON tn.oid = t.typnamespace LEFT JOIN pg_collation l ON l.oid = a.attcollation \
    WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

/// Columns of primary keys and of indexes that are a replica identity, in the order of the index.
const KEYS: &str = "SELECT i.indrelid, i.indisprimary, i.indisreplident, a.attname::text \
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place) \
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
    WHERE i.indrelid = ANY ($1) AND (i.indisprimary OR i.indisreplident) AND i.indisvalid AND i.indisready \
    AND k.place <= i.indnkeyatts ORDER BY i.indrelid, k.place";

const FAMILIES: &str = "SELECT h.inhrelid, h.inhparent FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid \
    WHERE c.relkind IN ('r', 'p', 'f')";

/// Reads the tables with these oids, or all.
pub(super) async fn read_tables(
    client: &Client,
    oids: Option<&[u32]>,
) -> Result<Vec<TableInfo>, tokio_postgres::Error> {
    let tables = client.query(TABLES, &[&oids, &SCHEMA]).await?;
    let found: Vec<u32> = tables.iter().map(|row| row.get(0)).collect();
    let oids: [&(dyn ToSql + Sync); 1] = [&found];
    let (columns, keys, families) = tokio::try_join!(
        client.query(COLUMNS, &oids),
        client.query(KEYS, &oids),
        client.query(FAMILIES, &[])
    )?;
    let mut by_table: BTreeMap<u32, Vec<(ColumnInfo, String)>> = BTreeMap::new();
    for row in &columns {
        by_table.entry(row.get(0)).or_default().push(column(row));
    }
    let families = Families::new(&families);
    Ok(tables.iter().map(|row| table(row, &mut by_table, &keys, &families)).collect())
}

fn column(row: &Row) -> (ColumnInfo, String) {
    let (type_name, base): (String, String) = (row.get(4), row.get(3));
    let form = form_of(&type_name, row.get(5));
    let info = ColumnInfo { name: row.get(1), declared_type: row.get(2), not_null: row.get(6), form };
    let parameter = parameter_type(&info.form, &base);
    (info, parameter)
}

fn table(
    row: &Row,
    columns: &mut BTreeMap<u32, Vec<(ColumnInfo, String)>>,
    keys: &[Row],
    families: &Families,
) -> TableInfo {
    let oid: u32 = row.get(0);
    let (schema, table): (String, String) = (row.get(1), row.get(2));
    let columns = columns.remove(&oid).unwrap_or_default();
    let of_index = |flag: usize| {
        let ours = keys.iter().filter(move |key| key.get::<_, u32>(0) == oid && key.get::<_, bool>(flag));
        ours.map(|key| key.get::<_, String>(3))
    };
    let key_column = |name: String| {
        let (info, parameter) = columns.iter().find(|(info, _)| info.name == name)?;
        Some(KeyColumn { name, form: info.form, parameter: parameter.clone() })
    };
    let kind = match row.get::<_, &str>(4) {
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::Materialized,
        "f" => TableKind::Foreign,
        _ => TableKind::Plain,
    };
    let identity = match row.get::<_, &str>(6) {
        "n" => Identity::Nothing,
        "f" => Identity::Full,
        "i" => Identity::Index,
        _ => Identity::Default,
    };
    let mut info = TableInfo {
        oid,
        name: tag_name(&schema, &table),
        visible: row.get(3),
        kind,
        key: of_index(1).filter_map(key_column).collect(),
        identity,
        identity_columns: of_index(2).collect(),
        row_security: row.get(7),
        unfollowable: unfollowable(kind, row.get(5), oid),
        unservable: None,
        ancestors: families.ancestors(oid),
        descendants: families.descendants(oid),
        columns: columns.into_iter().map(|(info, _)| info).collect(),
        schema,
        table,
    };
    info.unservable = unservable(&info);
    info
}

/// Number of the first table that PostgreSQL takes for a user's. Those made while the server ran in single-user mode have lower ones, may be
/// published, and are left out of the change log's messages all the same.
const FIRST_OF_USERS: u32 = 16_384;

fn unfollowable(kind: TableKind, persistence: &str, oid: u32) -> Option<&'static str> {
    Some(match (kind, persistence) {
        (TableKind::View, _) => "a view holds no rows of its own; declare a query over it instead",
        (TableKind::Materialized, _) => {
            "the change log does not hold changes of materialized views; declare a query over what it is made of"
        }
        (TableKind::Foreign, _) => {
            "it is a foreign table, whose rows change elsewhere; give the class a life and declare it age-bounded"
        }
        (_, "t") => "it is a temporary table, which other sessions do not see",
        (_, "u") => {
            "it is unlogged, so its changes do not stand in the change log; run `ALTER TABLE ... SET LOGGED`"
        }
        _ if oid < FIRST_OF_USERS => {
            "it was made in single-user mode, and PostgreSQL tells no changes of such a table; make it anew (`CREATE TABLE ... (LIKE ... \
             INCLUDING ALL)`, copy its rows, rename both), and take the old one out of the publication if it is there (`ALTER PUBLICATION \
             trueup DROP TABLE ...`)"
        }
        _ => return None,
    })
}

fn unservable(table: &TableInfo) -> Option<String> {
    if let Some(reason) = table.unfollowable {
        return Some(reason.to_owned());
    }
    if table.kind == TableKind::Plain && !table.descendants.is_empty() {
        return Some(
            "rows of its child tables show in it and have no common key; declare a query over it, or over one of them"
                .to_owned(),
        );
    }
    if table.key.is_empty() {
        return Some(
            "it has no primary key, so a row has no name; add one (`ALTER TABLE ... ADD PRIMARY KEY (...)`) or declare a \
             query over it"
                .to_owned(),
        );
    }
    None
}

impl TableInfo {
    /// The table that `name` means: `schema.table`, or a bare name that `search_path` finds.
    #[must_use]
    pub fn find<'t>(tables: &'t [Self], name: &str) -> Option<&'t Self> {
        find(tables, name)
    }

    /// Whether it is a partition of the partitioned table `whole`, at any depth.
    #[must_use]
    pub fn is_part_of(&self, whole: &Self) -> bool {
        whole.kind == TableKind::Partitioned && self.ancestors.contains(&whole.oid)
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The name by which people write it: bare where that finds it.
    #[must_use]
    pub fn short_name(&self) -> &str {
        if self.visible { &self.table } else { &self.name }
    }

    /// The form of keys that name a row of this table.
    ///
    /// # Errors
    /// Why rows of this table cannot be named, and what to do.
    pub fn key_form(&self) -> Result<KeyForm, PostgresError> {
        let refuse = |reason| PostgresError::Table { table: self.name.clone(), reason };
        if let Some(reason) = &self.unservable {
            return Err(refuse(reason.clone()));
        }
        let form = KeyForm::columns(self.key.iter().map(|column| Part::new(&*column.name, column.form)));
        form.or_else(|_| {
            // Part names stand in messages alone; a column may be called anything.
            let part = |(i, column): (usize, &KeyColumn)| Part::new(format!("key{i}"), column.form);
            KeyForm::columns(self.key.iter().enumerate().map(part))
        })
        .map_err(|error| refuse(error.to_string()))
    }

    /// Whether the change log names the old values of `columns` when a row is changed or deleted.
    pub(super) fn tells_old(&self, columns: &[String]) -> bool {
        let in_key = |name: &String| self.key.iter().any(|column| column.name == *name);
        match self.identity {
            Identity::Full => true,
            Identity::Default => columns.iter().all(in_key),
            Identity::Index => columns.iter().all(|name| self.identity_columns.contains(name)),
            Identity::Nothing => false,
        }
    }
}

/// Who is a partition or an inheritance child of whom.
struct Families {
    parents: BTreeMap<u32, Vec<u32>>,
    children: BTreeMap<u32, Vec<u32>>,
}

impl Families {
    fn new(rows: &[Row]) -> Self {
        let (mut parents, mut children): (BTreeMap<u32, Vec<u32>>, BTreeMap<u32, Vec<u32>>) =
            Default::default();
        for row in rows {
            let (child, parent): (u32, u32) = (row.get(0), row.get(1));
            parents.entry(child).or_default().push(parent);
            children.entry(parent).or_default().push(child);
        }
        Self { parents, children }
    }

    fn ancestors(&self, oid: u32) -> Vec<u32> {
        closure(&self.parents, oid)
    }

    fn descendants(&self, oid: u32) -> Vec<u32> {
        closure(&self.children, oid)
    }
}

/// Everything reachable from `from`, itself left out.
fn closure(edges: &BTreeMap<u32, Vec<u32>>, from: u32) -> Vec<u32> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(at) = waiting.pop() {
        for &next in edges.get(&at).into_iter().flatten() {
            if found.insert(next) {
                waiting.push(next);
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{TableKind, unfollowable};

    #[test]
    fn a_table_of_single_user_mode_is_not_followed() {
        let ordinary = |oid| unfollowable(TableKind::Plain, "p", oid);
        assert!(ordinary(16_383).is_some_and(|why| why.contains("single-user mode")));
        assert_eq!(ordinary(16_384), None);
        assert!(unfollowable(TableKind::Partitioned, "p", 13_572).is_some());
    }
}
