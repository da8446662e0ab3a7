//! Classes over a PostgreSQL database: what the plan declares, or what the catalogue offers.

use std::{borrow::Cow, collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use trueup_core::{
    behind::WriteBehind,
    class::{ClassPlan, Origin, Rows},
    entry::Raw,
    env::BoxFuture,
    key::{Collation, ColumnForm, Key, KeyForm},
    proof::Tags,
    source::{Catalogue, KeySet, LoadError, Loaded, LoadedMany, Loader, Outcome, RowWriter},
    write::LockingRead as _,
};

use super::{
    CatalogBuilder, CatalogEntry, CatalogError, behind,
    common::{check_key, declared_groups, groups_of, left_out, load_bytes_max, only_in_rust, spec},
    key_form,
    outside::{self, Outside},
};
use crate::{
    group::GroupSpec,
    noted::{After, LoadAfter},
    plan::{DiscoveredTable, Plan, Skipped},
    postgres::{
        BehindSink, FollowedTable, InstallOptions, LOAD_BYTES_MAX, PgTx, Postgres, QueryLoader, QueryOptions,
        RowLoader, RowOptions, TableInfo, discover, parameter_forms,
    },
};

/// How a query's parameter is compared of which nothing is known: exactly as it is written.
const UNTYPED: ColumnForm = ColumnForm::Text(Collation::Binary);

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
        let reason = table.unservable.clone().or_else(|| unasked(table, tables));
        match reason.or_else(|| followed.and_then(|all| unfollowed(table, all))) {
            Some(reason) => skipped.push(Skipped { table: table.short_name().to_owned(), reason }),
            None => found.push(DiscoveredTable {
                table: table.short_name().to_owned(),
                key: table.key.iter().map(|column| column.name.clone()).collect(),
                columns: table.columns.iter().map(|column| column.name.clone()).collect(),
            }),
        }
    }
    skipped.extend(plan.discover(&found));
    skipped
}

/// Why a table gets no class that nobody asked for.
fn unasked(table: &TableInfo, tables: &[TableInfo]) -> Option<String> {
    if table.row_security {
        let why = "row security decides who sees which of its rows; give it a class with a life, declared age-bounded";
        return Some(why.to_owned());
    }
    let whole = tables.iter().find(|whole| table.is_part_of(whole))?;
    Some(format!("it is a part of `{}`, which is served as a whole", whole.short_name()))
}

/// Why changes of `table` are not, or not all, told by the feed.
fn unfollowed(table: &TableInfo, followed: &[FollowedTable]) -> Option<String> {
    match followed.iter().find(|known| known.name == table.name) {
        None => Some(
            "its changes are not published; run `trueup init --apply`, or serve with `--install-feed`"
                .to_owned(),
        ),
        Some(known) => known.outdated.clone(),
    }
}

/// What the feed must tell so that the classes of `plan` can be proven: the tables in use, and the groups that are declared.
#[must_use]
pub fn install_options(plan: &Plan) -> InstallOptions {
    InstallOptions { groups: groups_of(plan), ..InstallOptions::default() }
}

/// A class of a PostgreSQL database, with the way to load it.
pub struct PostgresClass {
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
    /// Reads a value in a transaction, and locks the rows that it is made of.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn read_locked(&self, tx: &PgTx, key: &Key) -> Result<Option<Raw>, LoadError> {
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

    fn load_on_standby<'a>(&'a self, key: &'a Key) -> Option<BoxFuture<'a, Result<Loaded<Raw>, LoadError>>> {
        match self {
            Self::Row(loader) => loader.load_on_standby(key),
            Self::Query(loader) => loader.load_on_standby(key),
            Self::Outside(_) => None,
        }
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        match self {
            Self::Row(loader) => loader.load_many(keys),
            Self::Query(loader) => loader.load_many(keys),
            Self::Outside(loader) => loader.load_many(keys),
        }
    }

