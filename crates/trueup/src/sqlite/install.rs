//! Installing the feed: first a plan that can be read, then its execution in one transaction.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior};

use super::{
    canonical::KeyColumn,
    connection::{self, schema_version},
    discover::{TableInfo, discover, discover_table},
    error::{At, SqliteError},
    names::{FEED_VERSION, LOG, META, NOW_MS, PREFIX, READERS, TABLES, identifier, kind, literal, same_name},
    registry::{GroupSpec, installed, logged},
    triggers::triggers,
};

/// How long the installer waits for a lock.
pub const INSTALL_LOCK_WAIT: Duration = Duration::from_secs(5);
/// Most columns of one table that are logged: its key and its groups.
const LOGGED_COLUMNS_MAX: usize = 64;
/// Value columns that every log has, so that most tables added later need no change of it.
const LOGGED_COLUMNS_MIN: usize = 4;

/// Which tables are to be followed, and by what they are grouped.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// Tables by name; none stands for every table that can be followed.
    pub tables: Option<Vec<String>>,
    /// Groups by table.
    pub groups: BTreeMap<String, Vec<GroupSpec>>,
    /// How long to wait for a lock that another program holds.
    pub lock_wait: Duration,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self { tables: None, groups: BTreeMap::new(), lock_wait: INSTALL_LOCK_WAIT }
    }
}

/// What installing would do, statement by statement.
#[derive(Clone, Debug)]
pub struct FeedPlan {
    path: PathBuf,
    statements: Vec<String>,
    warnings: Vec<String>,
    refused: Vec<(String, String)>,
    tables: Vec<String>,
    make_wal: bool,
    schema_version: i64,
    lock_wait: Duration,
}

impl FeedPlan {
    /// Plans the feed for the database at `path`: everything that is missing of it. The database is only read.
    ///
    /// # Errors
    /// [`SqliteError`] where the database cannot be read, a newer feed is installed, or a table asked for by name cannot be
    /// followed.
    pub fn new(path: &Path, options: &InstallOptions) -> Result<Self, SqliteError> {
        let mut conn = connection::open_writer(path, options.lock_wait)?;
        let at = At { path, doing: "reading its schema", patience: options.lock_wait };
        let tx = conn.transaction().map_err(|e| at.error(e))?;
        Planner { path, conn: &tx, options, at }.plan()
    }

    /// Every statement that would be executed, in order; empty where nothing is missing.
    #[must_use]
    pub fn statements(&self) -> &[String] {
        &self.statements
    }

    /// What the person who installs should know.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tables that will not be followed, each with the reason.
    #[must_use]
    pub fn refused(&self) -> &[(String, String)] {
        &self.refused
    }

    /// Tables that will be followed.
    #[must_use]
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Executes the plan: all of it, or (apart from the journal mode) nothing.
    ///
    /// # Errors
    /// [`SqliteError::Locked`] when another program holds the lock for longer than [`InstallOptions::lock_wait`];
    /// [`SqliteError::PlanOutdated`] when the schema has changed since.
    pub fn apply(&self) -> Result<(), SqliteError> {
        if self.statements.is_empty() {
            return Ok(());
        }
        let mut conn = connection::open_writer(&self.path, self.lock_wait)?;
        let at = At { path: &self.path, doing: "installing the feed", patience: self.lock_wait };
        if self.make_wal {
            let mode = connection::set_journal_mode(&conn, "wal").map_err(|e| at.error(e))?;
            if mode != "wal" {
                return Err(SqliteError::NotWal { path: self.path.clone(), mode });
            }
        }
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| at.error(e))?;
        if schema_version(&tx).map_err(|e| at.error(e))? != self.schema_version {
            return Err(SqliteError::PlanOutdated { path: self.path.clone() });
        }
        for statement in self.statements.iter().skip(usize::from(self.make_wal)) {
            tx.execute_batch(statement).map_err(|e| at.error(e))?;
        }
        tx.commit().map_err(|e| at.error(e))
    }
}

struct Planner<'a> {
    path: &'a Path,
    conn: &'a Connection,
    options: &'a InstallOptions,
    at: At<'a>,
}

