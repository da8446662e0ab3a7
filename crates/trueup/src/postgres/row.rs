//! One row by its primary key: what is served without any configuration.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use deadpool_postgres::Object;
use parking_lot::Mutex;
use tokio_postgres::Row;
use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::{Key, KeyBody, KeyForm, OwnedSqlValue},
    proof::{Tag, Tags},
    source::{Catalogue, KeySet, LoadError, Loaded, LoadedMany, Loader, Outcome, RowWriter},
};

use super::{
    canonical::{KeyColumn, canonical_key},
    digest::Uses,
    discover::{TableInfo, discover_table, find_table},
    error::PostgresError,
    handle::{Postgres, Shared},
    keys::{Pages, key_set},
    load::{
        Reads, Request, VALUE, as_json, bytes_of_rows, each_as_json, elements, one_as_json, present_as_json,
        run, value,
    },
    names::{identifier, qualified},
    put::Target,
    registry::Registry,
    replica::{Replica, STANDBY_SAW, STANDBY_SAW_COLUMNS, STANDBY_VALUE},
    value::AsText,
    watch::Watcher,
};
use crate::noted::{After, LoadAfter};

/// How the rows of a table are loaded.
#[derive(Clone, Debug)]
pub struct RowOptions {
    /// Columns that are left out of the value.
    pub leave_out: Vec<String>,
    /// A load is ended after so long.
    pub limit: Duration,
    /// Largest value that a load brings, in bytes: a larger one is an error. It protects the process; what is too large to
    /// be kept is for the class to say.
    pub value_bytes_max: usize,
    /// The class is bounded by age, so that row security, which decides by who asks, may be in force.
    pub age_bounded: bool,
}

/// Loads rows of one table by primary key, as the JSON objects that `to_jsonb` makes of them.
#[derive(Clone)]
pub struct RowLoader {
    inner: Arc<Inner>,
}

struct Inner {
    postgres: Postgres,
    /// As it was asked for.
    name: String,
    form: KeyForm,
    options: RowOptions,
    catalogue: Arc<Catalogue>,
    uses: Mutex<Uses>,
    oid: Mutex<Option<u32>>,
    shape: ArcSwap<Result<Shape, String>>,
    absences: Absences,
}

/// Whether rows have been found absent lately.
#[derive(Debug, Default)]
struct Absences(AtomicU32);

impl Absences {
    /// So many loads ask for a row or its absence after one that was absent. To ask for the row alone costs the server a tenth less, but
    /// where there is none a second time has to be asked: of so many loads one does that at most.
    const EXPECTED: u32 = 64;

    /// Whether a load is to expect that its row is absent.
    fn expected(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            // Of loads at the same time some are not counted: none is worse off.
            self.0.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn found(&self) {
        self.0.store(Self::EXPECTED, Ordering::Relaxed);
    }
}

/// What a load needs to know of the table, while it has one shape.
#[derive(Debug)]
struct Shape {
    /// Name as it stands in tags.
    table: String,
    /// Reads a row; where there is none, nothing.
    present: String,
    /// Reads a row or its absence.
    one: String,
    many: String,
    locked: String,
    on_standby: String,
    key: Vec<KeyColumn>,
    wide: Tag,
    /// How all keys are read, or why they cannot be.
    pages: Result<Pages, &'static str>,
    /// How rows are written.
    target: Arc<Target>,
}

impl RowLoader {
    /// A loader of rows of `table`: `schema.table`, or a bare name that `search_path` finds.
    ///
    /// # Errors
    /// [`PostgresError::Table`] when there is no such table, it has no primary key, or its changes are not told; the message
    /// says what to do.
    pub async fn new(postgres: &Postgres, table: &str, options: RowOptions) -> Result<Self, PostgresError> {
        let refuse = |reason: String| PostgresError::Table { table: table.to_owned(), reason };
        let found = discover_table(postgres, table).await?;
        let found = found.ok_or_else(|| refuse("there is no such table; check the name".to_owned()))?;
        let form = found.key_form()?;
        let inner = Arc::new(Inner {
            postgres: postgres.clone(),
            name: table.to_owned(),
            form,
            options,
            catalogue: Arc::default(),
            uses: Mutex::default(),
            oid: Mutex::new(Some(found.oid)),
            shape: ArcSwap::from_pointee(Err("the table was not looked at yet".to_owned())),
            absences: Absences::default(),
        });
        postgres.shared.open(Arc::clone(&inner) as Arc<dyn Watcher>).await?;
        if let Err(reason) = &**inner.shape.load() {
            return Err(refuse(reason.clone()));
        }
        Ok(Self { inner })
    }