    fn statements_at_once(&self) -> Option<NonZeroUsize> {
        match self {
            Self::Row(loader) => loader.statements_at_once(),
            Self::Query(_) | Self::Outside(_) => None,
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

    fn catalogue(&self) -> Arc<Catalogue> {
        match self {
            Self::Row(loader) => loader.catalogue(),
            Self::Query(loader) => loader.catalogue(),
            Self::Outside(loader) => loader.catalogue(),
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
            // A query may need a transaction of its own: it is sent once the commit is known.
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
pub async fn add_classes(
    mut builder: CatalogBuilder,
    postgres: &Postgres,
    plan: &Plan,
) -> Result<CatalogBuilder, CatalogError> {
    let tables = discover(postgres).await?;
    for class in plan.classes.values() {
        let PostgresClass { form, loader, whole } = open(postgres, &tables, class).await?;
        let loader = Arc::new(loader);
        builder = builder.class(CatalogEntry { plan: class.clone(), form, loader, whole })?;
    }
    Ok(builder)
}

/// The journal that the plan names, with what it held brought to the database; none without one.
///
/// # Errors
/// [`CatalogError`] where the journal cannot be used, or the database does not take what it holds.
pub async fn write_behind(postgres: &Postgres, plan: &Plan) -> Result<Option<WriteBehind>, CatalogError> {
    if plan.write_behind.is_none() {
        return Ok(None);
    }
    let tables = discover(postgres).await?;
    let mut loaders = BTreeMap::new();
    for class in behind::classes(plan) {
        if let ClassLoader::Row(loader) = open(postgres, &tables, class).await?.loader {
            loaders.insert(class.name().clone(), loader);
        }
    }
    behind::open(plan, Arc::new(BehindSink::new(postgres.clone(), loaders))).await
}

/// One class of a plan; `tables` are those of the database.
///
/// # Errors
/// [`CatalogError`] naming what cannot be served, and what to do.
pub async fn open(
    postgres: &Postgres,
    tables: &[TableInfo],
    plan: &ClassPlan,
) -> Result<PostgresClass, CatalogError> {
    match plan.origin() {
        Origin::Table(name) => of_table(postgres, tables, plan, name).await,
        Origin::Query(sql) => of_query(postgres, tables, plan, sql).await,
        Origin::Loader => Err(only_in_rust(plan)),
        Origin::External => Ok(PostgresClass {
            form: outside::form_of(plan)?,
            loader: ClassLoader::Outside(Outside),
            // Set by the catalogue, for whatever clients fill.
            whole: Tags::new(),
        }),
    }
}

async fn of_table(
    postgres: &Postgres,
    tables: &[TableInfo],
    plan: &ClassPlan,
    name: &str,
) -> Result<PostgresClass, CatalogError> {
    let table = TableInfo::find(tables, name);
    let names = table.map(|table| table.columns.as_slice()).unwrap_or_default();
    let leave_out = left_out(plan, names.iter().map(|column| column.name.as_str()));
    let (limit, value_bytes_max, age_bounded) = bounds(plan);
    let options = RowOptions { leave_out, limit, value_bytes_max, age_bounded };
    let in_source = |why| CatalogError::InPostgres { class: plan.name().clone(), why: Box::new(why) };
    let loader = RowLoader::new(postgres, name, options).await.map_err(in_source)?;
    if let Some(table) = table {
        let key: Vec<&str> = table.key.iter().map(|column| column.name.as_str()).collect();
        check_key(plan, &key, |a, b| a == b)?;
    }
    Ok(PostgresClass {
        form: loader.key_form().clone(),
        whole: loader.whole(),
        loader: ClassLoader::Row(loader),
    })
}

async fn of_query(
    postgres: &Postgres,
    tables: &[TableInfo],
    plan: &ClassPlan,
    sql: &str,
) -> Result<PostgresClass, CatalogError> {
    let of_parameter = parameter_forms(postgres, sql).await?;
    let type_of = |name: &str| of_parameter.get(name).copied().unwrap_or_else(|| of_columns(tables, name));
    let form = key_form(plan, |name| Some(type_of(name)))?;
    let groups: BTreeMap<String, GroupSpec> =
        declared_groups(plan).iter().map(|group| (group.table.to_string(), spec(group))).collect();
    let (limit, value_bytes_max, age_bounded) = bounds(plan);
    let many = plan.rows() == Rows::Many;
    let options = QueryOptions { many, limit, value_bytes_max, age_bounded, tables: None, groups };
    let loader = QueryLoader::new(postgres, sql, form.clone(), options)
        .await
        .map_err(|why| CatalogError::InPostgres { class: plan.name().clone(), why: Box::new(why) })?;
    Ok(PostgresClass { form, whole: loader.whole(), loader: ClassLoader::Query(loader) })
}

/// Time limit, largest value, and whether the class is bounded by age.
fn bounds(plan: &ClassPlan) -> (std::time::Duration, usize, bool) {
    match plan {
        ClassPlan::Cacheable(plan) => {
            (plan.hard_timeout, load_bytes_max(plan, LOAD_BYTES_MAX), !plan.is_provable())
        }
        // Read anew each time, so it matters to nobody whether the answer changes without a change of the tables.
        ClassPlan::Decision(plan) => (plan.hard_timeout, LOAD_BYTES_MAX, true),
    }
}

/// How values of a key part are compared that is no parameter: as the columns of its name, where all compare alike.
fn of_columns(tables: &[TableInfo], name: &str) -> ColumnForm {
    let mut forms = tables.iter().filter_map(|table| table.column(name)).map(|column| column.form);
    match forms.next() {
        Some(first) if forms.all(|other| other == first) => first,
        _ => UNTYPED,
    }
}
