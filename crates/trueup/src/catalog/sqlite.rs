//! Classes over a SQLite database: what the plan declares, or what the schema offers.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use trueup_core::{
    behind::WriteBehind,
    class::{ClassPlan, Origin, Rows},
    entry::Raw,
    env::BoxFuture,
    key::{Affinity, Collation, ColumnForm, Key, KeyForm},
    proof::{Tag, Tags},
    source::{KeySet, LoadError, Loaded, LoadedMany, Loader, Outcome, RowWriter},
    write::LockingRead as _,
};

use super::{
    CatalogBuilder, CatalogEntry, CatalogError, behind,
    common::{check_key, declared_groups, groups_of, left_out, load_bytes_max, only_in_rust, spec},
    key_form,
    outside::{self, Outside},
};
use crate::{
    noted::{After, LoadAfter},
    plan::{DiscoveredTable, Plan, Skipped},
    sqlite::{
        BehindSink, ColumnInfo, FollowedTable, GroupSpec, InstallOptions, LOAD_BYTES_MAX, QueryLoader,
        QueryOptions, RowLoader, RowOptions, Sqlite, SqliteTx, TableInfo, discover_file,
    },
};

/// How a query's parameter is compared that has the name of no column: as the database would compare what is written.
const UNTYPED: ColumnForm = ColumnForm::Sqlite { affinity: Affinity::Blob, collation: Collation::Binary };

/// Adds to `plan` a class for each of `tables` that can be served unasked; those that cannot come back with the reason.
/// `followed` are the tables that the installed feed follows; `None` before it is installed.
pub fn discover_classes(
    plan: &mut Plan,
    tables: &[TableInfo],
    followed: Option<&[FollowedTable]>,
) -> Vec<Skipped> {
    let mut skipped = Vec::new();
    let mut found = Vec::new();
    for table in tables {
        let reason = table.unservable.clone().or_else(|| followed.and_then(|all| unfollowed(table, all)));
        match reason {
            Some(reason) => skipped.push(Skipped { table: table.name.clone(), reason }),
            None => found.push(DiscoveredTable {
                table: table.name.clone(),
                key: table.key.iter().map(|column| column.name.clone()).collect(),
                columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            }),
        }
    }
    skipped.extend(plan.discover(&found));
    skipped
}

/// Why changes of `table` are not, or no longer, told by the feed.
fn unfollowed(table: &TableInfo, followed: &[FollowedTable]) -> Option<String> {
    const FIX: &str = "run `trueup init --apply`, or serve with `--install-feed`";
    match followed.iter().find(|known| same(&known.name, &table.name)) {
        None => Some(format!("its changes are not followed; {FIX}")),
        Some(known) => known.outdated.as_ref().map(|reason| format!("{reason}; {FIX}")),
    }
}

/// What the feed must tell so that the classes of `plan` can be proven: every table, and the groups that are declared.
#[must_use]
pub fn install_options(plan: &Plan) -> InstallOptions {
    InstallOptions { groups: groups_of(plan), ..InstallOptions::default() }
}

/// A class of a SQLite database, with the way to load it.
pub struct SqliteClass {
    /// The normal form of the keys.
    pub form: KeyForm,
    /// Loads values.
    pub loader: ClassLoader,
    /// What every value depends on.
    pub whole: Tags,
}

/// Loads values of one class.
#[derive(Clone, Debug)]
pub enum ClassLoader {
    /// A row, by primary key.
    Row(RowLoader),
    /// The answer of a query.
    Query(QueryLoader),
    /// What clients fill.
    Outside(Outside),
}

impl ClassLoader {
    /// Reads a value in a transaction that holds the write lock.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn read_locked(&self, tx: &SqliteTx<'_>, key: &Key) -> Result<Option<Raw>, LoadError> {
        match self {
            Self::Row(loader) => tx.reads(loader).read_locked(key).await,
            Self::Query(loader) => tx.reads(loader).read_locked(key).await,
            Self::Outside(_) => Err(Outside::not_in_the_database()),
        }
    }
}

impl Loader<Key, Raw> for ClassLoader {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        match self {
            Self::Row(loader) => loader.load(key),
            Self::Query(loader) => loader.load(key),
            Self::Outside(loader) => loader.load(key),
        }
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        match self {
            Self::Row(loader) => loader.load_many(keys),
            Self::Query(loader) => loader.load_many(keys),
            Self::Outside(loader) => loader.load_many(keys),
        }
    }

    fn writer(&self) -> Result<&dyn RowWriter<Raw>, Cow<'static, str>> {
        match self {
            Self::Row(loader) => loader.writer(),
            Self::Query(_) | Self::Outside(_) => {
                Err("only a table read by its primary key has rows that can be written".into())
            }
        }
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<Key>>, Cow<'static, str>> {
        match self {
            Self::Row(loader) => loader.key_set(),
            Self::Query(_) | Self::Outside(_) => {
                Err("only a table read by its primary key has keys that are all known".into())
            }
        }
    }
}

impl LoadAfter for ClassLoader {
    fn load_after<'a>(
        &'a self,
        after: After<'a>,
        key: &'a Key,
        outcome: Outcome,
    ) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        match self {
            Self::Row(loader) => loader.load_after(after, key, outcome),
            Self::Query(_) | Self::Outside(_) => Box::pin(async move {
                if outcome.committed().await { self.load(key).await } else { Err(LoadError::Lost) }
            }),
        }
    }
}