impl Planner<'_> {
    fn plan(&self) -> Result<FeedPlan, SqliteError> {
        let sql = |e| self.at.error(e);
        let schema_version = schema_version(self.conn).map_err(sql)?;
        let installed = installed(self.conn).map_err(sql)?;
        if let Some((found, _)) = installed
            && found > FEED_VERSION
        {
            return Err(SqliteError::FeedNewer { path: self.path.to_owned(), found, known: FEED_VERSION });
        }
        let mode = connection::journal_mode(self.conn).map_err(sql)?;
        let (chosen, refused) = self.choose(discover(self.conn).map_err(sql)?)?;
        let mut warnings = Vec::new();
        let mut statements = Vec::new();
        if mode != "wal" {
            statements.push("PRAGMA journal_mode = wal".to_owned());
            warnings.push(format!(
                "the journal mode changes from `{mode}` to WAL, so that readers and writers do not block each other; \
                 it stays with the file"
            ));
        }
        let own = if installed.is_none() { own_tables(&mode) } else { Vec::new() };
        let (tables, widest) = self.table_statements(&chosen, installed.is_some(), &mut warnings)?;
        statements.extend(own);
        statements.extend(self.log_columns(installed.is_some(), widest).map_err(sql)?);
        statements.extend(tables);
        Ok(FeedPlan {
            path: self.path.to_owned(),
            make_wal: mode != "wal",
            statements,
            warnings,
            refused,
            tables: chosen.into_iter().map(|table| table.name).collect(),
            schema_version,
            lock_wait: self.options.lock_wait,
        })
    }

    /// Splits the tables into those to follow and those that cannot be.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn choose(&self, all: Vec<TableInfo>) -> Result<(Vec<TableInfo>, Vec<(String, String)>), SqliteError> {
        let missing = |name: &String| !all.iter().any(|table| same_name(&table.name, name));
        let named = self.options.tables.iter().flatten().chain(self.options.groups.keys());
        if let Some(table) = named.into_iter().find(|name| missing(name)) {
            let reason = "there is no such table; check the name".to_owned();
            return Err(SqliteError::Table { table: table.clone(), reason });
        }
        let asked = |table: &TableInfo| {
            self.options.tables.as_ref().map(|names| names.iter().any(|name| same_name(name, &table.name)))
        };
        let (mut chosen, mut refused) = (Vec::new(), Vec::new());
        for table in all {
            match (asked(&table), table.unfollowable) {
                (Some(false), _) => {}
                (Some(true), Some(reason)) => {
                    return Err(SqliteError::Table { table: table.name, reason: reason.to_owned() });
                }
                (None, Some(reason)) => refused.push((table.name, reason.to_owned())),
                (_, None) => chosen.push(table),
            }
        }
        Ok((chosen, refused))
    }

    /// Statements that bring each table's registration and triggers to what they should be, and how many value columns
    /// the log needs.
    fn table_statements(
        &self,
        chosen: &[TableInfo],
        is_installed: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(Vec<String>, usize), SqliteError> {
        let sql = |e| self.at.error(e);
        let known = if is_installed { known_tables(self.conn).map_err(sql)? } else { Vec::new() };
        let mut next_id = known.iter().map(|(id, ..)| *id).max().unwrap_or(0) + 1;
        let (mut statements, mut widest) = (self.forget_statements(&known).map_err(sql)?, 0);
        for table in chosen {
            let groups = self.groups(table)?;
            let groups_text = serde_json::to_string(groups).unwrap_or_else(|_| "[]".into());
            let found = known.iter().find(|(_, name, _)| same_name(name, &table.name));
            let id = found.map_or(next_id, |(id, ..)| *id);
            match found {
                Some((_, name, text)) if *name == table.name && *text == groups_text => {}
                Some(_) => statements.push(format!(
                    "UPDATE {TABLES} SET name = {}, groups = {} WHERE id = {id}",
                    literal(&table.name),
                    literal(&groups_text)
                )),
                None => {
                    next_id += 1;
                    statements.push(format!(
                        "INSERT INTO {TABLES}(id, name, groups) VALUES ({id}, {}, {})",
                        literal(&table.name),
                        literal(&groups_text)
                    ));
                }
            }
            let logged = logged(id, table, groups);
            if logged.width() > LOGGED_COLUMNS_MAX {
                let reason = format!("its key and groups have more than {LOGGED_COLUMNS_MAX} columns");
                return Err(SqliteError::Table { table: table.name.clone(), reason });
            }
            widest = widest.max(logged.width());
            let (wanted, notes) = triggers(table, &logged);
            warnings.extend(notes);
            if let (Some(reason), true) = (&table.unservable, table.unfollowable.is_none()) {
                warnings.push(format!("table `{}` is followed only as a whole: {reason}", table.name));
            }
            statements.extend(self.trigger_statements(id, &wanted).map_err(sql)?);
        }
        Ok((statements, widest))
    }

    fn groups<'b>(&'b self, table: &TableInfo) -> Result<&'b [GroupSpec], SqliteError> {
        let declared = self.options.groups.iter().find(|(name, _)| same_name(name, &table.name));
        let groups = declared.map_or(&[][..], |(_, groups)| groups);
        let refuse = |reason| Err(SqliteError::Table { table: table.name.clone(), reason });
        for (group, name) in
            groups.iter().flat_map(|group| group.columns.iter().map(move |name| (group, name)))
        {
            let form = table.column(name).map(|column| KeyColumn { name: name.clone(), form: column.form });
            match form {
                None => {
                    return refuse(format!(
                        "group `{}` names column `{name}`, which it does not have",
                        group.name
                    ));
                }
                Some(column) if !column.form.has_row_tag() => {
                    return refuse(format!(
                        "column `{name}` of group `{}` has a collation of its own, so its values cannot be compared here",
                        group.name
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(groups)
    }

    /// Statements that forget tables that were dropped, or renamed: those are followed under their new name.
    fn forget_statements(&self, known: &[(i64, String, String)]) -> rusqlite::Result<Vec<String>> {
        let mut statements = Vec::new();
        for (id, name, _) in known {
            if discover_table(self.conn, name)?.is_none() {
                statements.extend(self.trigger_statements(*id, &[])?);
                statements.push(format!("DELETE FROM {TABLES} WHERE id = {id}"));
            }
        }
        Ok(statements)
    }

    /// Drops what is outdated, makes what is missing.
    fn trigger_statements(
        &self,
        id: i64,
        wanted: &[super::triggers::Trigger],
    ) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?2) = ?1 ORDER BY name",
        )?;
        let prefix = format!("{PREFIX}t{id}_");
        let there = statement
            .query_map((&prefix, prefix.len() as i64), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let right = |name: &str, sql: &str| wanted.iter().any(|w| w.name == name && w.sql == sql);
        let drop = there.iter().filter(|(name, sql)| !right(name, sql));
        let make =
            wanted.iter().filter(|w| !there.iter().any(|(name, sql)| *name == w.name && *sql == w.sql));
        let drop = drop.map(|(name, _)| format!("DROP TRIGGER {}", identifier(name)));
        Ok(drop.chain(make.map(|trigger| trigger.sql.clone())).collect())
    }

    /// Statements that give an installed log the value columns that it lacks.
    fn log_columns(&self, is_installed: bool, widest: usize) -> rusqlite::Result<Vec<String>> {
        let there = if is_installed {
            let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name GLOB 'v[0-9]*'";
            self.conn.query_row(sql, [LOG], |row| row.get::<_, i64>(0))? as usize
        } else {
            LOGGED_COLUMNS_MIN
        };
        Ok((there..widest).map(|i| format!("ALTER TABLE {LOG} ADD COLUMN v{i}")).collect())
    }
}

/// The tables that the feed keeps in the database.
fn own_tables(journal_mode: &str) -> Vec<String> {
    let values: String = (0..LOGGED_COLUMNS_MIN).map(|i| format!(", v{i}")).collect();
    let mark = kind::MARK;
    vec![
        format!(
            "CREATE TABLE {META}(id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, \
             system_id INTEGER NOT NULL, nonce_high INTEGER NOT NULL, nonce_low INTEGER NOT NULL, \
             journal_mode TEXT NOT NULL)"
        ),
        format!(
            "INSERT INTO {META} VALUES (1, {FEED_VERSION}, random(), random(), random(), {})",
            literal(journal_mode)
        ),
        format!(
            "CREATE TABLE {TABLES}(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, groups TEXT NOT NULL)"
        ),
        format!(
            "CREATE TABLE {READERS}(id INTEGER PRIMARY KEY, position INTEGER NOT NULL, heartbeat_ms INTEGER NOT NULL, \
             vouched_high INTEGER, vouched_low INTEGER)"
        ),
        format!(
            "CREATE TABLE {LOG}(seq INTEGER PRIMARY KEY AUTOINCREMENT, nonce INTEGER NOT NULL, at_ms INTEGER NOT NULL, \
             tbl INTEGER NOT NULL, kind INTEGER NOT NULL{values})"
        ),
        // So that a position is never zero.
        format!("INSERT INTO {LOG}(nonce, at_ms, tbl, kind) VALUES (random(), {NOW_MS}, 0, {mark})"),
    ]
}

fn known_tables(conn: &Connection) -> rusqlite::Result<Vec<(i64, String, String)>> {
    let mut statement = conn.prepare(&format!("SELECT id, name, groups FROM {TABLES}"))?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
