//! A declared SELECT as a class.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rusqlite::{Connection, Statement};
use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::{Key, KeyBody, KeyBodyForm, KeyForm, OwnedSqlValue},
    source::{LoadError, Loaded, LoadedMany, Loader},
};

use super::{
    canonical::Bound,
    depend::Dependencies,
    error::SqliteError,
    handle::Sqlite,
    json::Columns,
    load::{Fault, LoadNow, dispatch, only},
    names::same_name,
    registry::GroupSpec,
    watched::{Found, Narrow, Watched},
};

/// How a declared query is loaded.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Several rows are expected, and make a JSON array; else one row makes an object, and more than one is an error.
    pub many: bool,
    /// A load is interrupted after so long.
    pub limit: Duration,
    /// Largest value that a load brings, in bytes: a larger one is an error. It protects the process; what is too large to
    /// be kept is for the class to say.
    pub value_bytes_max: usize,
    /// The answer may change without a change of the tables; the class is bounded by age.
    pub age_bounded: bool,
    /// All tables that the query reads; leaving one out is an error. None: they are found.
    pub tables: Option<Vec<String>>,
    /// Installed groups that the answer depends on instead of a whole table, each by table. Their columns must be key parts
    /// or scope dimensions of the class by name.
    pub groups: BTreeMap<String, GroupSpec>,
}

/// Loads the answer of a SELECT with named parameters (`:id`), each a key part or scope dimension.
#[derive(Clone)]
pub struct QueryLoader {
    inner: Arc<Inner>,
}

struct Inner {
    watched: Watched,
    sql: String,
    form: KeyForm,
    options: QueryOptions,
    dependencies: Dependencies,
}

impl QueryLoader {
    /// A loader of the answers of `sql`, whose dependencies are found here and watched from then on.
    ///
    /// # Errors
    /// [`SqliteError::Query`] when it is not one SELECT, has a parameter that the key does not have, reads what is not
    /// followed, answers differently each time, or reads a table that the declaration leaves out.
    pub fn new(
        sqlite: &Sqlite,
        sql: &str,
        form: KeyForm,
        options: QueryOptions,
    ) -> Result<Self, SqliteError> {
        let watched = Watched::new(sqlite, options.age_bounded, options.tables.clone());
        let compiled = watched.read(options.limit, |conn| check(conn, sql, &form).map_err(Fault::Load));
        let found = match compiled {
            Ok((_, _, found)) => found,
            Err(LoadError::Refused(reason)) => {
                let text = reason.strip_prefix("the query ").unwrap_or(&reason).to_owned();
                return Err(SqliteError::Query { reason: text });
            }
            Err(error) => {
                return Err(SqliteError::Query { reason: format!("could not be checked: {error}") });
            }
        };
        check_groups(&form, &options, &found).map_err(|reason| SqliteError::Query { reason })?;
        let dependencies = found.dependencies.clone();
        Ok(Self { inner: Arc::new(Inner { watched, sql: sql.to_owned(), form, options, dependencies }) })
    }

    /// What the query was found to depend on.
    #[must_use]
    pub fn dependencies(&self) -> &Dependencies {
        &self.inner.dependencies
    }

    /// The form of the class's keys.
    #[must_use]
    pub fn key_form(&self) -> &KeyForm {
        &self.inner.form
    }

    /// Reads an answer on the connection of a transaction.
    pub(super) fn read_on(&self, conn: &Connection, key: &Key) -> Result<Option<Raw>, LoadError> {
        let (inner, shared) = (&*self.inner, &self.inner.watched.sqlite().shared);
        let read = || inner.answer(conn, &named_values(&inner.form, key)?);
        read().map_err(|fault: Fault| shared.load_error(fault, inner.options.limit))
    }
}