/// Adds every class of `plan`.
///
/// # Errors
/// [`CatalogError`] naming the class that cannot be served, and what to do.
pub fn add_classes(
    mut builder: CatalogBuilder,
    sqlite: &Sqlite,
    plan: &Plan,
) -> Result<CatalogBuilder, CatalogError> {
    let tables = discover_file(sqlite.path())?;
    for class in plan.classes.values() {
        let SqliteClass { form, loader, whole } = open(sqlite, &tables, class)?;
        let loader = Arc::new(loader);
        builder = builder.class(CatalogEntry { plan: class.clone(), form, loader, whole })?;
    }
    Ok(builder)
}

/// The journal that the plan names, with what it held brought to the database; none without one.
///
/// # Errors
/// [`CatalogError`] where the journal cannot be used, or the database does not take what it holds.
pub async fn write_behind(sqlite: &Sqlite, plan: &Plan) -> Result<Option<WriteBehind>, CatalogError> {
    if plan.write_behind.is_none() {
        return Ok(None);
    }
    let tables = discover_file(sqlite.path())?;
    let mut loaders = BTreeMap::new();
    for class in behind::classes(plan) {
        if let ClassLoader::Row(loader) = open(sqlite, &tables, class)?.loader {
            loaders.insert(class.name().clone(), loader);
        }
    }
    behind::open(plan, Arc::new(BehindSink::new(sqlite.clone(), loaders))).await
}

/// One class of a plan; `tables` are those of the database.
///
/// # Errors
/// [`CatalogError`] naming what cannot be served, and what to do.
pub fn open(sqlite: &Sqlite, tables: &[TableInfo], plan: &ClassPlan) -> Result<SqliteClass, CatalogError> {
    match plan.origin() {
        Origin::Table(name) => of_table(sqlite, tables, plan, name),
        Origin::Query(sql) => of_query(sqlite, tables, plan, sql),
        Origin::Loader => Err(only_in_rust(plan)),
        Origin::External => Ok(SqliteClass {
            form: outside::form_of(plan)?,
            loader: ClassLoader::Outside(Outside),
            // Set by the catalogue, for whatever clients fill.
            whole: Tags::new(),
        }),
    }
}

fn of_table(
    sqlite: &Sqlite,
    tables: &[TableInfo],
    plan: &ClassPlan,
    name: &str,
) -> Result<SqliteClass, CatalogError> {
    let in_source = |why| CatalogError::Source { class: plan.name().clone(), why: Box::new(why) };
    let table = find(tables, name);
    let columns = table.map(|table| table.columns.as_slice()).unwrap_or_default();
    let loader = RowLoader::new(sqlite, name, row_options(plan, columns)).map_err(in_source)?;
    if let Some(table) = table {
        let key: Vec<&str> = table.key.iter().map(|column| column.name.as_str()).collect();
        check_key(plan, &key, same)?;
    }
    let form = loader.key_form().clone();
    let followed = sqlite.followed_tables().map_err(in_source)?;
    // Tags hold the name under which the feed follows the table.
    let canonical = followed.iter().find(|table| same(&table.name, name));
    let canonical = canonical.map_or(name, |table| table.name.as_str());
    Ok(SqliteClass {
        form,
        loader: ClassLoader::Row(loader),
        whole: Tags::from_slice(&[Tag::wide(canonical)]),
    })
}

fn row_options(plan: &ClassPlan, columns: &[ColumnInfo]) -> RowOptions {
    let leave_out = left_out(plan, columns.iter().map(|column| column.name.as_str()));
    match plan {
        ClassPlan::Cacheable(plan) => RowOptions {
            leave_out,
            limit: plan.hard_timeout,
            value_bytes_max: load_bytes_max(plan, LOAD_BYTES_MAX),
        },
        ClassPlan::Decision(plan) => {
            RowOptions { leave_out, limit: plan.hard_timeout, value_bytes_max: LOAD_BYTES_MAX }
        }
    }
}

fn of_query(
    sqlite: &Sqlite,
    tables: &[TableInfo],
    plan: &ClassPlan,
    sql: &str,
) -> Result<SqliteClass, CatalogError> {
    let form = key_form(plan, |name| Some(type_of(tables, name)))?;
    let groups: BTreeMap<String, GroupSpec> =
        declared_groups(plan).iter().map(|group| (group.table.to_string(), spec(group))).collect();
    let (limit, value_bytes_max, age_bounded) = match plan {
        ClassPlan::Cacheable(plan) => {
            (plan.hard_timeout, load_bytes_max(plan, LOAD_BYTES_MAX), !plan.is_provable())
        }
        // Read anew each time, so it matters to nobody whether the answer changes without a change of the tables.
        ClassPlan::Decision(plan) => (plan.hard_timeout, LOAD_BYTES_MAX, true),
    };
    let options = QueryOptions {
        many: plan.rows() == Rows::Many,
        limit,
        value_bytes_max,
        age_bounded,
        tables: None,
        groups: groups.clone(),
    };
    let loader = QueryLoader::new(sqlite, sql, form.clone(), options)
        .map_err(|why| CatalogError::Source { class: plan.name().clone(), why: Box::new(why) })?;
    let tag = |table: &String| {
        let grouped = groups.keys().any(|name| same(name, table));
        if grouped { Tag::wide(table) } else { Tag::any(table) }
    };
    let whole = loader.dependencies().tables.iter().map(tag).collect();
    Ok(SqliteClass { form, loader: ClassLoader::Query(loader), whole })
}

/// How values of a query's parameter are compared: as the columns of its name, where all of them compare alike.
fn type_of(tables: &[TableInfo], name: &str) -> ColumnForm {
    let mut forms = tables.iter().filter_map(|table| table.column(name)).map(|column| column.form);
    match forms.next() {
        Some(first) if forms.all(|other| other == first) => first,
        _ => UNTYPED,
    }
}

fn find<'t>(tables: &'t [TableInfo], name: &str) -> Option<&'t TableInfo> {
    tables.iter().find(|table| same(&table.name, name))
}

/// SQLite compares names without case.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
