//! Which database: one type, so that nothing above is written twice.

use once::{
    postgres::{PostgresStore, PostgresTx},
    sqlite::{SqliteStore, SqliteTx},
    store::{Dialect, Owned, Row, Store, StoreError, Transaction, Value},
};

/// The database of record.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file.
    Sqlite(SqliteStore),
    /// A primary.
    Postgres(PostgresStore),
}

/// A transaction on it.
#[derive(Debug)]
pub enum DatabaseTx {
    /// On a file.
    Sqlite(SqliteTx),
    /// On a primary.
    Postgres(PostgresTx),
}

macro_rules! on_either {
    ($of:ident: $value:expr, $inner:ident => $call:expr) => {
        match $value {
            $of::Sqlite($inner) => $call,
            $of::Postgres($inner) => $call,
        }
    };
}

impl Store for Database {
    type Tx = DatabaseTx;

    async fn begin(&self) -> Result<DatabaseTx, StoreError> {
        match self {
            Self::Sqlite(store) => store.begin().await.map(DatabaseTx::Sqlite),
            Self::Postgres(store) => store.begin().await.map(DatabaseTx::Postgres),
        }
    }

    async fn begin_read(&self) -> Result<DatabaseTx, StoreError> {
        match self {
            Self::Sqlite(store) => store.begin_read().await.map(DatabaseTx::Sqlite),
            Self::Postgres(store) => store.begin_read().await.map(DatabaseTx::Postgres),
        }
    }

    async fn read(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        on_either!(Database: self, store => store.read(sql, params).await)
    }
}

impl Transaction for DatabaseTx {
    fn dialect(&self) -> Dialect {
        on_either!(DatabaseTx: self, tx => tx.dialect())
    }

    async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
        on_either!(DatabaseTx: self, tx => tx.execute(sql, params).await)
    }

    async fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        on_either!(DatabaseTx: self, tx => tx.query(sql, params).await)
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        on_either!(DatabaseTx: self, tx => tx.batch(sql).await)
    }
}

impl Owned for DatabaseTx {
    async fn commit(self) -> Result<(), StoreError> {
        on_either!(DatabaseTx: self, tx => tx.commit().await)
    }

    async fn rollback(self) -> Result<(), StoreError> {
        on_either!(DatabaseTx: self, tx => tx.rollback().await)
    }
}
