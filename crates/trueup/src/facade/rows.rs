//! Rows as values of a Rust type.

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use trueup_core::{
    class::ClassName,
    entry::{CacheValue, Raw},
    env::BoxFuture,
    key::{CacheKey, Key, KeyForm},
    proof::{TableTags, Tag, Token},
    read,
    source::{
        AfterCommit, Catalogue, KeyPage, KeySet, LoadError, Loaded, LoadedMany, Loader, Outcome, PageEnd,
        RowWriter,
    },
    write::{LockingRead, Publication, RowChange},
};

use crate::{
    catalog::{postgres, sqlite},
    noted::{After, LoadAfter, Noted},
    postgres::PgTx,
    sqlite::SqliteTx,
};

/// A live transaction in which rows of a class can be read and locked: [`SqliteTx`], [`PgTx`].
pub trait Transaction: sealed::Reads + Send + Sync {}

impl Transaction for SqliteTx<'_> {}

impl Transaction for PgTx {}

pub(super) mod sealed {
    use super::{BoxFuture, Key, LoadError, Lockable, Raw};

    /// Reads and locks what a loader loads, and notes what is to be published.
    pub trait Reads {
        /// Has a row published after the commit.
        #[expect(private_interfaces, reason = "only this crate calls it")]
        fn note(&self, row: std::sync::Arc<dyn crate::noted::Noted>);

        /// The row under `key`, locked until the transaction ends.
        fn read<'a>(
            &'a self,
            rows: &'a Lockable,
            key: &'a Key,
        ) -> BoxFuture<'a, Result<Option<Raw>, LoadError>>;
    }
}

/// Loads rows of a class, of whichever database, and can do so in a transaction of that database.
#[derive(Clone, Debug)]
pub enum Lockable {
    /// Of a SQLite database.
    Sqlite(sqlite::ClassLoader),
    /// Of a PostgreSQL database.
    Postgres(postgres::ClassLoader),
}

/// What a class of one database says to a transaction of another.
fn foreign() -> LoadError {
    LoadError::Refused("the transaction is one of another database than the class's".into())
}

impl sealed::Reads for SqliteTx<'_> {
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn note(&self, row: Arc<dyn Noted>) {
        Self::note(self, row);
    }

    fn read<'a>(&'a self, rows: &'a Lockable, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move {
            match rows {
                Lockable::Sqlite(loader) => loader.read_locked(self, key).await,
                Lockable::Postgres(_) => Err(foreign()),
            }
        })
    }
}

impl sealed::Reads for PgTx {
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn note(&self, row: Arc<dyn Noted>) {
        Self::note(self, row);
    }

    fn read<'a>(&'a self, rows: &'a Lockable, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move {
            match rows {
                Lockable::Postgres(loader) => loader.read_locked(self, key).await,
                Lockable::Sqlite(_) => Err(foreign()),
            }
        })
    }
}

impl LoadAfter for Lockable {
    fn load_after<'a>(
        &'a self,
        after: After<'a>,
        key: &'a Key,
        outcome: Outcome,
    ) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        match (self, after) {
            (Self::Sqlite(loader), After::Sqlite) => loader.load_after(after, key, outcome),
            (Self::Postgres(loader), After::Postgres(_)) => loader.load_after(after, key, outcome),
            _ => Box::pin(async { Err(foreign()) }),
        }
    }
}

impl Lockable {
    fn loader(&self) -> &dyn Loader<Key, Raw> {
        match self {
            Self::Sqlite(loader) => loader,
            Self::Postgres(loader) => loader,
        }
    }
}

/// Loads the rows of a class, and reads each as a `V`.
pub(super) struct Rows<K, V> {
    class: ClassName,
    form: KeyForm,
    rows: Lockable,
    types: PhantomData<fn(&K) -> V>,
}

impl<K, V> Rows<K, V> {
    pub(super) const fn new(class: ClassName, form: KeyForm, rows: Lockable) -> Self {
        Self { class, form, rows, types: PhantomData }
    }

    pub(super) const fn form(&self) -> &KeyForm {
        &self.form
    }
}

impl<K: CacheKey, V: CacheValue> Rows<K, V> {
    pub(super) fn key(&self, key: &K) -> Result<Key, LoadError> {
        self.form.key(key).map_err(|error| LoadError::Refused(error.to_string().into()))
    }

    fn value(&self, row: Option<Raw>) -> Result<Option<V>, LoadError> {
        let decoded = row.map(|row| V::decode(&row.0)).transpose();
        decoded.map_err(|error| {
            let class = &self.class;
            LoadError::Refused(
                format!("a row of class `{class}` is not of the type it is read as: {error}").into(),
            )
        })
    }
}

