//! A node of Trueup in front of an incident's database, of whichever kind.

use trueup::{
    Authoritative, CacheKey, CacheValue, Class, PgTx, Postgres, Sqlite, SqliteTx, Token, Trueup, TrueupError,
    WriteError, postgres,
};
use trueup_core::cache::Cache;

use super::{
    member::Telling,
    sql::{Values, for_postgres, numbered},
};
use crate::world::LabError;

/// The node. What it says is the library's own; only transactions differ by database.
pub(super) enum Node {
    Sqlite(Trueup<Sqlite>),
    Postgres {
        node: Trueup<Postgres>,
        /// Of a fleet.
        _telling: Option<Telling>,
    },
}

impl Node {
    /// Opens a class.
    pub(super) fn class<K, V>(&self, name: &str) -> Result<Class<K, V>, LabError>
    where
        K: CacheKey + Clone + Send + Sync + 'static,
        V: CacheValue,
    {
        let failed = |why: TrueupError| LabError::failed("the class", why);
        match self {
            Self::Sqlite(node) => node.class(name).map_err(failed),
            Self::Postgres { node, .. } => node.class(name).map_err(failed),
        }
    }

    /// Runs `work` in a transaction, commits, and returns a token for it.
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(Tx<'_, '_>) -> Result<T, LabError>,
    ) -> Result<(T, Token), LabError> {
        match self {
            Self::Sqlite(node) => {
                let written = node.write(async |tx| work(Tx::Sqlite(tx)).await).await;
                written.map_err(|why| match why {
                    WriteError::Work(why) => why,
                    WriteError::Source(why) => LabError::failed("a write", why),
                })
            }
            Self::Postgres { node, .. } => {
                let written = node.write(async |tx| work(Tx::Postgres(tx)).await).await;
                written.map_err(|why| match why {
                    postgres::WriteError::Work(why) => why,
                    postgres::WriteError::Source(why) => LabError::failed("a write", why),
                })
            }
        }
    }

    /// The engine behind it.
    pub(super) fn cache(&self) -> &Cache {
        match self {
            Self::Sqlite(node) => node.cache(),
            Self::Postgres { node, .. } => node.cache(),
        }
    }

    /// Stops following the feed.
    pub(super) async fn shut_down(&self) {
        match self {
            Self::Sqlite(node) => node.shut_down().await,
            Self::Postgres { node, .. } => node.shut_down().await,
        }
    }
}

/// A transaction of a node.
pub(super) enum Tx<'t, 'a> {
    Sqlite(&'t SqliteTx<'a>),
    Postgres(&'t PgTx),
}

impl<'t> Tx<'t, '_> {
    /// Executes one statement; how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, params: impl Values) -> Result<u64, LabError> {
        let params = params.values();
        match self {
            Self::Sqlite(tx) => Ok(tx.execute(sql, rusqlite::params_from_iter(params))? as u64),
            Self::Postgres(tx) => Ok(tx.execute(&numbered(sql), &for_postgres(&params)).await?),
        }
    }

    /// The value as the transaction reads and locks it.
    pub(super) async fn authoritative<K, V>(
        &self,
        class: &Class<K, V>,
        key: &K,
    ) -> Result<Authoritative<'t, V>, LabError>
    where
        K: CacheKey + Clone + Send + Sync + 'static,
        V: CacheValue,
    {
        Ok(match self {
            Self::Sqlite(tx) => class.authoritative(*tx, key).await?,
            Self::Postgres(tx) => class.authoritative(*tx, key).await?,
        })
    }
}
