//! One row by its primary key: what is served without any configuration.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, params_from_iter};
use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::{Key, KeyBody, KeyForm, OwnedSqlValue, Part},
    proof::{Tag, Tags},
    source::{KeySet, LoadError, Loaded, LoadedMany, Loader, RowWriter},
};

use super::{
    canonical::{Bound, KeyColumn, canonical},
    connection::schema_version,
    discover::TableInfo,
    error::SqliteError,
    handle::Sqlite,
    json::Columns,
    keys::{Pages, SharedKeys, TableKeys},
    load::{Fault, LoadNow, dispatch},
    names::{identifier, same_name},
    put::Target,
    state::State,
};

/// How the rows of a table are loaded.
#[derive(Clone, Debug)]
pub struct RowOptions {
    /// Columns that are left out of the value; names compare without case.
    pub leave_out: Vec<String>,
    /// A load is interrupted after so long.
    pub limit: Duration,
    /// Largest value that a load brings, in bytes: a larger one is an error. It protects the process; what is too large to
    /// be kept is for the class to say.
    pub value_bytes_max: usize,
}

/// Loads rows of one table by primary key, as JSON objects with the columns in the order of the table.
#[derive(Clone, Debug)]
pub struct RowLoader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sqlite: Sqlite,
    table: String,
    form: KeyForm,
    options: RowOptions,
    shape: Mutex<Arc<Shape>>,
}

/// What a load needs to know of the table, while the schema has one version.
#[derive(Debug)]
struct Shape {
    schema_version: i64,
    /// Name as it stands in tags.
    table: String,
    sql: String,
    key: Vec<KeyColumn>,
    columns: Columns,
    wide: Tag,
    /// How all keys are read; none where they cannot be.
    pages: Option<Pages>,
    /// How rows are written.
    target: Arc<Target>,
}