    /// The form of the class's keys: the primary key's columns.
    #[must_use]
    pub fn key_form(&self) -> &KeyForm {
        &self.inner.form
    }

    /// What every value depends on: the table as a whole.
    #[must_use]
    pub fn whole(&self) -> Tags {
        match &**self.inner.shape.load() {
            Ok(shape) if shape.has_row_tag() => Tags::from_slice(&[shape.wide]),
            Ok(shape) => Tags::from_slice(&[Tag::any(&shape.table)]),
            Err(_) => Tags::new(),
        }
    }

    /// The statement that reads a row and locks it, and its parameters.
    pub(super) fn locked(&self, key: &Key) -> Result<(String, Vec<AsText>), LoadError> {
        let values = self.inner.values(key)?;
        let shape = self.inner.shape.load();
        let shape = self.inner.ready(&shape)?;
        Ok((shape.locked.clone(), values.iter().map(AsText::of).collect()))
    }

    pub(super) fn value_bytes_max(&self) -> usize {
        self.inner.options.value_bytes_max
    }
}

impl RowLoader {
    pub(super) fn postgres(&self) -> &Postgres {
        &self.inner.postgres
    }

    /// How rows are written, and the values of `key`.
    pub(super) fn target(&self, key: &Key) -> Result<(Arc<Target>, Vec<OwnedSqlValue>), LoadError> {
        let shape = self.inner.shape.load();
        Ok((Arc::clone(&self.inner.ready(&shape)?.target), self.inner.values(key)?))
    }
}

impl Inner {
    /// Loads a row on a connection whose last statement before is a COMMIT.
    async fn load_behind(&self, client: &Object, key: &Key) -> Result<Loaded<Raw>, LoadError> {
        let values = self.values(key)?;
        let params: Vec<AsText> = values.iter().map(AsText::of).collect();
        let shape = self.shape.load();
        let (limit, bytes_max) = (self.options.limit, bytes_of_rows(self.options.value_bytes_max, 1));
        let shape = self.ready(&shape)?;
        let request = Request { sql: &shape.one, params: &params, limit, bytes_max };
        let rows = run(client, &request, self.postgres.shared.at("loading what was committed")).await?;
        self.loaded(&rows, shape.tags(&values))
    }
}

impl LoadAfter for RowLoader {
    fn load_after<'a>(
        &'a self,
        after: After<'a>,
        key: &'a Key,
        outcome: Outcome,
    ) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async move {
            match after {
                After::Postgres(client) => self.inner.load_behind(client, key).await,
                #[cfg(feature = "sqlite")]
                After::Sqlite if outcome.committed().await => self.load(key).await,
                #[cfg(feature = "sqlite")]
                After::Sqlite => Err(LoadError::Lost),
            }
        })
    }
}

impl Shape {
    fn of(
        table: &TableInfo,
        registry: &Registry,
        form: &KeyForm,
        options: &RowOptions,
    ) -> Result<Self, String> {
        if let Some(reason) = &table.unservable {
            return Err(reason.clone());
        }
        if let Some(reason) = registry.untold(table) {
            return Err(reason);
        }
        if table.row_security && !options.age_bounded {
            return Err(
                "row security decides who sees which of its rows, and changes answers without a change of a row; give the \
                 class a life and declare it age-bounded"
                    .to_owned(),
            );
        }
        if table.key_form().map_err(|error| error.to_string())? != *form {
            return Err("its primary key was altered; restart to serve it by the new one".to_owned());
        }
        let left_out: BTreeSet<&str> = options.leave_out.iter().map(String::as_str).collect();
        let columns = table.columns.iter().filter(|column| !left_out.contains(column.name.as_str()));
        let names: Vec<String> = columns.map(|column| column.name.clone()).collect();
        let columns: Vec<String> = names.iter().map(|name| identifier(name)).collect();
        // The alias keeps a column from being taken for something of ours.
        let from =
            format!("SELECT {} FROM {} r WHERE", columns.join(", "), qualified(&table.schema, &table.table));
        let compare = |parameter: &dyn Fn(usize, &KeyColumn) -> String| {
            let each = table.key.iter().enumerate();
            let each =
                each.map(|(i, column)| format!("r.{} = {}", identifier(&column.name), parameter(i, column)));
            each.collect::<Vec<_>>().join(" AND ")
        };
        let by_parameter = compare(&|i, column| format!("${}::{}", i + 1, column.parameter));
        let by_element = compare(&|i, _| format!("k.k{i}"));
        let bytes_max = options.value_bytes_max;
        let places: Vec<String> = (0..table.key.len()).map(|i| format!("k{i}")).collect();
        let keys = format!(
            "{} WITH ORDINALITY k ({}, place)",
            elements(table.key.iter().map(|column| &*column.parameter)),
            places.join(", ")
        );
        Ok(Self {
            table: table.name.clone(),
            present: present_as_json(&format!("{from} {by_parameter}"), bytes_max),
            one: one_as_json(&format!("{from} {by_parameter}"), bytes_max),
            many: each_as_json(&format!("{from} {by_element}"), &keys, "k.place", bytes_max),
            locked: as_json(&format!("{from} {by_parameter} FOR UPDATE"), bytes_max, None),
            on_standby: format!(
                "SELECT {STANDBY_SAW_COLUMNS}, q.value FROM {STANDBY_SAW} LEFT JOIN LATERAL ({}) q ON true",
                as_json(&format!("{from} {by_parameter}"), bytes_max, None)
            ),
            key: table.key.clone(),
            wide: Tag::wide(&table.name),
            pages: Pages::of(table),
            target: Arc::new(Target::of(table, names)),
        })
    }

