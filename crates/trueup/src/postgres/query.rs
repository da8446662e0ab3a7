//! A declared SELECT as a class.

mod compile;
mod ready;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_postgres::Row;
use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::{ColumnForm, Key, KeyBody, KeyBodyForm, KeyForm, OwnedSqlValue},
    proof::{Tag, Tags},
    source::{Catalogue, LoadError, Loaded, LoadedMany, Loader},
};

use compile::compile;
use ready::{Reading, Ready};

use super::{
    canonical::form_of,
    depend::{Dependencies, Found},
    digest::Uses,
    error::PostgresError,
    handle::{Postgres, Shared},
    load::{Request, VALUE, bytes_of_rows, only, value},
    params::Template,
    registry::Registry,
    replica::{Replica, STANDBY_VALUE},
    value::AsText,
    watch::Watcher,
};
use crate::group::GroupSpec;

/// How a declared query is loaded.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Several rows are expected, and make a JSON array; else one row makes an object, and more than one is an error.
    pub many: bool,
    /// A load is ended after so long.
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
    postgres: Postgres,
    template: Template,
    form: KeyForm,
    options: QueryOptions,
    catalogue: Arc<Catalogue>,
    looked: Mutex<Looked>,
    ready: ArcSwap<Result<Ready, String>>,
}

/// What the last look found.
#[derive(Clone, Debug, Default)]
struct Looked {
    uses: Uses,
    /// What it reads and the types of its parameters; or what is wrong with it.
    found: Option<Result<(Found, Vec<String>), String>>,
}

impl QueryLoader {
    /// A loader of the answers of `sql`, whose dependencies are found here and looked at again whenever what it reads is
    /// altered.
    ///
    /// # Errors
    /// [`PostgresError::Query`] when it is not one SELECT, locks rows, has a parameter that the key does not have, reads what
    /// is not followed, answers differently each time, or reads a table that the declaration leaves out.
    pub async fn new(
        postgres: &Postgres,
        sql: &str,
        form: KeyForm,
        options: QueryOptions,
    ) -> Result<Self, PostgresError> {
        // What ends the statement would end it inside of ours.
        let template = Template::new(sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()));
        if let Some(name) = template.names().iter().find(|name| !has_part(&form, name)) {
            return Err(PostgresError::Query {
                reason: format!(
                    "has parameter `:{name}`, which is neither a key part nor a scope dimension of its class"
                ),
            });
        }
        let inner = Arc::new(Inner {
            postgres: postgres.clone(),
            template,
            form,
            options,
            catalogue: Arc::default(),
            looked: Mutex::default(),
            ready: ArcSwap::from_pointee(Err("was not looked at yet".to_owned())),
        });
        postgres.shared.open(Arc::clone(&inner) as Arc<dyn Watcher>).await?;
        if let Err(reason) = &**inner.ready.load() {
            return Err(PostgresError::Query { reason: reason.clone() });
        }
        Ok(Self { inner })
    }

    /// What the query was found to depend on.
    #[must_use]
    pub fn dependencies(&self) -> Dependencies {
        match &**self.inner.ready.load() {
            Ok(ready) => ready.dependencies.clone(),
            Err(_) => Dependencies::default(),
        }
    }

    /// What every answer depends on.
    #[must_use]
    pub fn whole(&self) -> Tags {
        let tag = |reading: &Reading| match reading.group {
            Some(_) => Tag::wide(&reading.table),
            None => Tag::any(&reading.table),
        };
        match &**self.inner.ready.load() {
            Ok(ready) => ready.reading.iter().map(tag).collect(),
            Err(_) => Tags::new(),
        }
    }

    /// The form of the class's keys.
    #[must_use]
    pub fn key_form(&self) -> &KeyForm {
        &self.inner.form
    }

    /// The statement that reads an answer and locks the rows it is made of, and its parameters.
    pub(super) fn locked(&self, key: &Key) -> Result<(String, Vec<AsText>), LoadError> {
        let params = self.inner.params(&named_values(&self.inner.form, key)?);
        let ready = self.inner.ready.load();
        Ok((self.inner.ready(&ready)?.locked.clone(), params))
    }

    pub(super) fn value_bytes_max(&self) -> usize {
        self.inner.options.value_bytes_max
    }

    /// One value of the rows that a statement brought.
    pub(super) fn answer(&self, rows: &[Row]) -> Result<Option<Raw>, LoadError> {
        self.inner.answer(rows.iter(), 0)
    }
}

