//! What is installed: the version, the nonces, and the tables that are followed.

use rusqlite::{Connection, OptionalExtension as _};
use trueup_core::entry::{EpochId, EpochParts};

use super::{
    canonical::KeyColumn,
    discover::{TableInfo, discover_table},
    names::{META, TABLES, same_name},
    triggers::{Logged, triggers},
};

pub use crate::group::GroupSpec;

/// What names the epoch, apart from the schema's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FeedName {
    pub(super) system_id: i64,
    pub(super) nonce: (i64, i64),
}

impl FeedName {
    /// The epoch while the schema has this version.
    pub(super) fn epoch(self, schema_version: i64) -> EpochId {
        let (high, low) = (self.nonce.0 as u64, self.nonce.1 as u64);
        EpochId::new(&EpochParts {
            system_id: self.system_id as u64,
            timeline: 0,
            feed_nonce: u128::from(high) << 64 | u128::from(low),
            generation: schema_version as u64,
        })
    }
}

/// A table that the feed follows.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// Name as it stands in tags.
    pub(super) name: String,
    pub(super) logged: Logged,
    pub(super) groups: Vec<GroupSpec>,
    /// The table as it is now; none when it is gone.
    pub(super) table: Option<TableInfo>,
    /// Why the installed triggers no longer tell everything.
    pub(super) outdated: Option<String>,
}

impl Followed {
    /// Positions of the group's columns among the logged group columns, and their forms.
    pub(super) fn group_columns<'a>(
        &'a self,
        group: &'a GroupSpec,
    ) -> impl Iterator<Item = (usize, &'a KeyColumn)> {
        group.columns.iter().filter_map(|name| {
            self.logged.groups.iter().enumerate().find(|(_, column)| same_name(&column.name, name))
        })
    }
}

/// Everything that is followed, as read in one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub(super) tables: Vec<Followed>,
}

impl Registry {
    /// The table called `name`, which SQLite compares without case.
    pub(super) fn table(&self, name: &str) -> Option<&Followed> {
        self.tables.iter().find(|followed| same_name(&followed.name, name))
    }

    pub(super) fn by_id(&self, id: i64) -> Option<&Followed> {
        self.tables.iter().find(|followed| followed.logged.id == id)
    }

    /// Reads what is installed and compares it with the schema as it is.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            conn.prepare_cached(&format!("SELECT id, name, groups FROM {TABLES} ORDER BY id"))?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let read = |(id, name, groups): (i64, String, String)| {
            // Written by the installer alone; whoever edits it by hand loses the groups, which then count as missing.
            let groups: Vec<GroupSpec> = serde_json::from_str(&groups).unwrap_or_default();
            let table = discover_table(conn, &name)?;
            let (logged, outdated) = match &table {
                Some(table) => {
                    let logged = logged(id, table, &groups);
                    let outdated = outdated(conn, table, &logged, &groups)?;
                    (logged, outdated)
                }
                None => {
                    let gone = "it was dropped or renamed since the feed was installed".to_owned();
                    (Logged { id, key: Vec::new(), groups: Vec::new() }, Some(gone))
                }
            };
            Ok(Followed { name, logged, groups, table, outdated })
        };
        Ok(Self { tables: rows.into_iter().map(read).collect::<rusqlite::Result<_>>()? })
    }
}

/// The columns that are logged of each changed row of `table`.
pub(super) fn logged(id: i64, table: &TableInfo, groups: &[GroupSpec]) -> Logged {
    let mut columns: Vec<KeyColumn> = Vec::new();
    for name in groups.iter().flat_map(|group| &group.columns) {
        if let Some(column) = table.column(name)
            && !columns.iter().any(|known| known.name == column.name)
        {
            columns.push(KeyColumn { name: column.name.clone(), form: column.form });
        }
    }
    let key = if table.unservable.is_none() { table.key.clone() } else { Vec::new() };
    Logged { id, key, groups: columns }
}

fn outdated(
    conn: &Connection,
    table: &TableInfo,
    logged: &Logged,
    groups: &[GroupSpec],
) -> rusqlite::Result<Option<String>> {
    if let Some(name) =
        groups.iter().flat_map(|group| &group.columns).find(|name| table.column(name).is_none())
    {
        return Ok(Some(format!("it has lost column `{name}`, which a group is made of")));
    }
    let mut installed = conn.prepare_cached(
        "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?1 AND tbl_name = ?2",
    )?;
    for trigger in triggers(table, logged).0 {
        let sql: Option<String> =
            installed.query_row([&trigger.name, &table.name], |row| row.get(0)).optional()?;
        if sql.as_ref() != Some(&trigger.sql) {
            return Ok(Some("its key or a unique index was changed since the feed was installed".to_owned()));
        }
    }
    Ok(None)
}

/// The version and name of the installed feed; none where there is none.
pub(super) fn installed(conn: &Connection) -> rusqlite::Result<Option<(i64, FeedName)>> {
    let exists = conn
        .query_row("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", [META], |_| Ok(()))
        .optional()?;
    if exists.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT version, system_id, nonce_high, nonce_low FROM {META}");
    conn.query_row(&sql, [], |row| {
        let name = FeedName { system_id: row.get(1)?, nonce: (row.get(2)?, row.get(3)?) };
        Ok((row.get(0)?, name))
    })
    .optional()
}