    fn has_row_tag(&self) -> bool {
        self.key.iter().all(|column| column.form.has_row_tag())
    }

    fn tags(&self, values: &[OwnedSqlValue]) -> Tags {
        let part = |(column, value): (&KeyColumn, &OwnedSqlValue)| canonical_key(&column.form, value);
        match self.key.iter().zip(values).map(part).collect::<Option<Vec<String>>>() {
            Some(parts) => {
                Tags::from_slice(&[Tag::row(&self.table, parts.iter().map(String::as_str)), self.wide])
            }
            // A key type without a canonical text: the row depends on the whole table.
            None => Tags::from_slice(&[Tag::any(&self.table), self.wide]),
        }
    }
}

impl Inner {
    fn ready<'s>(&self, shape: &'s Result<Shape, String>) -> Result<&'s Shape, LoadError> {
        let refused = |reason: &String| LoadError::Refused(format!("table `{}`: {reason}", self.name).into());
        shape.as_ref().map_err(refused)
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

    /// Runs a statement of the present shape for `keys` rows; once more when the table was altered in between. What else the
    /// shape tells of the rows is made `meanwhile`: the server takes its time anyway.
    async fn rows<M>(
        &self,
        sql: impl Fn(&Shape) -> &str,
        params: &[AsText],
        keys: usize,
        meanwhile: impl Fn(&Shape) -> M,
    ) -> Result<(Vec<Row>, M), LoadError> {
        let shared = &self.postgres.shared;
        let bytes_max = bytes_of_rows(self.options.value_bytes_max, keys);
        for attempt in 0..2 {
            let shape = self.shape.load();
            let shape = self.ready(&shape)?;
            let request = Request { sql: sql(shape), params, limit: self.options.limit, bytes_max };
            // In this order: the statement is under way before anything else is made.
            let (rows, made) =
                tokio::join!(biased; shared.rows(&request, Reads::Statement), async { meanwhile(shape) });
            match rows {
                Ok(rows) => return Ok((rows, made)),
                // A column or the table is not there, or the key has another type.
                Err(error) if attempt == 0 && error.code().is_some_and(|code| code.starts_with("42")) => {
                    Box::pin(shared.reread()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LoadError::Unavailable(format!("table `{}` is altered all the time", self.name).into()))
    }

    async fn load_one(&self, key: &Key) -> Result<Loaded<Raw>, LoadError> {
        let values = self.values(key)?;
        let params: Vec<AsText> = values.iter().map(AsText::of).collect();
        let tags = |shape: &Shape| shape.tags(&values);
        if !self.absences.expected() {
            let (rows, tags) = self.rows(|shape| &shape.present, &params, 1, tags).await?;
            if !rows.is_empty() {
                return self.loaded(&rows, tags);
            }
        }
        let (rows, tags) = self.rows(|shape| &shape.one, &params, 1, tags).await?;
        let loaded = self.loaded(&rows, tags)?;
        if loaded.value.is_none() {
            self.absences.found();
        }
        Ok(loaded)
    }

    fn loaded(&self, rows: &[Row], tags: Tags) -> Result<Loaded<Raw>, LoadError> {
        let seen = self.postgres.shared.seen(rows)?;
        let row = rows.first().ok_or(LoadError::Lost)?;
        let value = value(row, VALUE, self.options.value_bytes_max)?;
        Ok(Loaded { value, tags, seen })
    }

    async fn load_on_standby(&self, replica: &Replica, key: &Key) -> Result<Loaded<Raw>, LoadError> {
        let values = self.values(key)?;
        let params: Vec<AsText> = values.iter().map(AsText::of).collect();
        let shape = self.shape.load();
        let shape = self.ready(&shape)?;
        let bytes_max = bytes_of_rows(self.options.value_bytes_max, 1);
        let limit = self.options.limit;
        let request = Request { sql: &shape.on_standby, params: &params, limit, bytes_max };
        let (rows, seen) = self.postgres.shared.rows_on_standby(replica, &request).await?;
        let row = rows.first().ok_or(LoadError::Lost)?;
        let value = value(row, STANDBY_VALUE, self.options.value_bytes_max)?;
        Ok(Loaded { value, tags: shape.tags(&values), seen })
    }

    async fn load_all(&self, keys: &[Key]) -> Result<LoadedMany<Raw>, LoadError> {
        let values = keys.iter().map(|key| self.values(key)).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<Vec<AsText>> =
            values.iter().map(|values| values.iter().map(AsText::of).collect()).collect();
        let Some(width) = values.first().map(Vec::len) else {
            return Ok(LoadedMany {
                values: Vec::new(),
                seen: self.postgres.shared.now(self.options.limit).await?,
            });
        };
        let column = |i: usize| AsText::array(texts.iter().filter_map(move |texts| texts.get(i)));
        let params: Vec<AsText> = (0..width).map(column).collect();
        let absent = |shape: &Shape| values.iter().map(|values| (None, shape.tags(values))).collect();
        let (rows, mut loaded): (_, Vec<(Option<Raw>, Tags)>) =
            self.rows(|shape| &shape.many, &params, keys.len(), absent).await?;
        let seen = self.postgres.shared.seen(&rows)?;
        for row in &rows {
            let place: i64 = row.try_get(VALUE + 1).map_err(|_| LoadError::Lost)?;
            let slot =
                usize::try_from(place - 1).ok().and_then(|i| loaded.get_mut(i)).ok_or(LoadError::Lost)?;
            slot.0 = value(row, VALUE, self.options.value_bytes_max)?;
        }
        Ok(LoadedMany { values: loaded, seen })
    }
}

impl Watcher for Inner {
    fn look<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<Uses, PostgresError>> {
        Box::pin(async move {
            let at = shared.at("looking at a table");
            let client = shared.asker(at).await?;
            let oid = find_table(&client, &self.name).await.map_err(|e| at.error(&e))?;
            *self.oid.lock() = oid;
            let mut uses = Uses::default();
            uses.relations.extend(oid);
            if let Some(oid) = oid {
                let tables = super::discover::read_tables(&client, Some(&[oid])).await;
                for table in tables.map_err(|e| at.error(&e))? {
                    uses.relations.extend(table.ancestors.iter().chain(&table.descendants));
                }
            }
            *self.uses.lock() = uses.clone();
            Ok(uses)
        })
    }

    fn uses(&self) -> Uses {
        self.uses.lock().clone()
    }

    fn adopt(&self, registry: &Arc<Registry>) {
        let oid = *self.oid.lock();
        let shape = match oid.and_then(|oid| registry.tables.get(&oid)) {
            Some(table) => Shape::of(table, registry, &self.form, &self.options),
            None => Err("the table is gone".to_owned()),
        };
        self.shape.store(Arc::new(shape));
    }

    fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }
}

impl Loader<Key, Raw> for RowLoader {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(self.inner.load_one(key))
    }

    fn load_on_standby<'a>(&'a self, key: &'a Key) -> Option<BoxFuture<'a, Result<Loaded<Raw>, LoadError>>> {
        let replica = self.inner.postgres.shared.replica()?;
        Some(Box::pin(self.inner.load_on_standby(replica, key)))
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(self.inner.load_all(keys))
    }

    /// As many as there are connections; each goes alone where there are standbys, which share the loads.
    fn statements_at_once(&self) -> Option<NonZeroUsize> {
        let shared = &self.inner.postgres.shared;
        NonZeroUsize::new(shared.options.readers_max).filter(|_| shared.replicas.is_empty())
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.inner.catalogue)
    }

    fn writer(&self) -> Result<&dyn RowWriter<Raw>, Cow<'static, str>> {
        Ok(self)
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<Key>>, Cow<'static, str>> {
        let inner = &self.inner;
        let shape = inner.shape.load();
        let shape = inner.ready(&shape).map_err(|error| error.to_string())?;
        Ok(key_set(&inner.postgres, &inner.form, shape.pages.clone(), inner.options.limit)?)
    }
}

impl std::fmt::Debug for RowLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowLoader").field("table", &self.inner.name).finish_non_exhaustive()
    }
}