/// How the values of the parameters of `sql` compare, by the types that PostgreSQL gives them; none for a query that it cannot
/// compile.
///
/// # Errors
/// [`PostgresError`] when the server does not answer.
pub async fn parameter_forms(
    postgres: &Postgres,
    sql: &str,
) -> Result<BTreeMap<String, ColumnForm>, PostgresError> {
    let at = postgres.shared.at("looking at a query");
    let client = postgres.shared.reader(at).await?;
    let template = Template::new(sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()));
    let statement = match client.prepare(&template.write(|place| format!("${}", place + 1))).await {
        Ok(statement) => statement,
        Err(error) if error.code().is_some() => return Ok(BTreeMap::new()),
        Err(error) => return Err(at.error(&error)),
    };
    // A parameter has no collation of its own: texts that are different are two keys, whatever they are compared with.
    let form = |kind: &tokio_postgres::types::Type| match kind.schema() {
        "pg_catalog" => form_of(kind.name(), true),
        _ => ColumnForm::Opaque,
    };
    Ok(template.names().iter().cloned().zip(statement.params().iter().map(form)).collect())
}

fn has_part(form: &KeyForm, name: &str) -> bool {
    let in_body = match form.body() {
        KeyBodyForm::Columns(parts) => parts.iter().any(|part| part.name() == name),
        // What a form of free parameters takes is up to its own rules; an absent one is NULL.
        KeyBodyForm::Parameters(_) => true,
    };
    in_body || form.scope().iter().any(|dimension| dimension.name() == name)
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
    fn ready<'r>(&self, ready: &'r Result<Ready, String>) -> Result<&'r Ready, LoadError> {
        ready.as_ref().map_err(|reason| LoadError::Refused(format!("the query {reason}").into()))
    }

    /// The values of the query's parameters, in the order of its names.
    fn params(&self, named: &[(String, OwnedSqlValue)]) -> Vec<AsText> {
        let value = |name: &String| named.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let names = self.template.names().iter();
        names.map(|name| AsText::of(value(name).unwrap_or(&OwnedSqlValue::Null))).collect()
    }

    /// One value of rows that have it in the column `column`.
    fn answer<'r>(
        &self,
        rows: impl Iterator<Item = &'r Row>,
        column: usize,
    ) -> Result<Option<Raw>, LoadError> {
        let (many, limit) = (self.options.many, self.options.value_bytes_max);
        let mut out = Vec::new();
        let mut count = 0;
        for row in rows {
            let Some(Raw(text)) = value(row, column, limit)? else { continue };
            if count == 1 && !many {
                let why = "returned several rows; declare `rows = \"many\"`, or add LIMIT 1";
                return Err(LoadError::Refused(why.into()));
            }
            if !many {
                out = text.to_vec();
            } else {
                out.extend_from_slice(if count == 0 { b"[" } else { b", " });
                out.extend_from_slice(&text);
            }
            count += 1;
            if out.len() > limit {
                return Err(LoadError::TooLarge { bytes: out.len(), limit });
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

    async fn load_one(&self, key: &Key) -> Result<LoadedMany<Raw>, LoadError> {
        let named = named_values(&self.form, key)?;
        let params = self.params(&named);
        let ready = self.ready.load();
        let ready = self.ready(&ready)?;
        let rows = self.rows(ready, &ready.one, &params, 1).await?;
        let seen = self.postgres.shared.seen(&rows)?;
        let answer = self.answer(rows.iter(), VALUE)?;
        Ok(LoadedMany { values: vec![(answer, ready.tags(&named)?)], seen })
    }

    async fn load_on_standby(&self, replica: &Replica, key: &Key) -> Result<Loaded<Raw>, LoadError> {
        let named = named_values(&self.form, key)?;
        let params = self.params(&named);
        let ready = self.ready.load();
        let ready = self.ready(&ready)?;
        let bytes_max = bytes_of_rows(self.options.value_bytes_max, 1);
        let limit = self.options.limit;
        let request = Request { sql: &ready.on_standby, params: &params, limit, bytes_max };
        let (rows, seen) = self.postgres.shared.rows_on_standby(replica, &request).await?;
        let value = self.answer(rows.iter(), STANDBY_VALUE)?;
        Ok(Loaded { value, tags: ready.tags(&named)?, seen })
    }

    async fn load_all(&self, keys: &[Key]) -> Result<LoadedMany<Raw>, LoadError> {
        if keys.is_empty() {
            let seen = self.postgres.shared.now(self.options.limit).await?;
            return Ok(LoadedMany { values: Vec::new(), seen });
        }
        let named = keys.iter().map(|key| named_values(&self.form, key)).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<Vec<AsText>> = named.iter().map(|named| self.params(named)).collect();
        let absent = AsText(None);
        // A query without parameters is run for each key all the same.
        let width = self.template.names().len().max(1);
        let column = |i: usize| AsText::array(texts.iter().map(|texts| texts.get(i).unwrap_or(&absent)));
        let params: Vec<AsText> = (0..width).map(column).collect();
        let ready = self.ready.load();
        let ready = self.ready(&ready)?;
        let rows = self.rows(ready, &ready.many, &params, keys.len()).await?;
        let seen = self.postgres.shared.seen(&rows)?;
        let mut of_key: Vec<Vec<&Row>> = vec![Vec::new(); keys.len()];
        for row in &rows {
            let place: i64 = row.try_get(VALUE + 1).map_err(|_| LoadError::Lost)?;
            let slot =
                usize::try_from(place - 1).ok().and_then(|i| of_key.get_mut(i)).ok_or(LoadError::Lost)?;
            slot.push(row);
        }
        let value = |(named, rows): (&Vec<_>, Vec<&Row>)| {
            Ok((self.answer(rows.into_iter(), VALUE)?, ready.tags(named)?))
        };
        let values = named.iter().zip(of_key).map(value).collect::<Result<Vec<_>, LoadError>>()?;
        Ok(LoadedMany { values, seen })
    }

    async fn rows(
        &self,
        ready: &Ready,
        sql: &str,
        params: &[AsText],
        keys: usize,
    ) -> Result<Vec<Row>, LoadError> {
        let bytes_max = bytes_of_rows(self.options.value_bytes_max, keys);
        let request = Request { sql, params, limit: self.options.limit, bytes_max };
        Ok(self.postgres.shared.rows(&request, ready.reads).await?)
    }
}

impl Watcher for Inner {
    fn look<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<Uses, PostgresError>> {
        Box::pin(async move {
            let at = shared.at("looking at a query");
            let client = shared.writer(at).await?;
            let compiled = compile(&client, &self.template).await.map_err(|e| at.error(&e))?;
            let mut looked = self.looked.lock();
            // What cannot be compiled is looked at again when what it read before moves.
            if let Ok((found, _)) = &compiled {
                looked.uses = found.uses.clone();
            }
            looked.found = Some(compiled);
            Ok(looked.uses.clone())
        })
    }

    fn uses(&self) -> Uses {
        self.looked.lock().uses.clone()
    }

    fn adopt(&self, registry: &Arc<Registry>) {
        let looked = self.looked.lock().clone();
        let ready = match &looked.found {
            Some(Ok((found, types))) => Ready::new(self, found, types, registry),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("was not looked at yet".to_owned()),
        };
        self.ready.store(Arc::new(ready));
    }

    fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }
}

impl Loader<Key, Raw> for QueryLoader {
    fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async move { only(self.inner.load_one(key).await?) })
    }

    fn load_on_standby<'a>(&'a self, key: &'a Key) -> Option<BoxFuture<'a, Result<Loaded<Raw>, LoadError>>> {
        let replica = self.inner.postgres.shared.replica()?;
        Some(Box::pin(self.inner.load_on_standby(replica, key)))
    }

    fn load_many<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(self.inner.load_all(keys))
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.inner.catalogue)
    }
}

impl std::fmt::Debug for QueryLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryLoader").field("dependencies", &self.dependencies()).finish_non_exhaustive()
    }
}