/// Compiles the query once, under the watch.
fn check(conn: &Connection, sql: &str, form: &KeyForm) -> Result<(), LoadError> {
    let refuse = |reason: String| Err(LoadError::Refused(reason.into()));
    let statement = match conn.prepare(sql) {
        Ok(statement) => statement,
        Err(rusqlite::Error::MultipleStatement) => {
            return refuse("has several statements; give one SELECT".into());
        }
        Err(error) => return refuse(format!("cannot be compiled: {error}")),
    };
    if !statement.readonly() || statement.column_count() == 0 || statement.is_explain() != 0 {
        return refuse("is not a SELECT".into());
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = statement.column_names().into_iter().find(|name| !names.insert(name.to_owned())) {
        return refuse(format!("has two columns called `{twice}`; name one of them with AS"));
    }
    for index in 1..=statement.parameter_count() {
        match statement.parameter_name(index) {
            None => return refuse("has a parameter without a name; write `:name` instead of `?`".into()),
            Some(name) if !has_part(form, &name[1..]) => {
                return refuse(format!(
                    "has parameter `{name}`, which is neither a key part nor a scope dimension of its class"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn has_part(form: &KeyForm, name: &str) -> bool {
    let in_body = match form.body() {
        KeyBodyForm::Columns(parts) => parts.iter().any(|part| part.name() == name),
        // What a form of free parameters takes is up to its own rules; an absent one is NULL.
        KeyBodyForm::Parameters(_) => true,
    };
    in_body || form.scope().iter().any(|dimension| dimension.name() == name)
}

fn check_groups(form: &KeyForm, options: &QueryOptions, found: &Found) -> Result<(), String> {
    for (table, group) in &options.groups {
        if !found.dependencies.tables.iter().any(|read| same_name(read, table)) {
            return Err(format!(
                "declares group `{}` of table `{table}`, which it does not read",
                group.name
            ));
        }
        if let Some(column) = group.columns.iter().find(|column| !has_part(form, column)) {
            return Err(format!(
                "declares group `{}` of table `{table}` by `{column}`, which is no key part",
                group.name
            ));
        }
        let installed = found
            .table(table)
            .and_then(|followed| followed.groups.iter().find(|known| known.name == group.name));
        match installed {
            None => {
                return Err(format!(
                    "declares group `{}` of table `{table}`, which is not installed; run `trueup init --apply` with it",
                    group.name
                ));
            }
            Some(installed) if installed.columns != group.columns => {
                return Err(format!(
                    "declares group `{}` of table `{table}` by other columns than installed; run `trueup init --apply` again",
                    group.name
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// A key's values by name, for binding.
fn named_values(form: &KeyForm, key: &Key) -> Result<Vec<(String, OwnedSqlValue)>, LoadError> {
    let values = form.values(key).map_err(|error| LoadError::Refused(error.to_string().into()))?;
    let mut named: Vec<(String, OwnedSqlValue)> =
        values.scope.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    match (values.body, form.body()) {
        (KeyBody::Columns(values), KeyBodyForm::Columns(parts)) => {
            named.extend(parts.iter().map(|part| part.name().to_owned()).zip(values));
        }
        (KeyBody::Parameters(pairs), _) => {
            named.extend(pairs.into_iter().map(|(name, value)| (name, OwnedSqlValue::Text(value))));
        }
        _ => {}
    }
    Ok(named)
}

impl Inner {
    fn answer(&self, conn: &Connection, named: &[(String, OwnedSqlValue)]) -> Result<Option<Raw>, Fault> {
        let mut statement = conn.prepare_cached(&self.sql)?;
        bind(&mut statement, named)?;
        let columns = Columns::new(statement.column_names());
        let (many, limit) = (self.options.many, self.options.value_bytes_max);
        let mut out = Vec::with_capacity(256);
        let mut count = 0;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if count == 1 && !many {
                let why = "returned several rows; declare `rows = \"many\"`, or add LIMIT 1";
                return Err(LoadError::Refused(why.into()).into());
            }
            if many {
                out.push(if count == 0 { b'[' } else { b',' });
            }
            columns.write_row(row, &mut out)?;
            count += 1;
            if out.len() > limit {
                return Err(LoadError::TooLarge { bytes: out.len(), limit }.into());
            }
        }
        match (count, many) {
            (0, true) => out.extend_from_slice(b"[]"),
            (0, false) => return Ok(None),
            (_, true) => out.push(b']'),
            (_, false) => {}
        }
        Ok(Some(Raw(Bytes::from(out))))
    }

    /// The groups that an answer depends on, with their values from the key.
    fn narrow(&self, named: &[(String, OwnedSqlValue)]) -> BTreeMap<String, Narrow> {
        let of_group = |group: &GroupSpec| {
            let value = |column: &String| {
                named.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone())
            };
            Narrow::Group {
                name: group.name.clone(),
                values: group
                    .columns
                    .iter()
                    .map(|column| value(column).unwrap_or(OwnedSqlValue::Null))
                    .collect(),
            }
        };
        self.options.groups.iter().map(|(table, group)| (table.clone(), of_group(group))).collect()
    }
}

fn bind(statement: &mut Statement<'_>, named: &[(String, OwnedSqlValue)]) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let value = statement.parameter_name(index).and_then(|name| {
            let name = &name[1..];
            named.iter().find(|(known, _)| known == name).map(|(_, value)| value)
        });
        statement.raw_bind_parameter(index, Bound(value.unwrap_or(&OwnedSqlValue::Null)))?;
    }
    Ok(())
}

impl LoadNow<Key, Raw> for Inner {
    fn load_now(&self, keys: &[Key]) -> Result<LoadedMany<Raw>, LoadError> {
        let named = keys.iter().map(|key| named_values(&self.form, key)).collect::<Result<Vec<_>, _>>()?;
        let (values, seen, found) = self.watched.read(self.options.limit, |conn| {
            named.iter().map(|named| self.answer(conn, named)).collect::<Result<Vec<_>, Fault>>()
        })?;
        let tags =
            named.iter().map(|named| found.tags(&self.narrow(named))).collect::<Result<Vec<_>, _>>()?;
        Ok(LoadedMany { values: values.into_iter().zip(tags).collect(), seen })
    }
}

impl Loader<Key, Raw> for QueryLoader {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        let mode = self.inner.watched.sqlite().options().load_mode;
        let many = dispatch(mode, &self.inner, std::slice::from_ref(key));
        Box::pin(async move { only(many.await?) })
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        dispatch(self.inner.watched.sqlite().options().load_mode, &self.inner, keys)
    }
}

impl std::fmt::Debug for QueryLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryLoader").field("dependencies", &self.inner.dependencies).finish_non_exhaustive()
    }
}