impl<K, V> Loader<K, V> for Rows<K, V>
where
    K: CacheKey + Send + Sync + 'static,
    V: CacheValue,
{
    fn load<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Loaded<V>, LoadError>> {
        Box::pin(async move {
            let Loaded { value, tags, seen } = self.rows.loader().load(&self.key(key)?).await?;
            Ok(Loaded { value: self.value(value)?, tags, seen })
        })
    }

    fn load_many<'a>(&'a self, keys: &'a [K]) -> BoxFuture<'a, Result<LoadedMany<V>, LoadError>> {
        Box::pin(async move {
            let keys = keys.iter().map(|key| self.key(key)).collect::<Result<Vec<_>, _>>()?;
            let LoadedMany { values, seen } = self.rows.loader().load_many(&keys).await?;
            let value = |(row, tags)| Ok((self.value(row)?, tags));
            Ok(LoadedMany { values: values.into_iter().map(value).collect::<Result<_, LoadError>>()?, seen })
        })
    }

    fn load_on_standby<'a>(&'a self, key: &'a K) -> Option<BoxFuture<'a, Result<Loaded<V>, LoadError>>> {
        let (key, rows) = (self.key(key).ok()?, self.rows.loader());
        // Whether there is a standby to be asked now; nothing is sent before the answer is awaited.
        drop(rows.load_on_standby(&key)?);
        Some(Box::pin(async move {
            let Some(load) = rows.load_on_standby(&key) else {
                return Err(LoadError::Unavailable("the standby has just been left alone".into()));
            };
            let Loaded { value, tags, seen } = load.await?;
            Ok(Loaded { value: self.value(value)?, tags, seen })
        }))
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.rows.loader().catalogue()
    }

    fn writer(&self) -> Result<&dyn RowWriter<V>, Cow<'static, str>> {
        self.rows.loader().writer().map(|_| self as &dyn RowWriter<V>)
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<K>>, Cow<'static, str>> {
        let keys = self.rows.loader().key_set()?;
        Ok(Arc::new(TypedKeys { form: self.form.clone(), keys }))
    }
}

impl<K, V> RowWriter<V> for Rows<K, V>
where
    K: CacheKey + Send + Sync + 'static,
    V: CacheValue,
{
    fn check(&self, key: &Key, change: RowChange) -> Result<(RowChange, bool), String> {
        self.rows.loader().writer()?.check(key, change)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        change: &'a RowChange,
        after: &'a dyn AfterCommit<V>,
    ) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move {
            let writer = self.rows.loader().writer();
            let writer = writer.map_err(|why| LoadError::Refused(why.as_ref().into()))?;
            writer.write(key, change, &Decoded { rows: self, after }).await
        })
    }
}

/// Publishes a row as a value of the class's type.
struct Decoded<'a, K, V> {
    rows: &'a Rows<K, V>,
    after: &'a dyn AfterCommit<V>,
}

impl<K: CacheKey + Send + Sync, V: CacheValue> AfterCommit<Raw> for Decoded<'_, K, V> {
    fn publish<'a>(
        &'a self,
        load: BoxFuture<'a, Result<Loaded<Raw>, LoadError>>,
        outcome: Outcome,
    ) -> BoxFuture<'a, ()> {
        let load = async move {
            let Loaded { value, tags, seen } = load.await?;
            Ok(Loaded { value: self.rows.value(value)?, tags, seen })
        };
        self.after.publish(Box::pin(load), outcome)
    }
}

/// A row of a class that a transaction has noted.
pub(super) struct Note<K, V: CacheValue> {
    pub(super) class: read::Class<K, V>,
    pub(super) rows: Arc<Rows<K, V>>,
    pub(super) key: Key,
}

impl<K, V> Noted for Note<K, V>
where
    K: CacheKey + Clone + Send + Sync + 'static,
    V: CacheValue,
{
    fn publish<'a>(&'a self, after: After<'a>, outcome: Outcome) -> BoxFuture<'a, Option<Publication>> {
        Box::pin(async move {
            let load = async {
                let loaded = self.rows.rows.load_after(after, &self.key, outcome.clone()).await;
                let Loaded { value, tags, seen } = loaded?;
                Ok(Loaded { value: self.rows.value(value)?, tags, seen })
            };
            Some(self.class.publish_after(&self.key, load, outcome.clone()).await)
        })
    }
}

/// The keys there are, asked for by a typed one.
struct TypedKeys {
    form: KeyForm,
    keys: Arc<dyn KeySet<Key>>,
}

impl<K: CacheKey + Send + Sync> KeySet<K> for TypedKeys {
    fn tag(&self, key: &K) -> Option<Tag> {
        self.keys.tag(&self.form.key(key).ok()?)
    }

    fn table(&self) -> TableTags {
        self.keys.table()
    }

    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        self.keys.page(after, rows_max)
    }
}

/// A key with the way to read it: what a transaction needs to read and lock a row of a class.
pub(super) struct Located<'a, K, V> {
    pub(super) rows: &'a Rows<K, V>,
    pub(super) key: &'a K,
}

impl<K, V> LockingRead<Located<'_, K, V>, V> for dyn Transaction + '_
where
    K: CacheKey + Send + Sync + 'static,
    V: CacheValue,
{
    fn read_locked<'a>(&'a self, at: &'a Located<'_, K, V>) -> BoxFuture<'a, Result<Option<V>, LoadError>> {
        Box::pin(async move {
            let key = at.rows.key(at.key)?;
            at.rows.value(self.read(&at.rows.rows, &key).await?)
        })
    }
}