impl RowLoader {
    /// A loader of rows of `table`.
    ///
    /// # Errors
    /// [`SqliteError::Table`] when there is no such table, it has no primary key, its changes are not followed, or its
    /// triggers are outdated; the message says what to do.
    pub fn new(sqlite: &Sqlite, table: &str, options: RowOptions) -> Result<Self, SqliteError> {
        let conn = sqlite.shared.readers.lease(None)?;
        let at = sqlite.shared.at("looking at a table");
        let tx = conn.unchecked_transaction().map_err(|e| at.error(e))?;
        let state = State::read(&tx).map_err(|e| at.error(e))?;
        let shape = Shape::read(sqlite, &tx, state.schema_version, table, &options)?;
        drop(tx);
        drop(conn);
        let form =
            key_form(&shape.key).map_err(|reason| SqliteError::Table { table: table.to_owned(), reason })?;
        let inner = Inner {
            sqlite: sqlite.clone(),
            table: shape.table.clone(),
            form,
            options,
            shape: Mutex::new(Arc::new(shape)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The form of the class's keys: the primary key's columns.
    #[must_use]
    pub fn key_form(&self) -> &KeyForm {
        &self.inner.form
    }

    /// Reads a row on the connection of a transaction.
    pub(super) fn read_on(&self, conn: &Connection, key: &Key) -> Result<Option<Raw>, LoadError> {
        let (inner, shared) = (&*self.inner, &self.inner.sqlite.shared);
        let read = || -> Result<_, Fault> {
            let shape = inner.shape(conn, schema_version(conn)?)?;
            shape.load(conn, &inner.values(key)?, inner.options.value_bytes_max)
        };
        read().map_err(|fault| shared.load_error(fault, inner.options.limit))
    }
}

impl RowLoader {
    pub(super) fn sqlite(&self) -> &Sqlite {
        &self.inner.sqlite
    }

    /// How rows are written, by the shape that the table had when it was last looked at.
    pub(super) fn last_target(&self) -> Arc<Target> {
        Arc::clone(&self.inner.shape.lock().target)
    }

    /// How rows are written, as `conn` sees the table in its transaction.
    pub(super) fn target_on(&self, conn: &Connection) -> Result<Arc<Target>, LoadError> {
        let (inner, shared) = (&*self.inner, &self.inner.sqlite.shared);
        let read = || -> Result<_, Fault> { Ok(inner.shape(conn, schema_version(conn)?)?) };
        let shape = read().map_err(|fault| shared.load_error(fault, inner.options.limit))?;
        Ok(Arc::clone(&shape.target))
    }

    /// The values of a key.
    pub(super) fn values(&self, key: &Key) -> Result<Vec<OwnedSqlValue>, LoadError> {
        self.inner.values(key)
    }
}

/// The form of keys over these columns.
fn key_form(key: &[KeyColumn]) -> Result<KeyForm, String> {
    let form = KeyForm::columns(key.iter().map(|column| Part::new(&*column.name, column.form)));
    form.or_else(|_| {
        // Part names stand in messages alone; a column may be called anything.
        KeyForm::columns(key.iter().enumerate().map(|(i, column)| Part::new(format!("key{i}"), column.form)))
    })
    .map_err(|error| error.to_string())
}

impl TableInfo {
    /// The form of keys that name a row of this table.
    ///
    /// # Errors
    /// Why rows of this table cannot be named, and what to do.
    pub fn key_form(&self) -> Result<KeyForm, SqliteError> {
        let refuse = |reason| SqliteError::Table { table: self.name.clone(), reason };
        match &self.unservable {
            Some(reason) => Err(refuse(reason.clone())),
            None => key_form(&self.key).map_err(refuse),
        }
    }
}

impl Shape {
    fn read(
        sqlite: &Sqlite,
        conn: &Connection,
        schema_version: i64,
        table: &str,
        options: &RowOptions,
    ) -> Result<Self, SqliteError> {
        let at = sqlite.shared.at("looking at a table");
        let registry = sqlite.shared.registry(conn, schema_version).map_err(|e| at.error(e))?;
        let refuse = |reason: String| SqliteError::Table { table: table.to_owned(), reason };
        let Some(followed) = registry.table(table) else {
            let found = super::discover::discover_table(conn, table).map_err(|e| at.error(e))?;
            return Err(refuse(match found {
                None => "there is no such table; check the name".into(),
                Some(info) => match info.unfollowable {
                    Some(reason) => reason.into(),
                    None => "its changes are not followed; run `trueup init --apply`".into(),
                },
            }));
        };
        if let Some(reason) = &followed.outdated {
            return Err(refuse(format!("{reason}; run `trueup init --apply` again")));
        }
        let Some(info) = &followed.table else { return Err(refuse("the table is gone".into())) };
        if let Some(reason) = &info.unservable {
            return Err(refuse(reason.clone()));
        }
        let is_left_out = |name: &str| options.leave_out.iter().any(|left_out| same_name(left_out, name));
        let names: Vec<&str> = info
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !is_left_out(name))
            .collect();
        let list = if names.is_empty() {
            "1".to_owned()
        } else {
            names.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ")
        };
        let by_key: Vec<String> = info
            .key
            .iter()
            .enumerate()
            .map(|(i, key)| format!("{} = ?{}", identifier(&key.name), i + 1))
            .collect();
        Ok(Self {
            schema_version,
            table: followed.name.clone(),
            sql: format!("SELECT {list} FROM {} WHERE {}", identifier(&info.name), by_key.join(" AND ")),
            key: info.key.clone(),
            columns: Columns::new(names.iter().copied()),
            wide: Tag::wide(&followed.name),
            pages: Pages::of(info),
            target: Arc::new(Target::of(info, &names)),
        })
    }

    fn load(&self, conn: &Connection, values: &[OwnedSqlValue], limit: usize) -> Result<Option<Raw>, Fault> {
        let mut statement = conn.prepare_cached(&self.sql)?;
        let mut rows = statement.query(params_from_iter(values.iter().map(Bound)))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut out = Vec::with_capacity(128);
        self.columns.write_row(row, &mut out)?;
        if out.len() > limit {
            return Err(LoadError::TooLarge { bytes: out.len(), limit }.into());
        }
        Ok(Some(Raw(Bytes::from(out))))
    }

    fn tags(&self, values: &[OwnedSqlValue]) -> Tags {
        let parts: Option<Vec<String>> = self
            .key
            .iter()
            .zip(values)
            .map(|(column, value)| canonical(&column.form, value.as_value()))
            .collect();
        match parts {
            Some(parts) => {
                Tags::from_slice(&[Tag::row(&self.table, parts.iter().map(String::as_str)), self.wide])
            }
            // A value that the key's own form took out of the key always has a canonical text.
            None => Tags::from_slice(&[Tag::any(&self.table), self.wide]),
        }
    }
}

impl Inner {
    fn shape(&self, conn: &Connection, schema_version: i64) -> Result<Arc<Shape>, LoadError> {
        let known = Arc::clone(&self.shape.lock());
        if known.schema_version == schema_version {
            return Ok(known);
        }
        let shape = Arc::new(Shape::read(&self.sqlite, conn, schema_version, &self.table, &self.options)?);
        *self.shape.lock() = Arc::clone(&shape);
        Ok(shape)
    }

    fn values(&self, key: &Key) -> Result<Vec<OwnedSqlValue>, LoadError> {
        match self.form.values(key).map(|values| values.body) {
            Ok(KeyBody::Columns(values)) => Ok(values),
            Ok(KeyBody::Parameters(_)) => {
                Err(LoadError::Refused("the key names parameters, not a row".into()))
            }
            Err(error) => Err(LoadError::Refused(error.to_string().into())),
        }
    }
}

impl LoadNow<Key, Raw> for Inner {
    fn load_now(&self, keys: &[Key]) -> Result<LoadedMany<Raw>, LoadError> {
        let shared = &self.sqlite.shared;
        let (values, seen) = shared.read(&shared.readers, self.options.limit, |conn, state| {
            let shape = self.shape(conn, state.schema_version)?;
            let load = |key| {
                let values = self.values(key)?;
                let row = shape.load(conn, &values, self.options.value_bytes_max)?;
                Ok((row, shape.tags(&values)))
            };
            keys.iter().map(load).collect::<Result<Vec<_>, Fault>>()
        })?;
        Ok(LoadedMany { values, seen })
    }
}

impl Loader<Key, Raw> for RowLoader {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        let many = dispatch(self.inner.sqlite.options().load_mode, &self.inner, std::slice::from_ref(key));
        Box::pin(async move { super::load::only(many.await?) })
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        dispatch(self.inner.sqlite.options().load_mode, &self.inner, keys)
    }

    fn writer(&self) -> Result<&dyn RowWriter<Raw>, Cow<'static, str>> {
        Ok(self)
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<Key>>, Cow<'static, str>> {
        let inner = &self.inner;
        // Of the schema as it is now: after a change of the schema nothing else may have asked for a row yet.
        let present = || -> Result<Arc<Shape>, LoadError> {
            let shared = &inner.sqlite.shared;
            let read = |conn: &Connection, state: &State| Ok(inner.shape(conn, state.schema_version)?);
            shared.read(&shared.readers, inner.options.limit, read).map(|(shape, _)| shape)
        };
        let shape = present().map_err(|error| error.to_string())?;
        let pages = shape.pages.clone().ok_or("its columns hide every name of the table's rowid")?;
        Ok(Arc::new(SharedKeys(Arc::new(TableKeys {
            sqlite: inner.sqlite.clone(),
            schema_version: shape.schema_version,
            table: shape.table.clone(),
            form: inner.form.clone(),
            key: shape.key.clone(),
            pages,
            limit: inner.options.limit,
        }))))
    }
}
