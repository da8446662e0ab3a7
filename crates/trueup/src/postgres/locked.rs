//! Reads inside a transaction that lock what they read: what a decision may rest on.

use tokio_postgres::Row;
use trueup_core::{entry::Raw, env::BoxFuture, key::Key, source::LoadError, write::LockingRead};

use super::{
    error::At,
    load::{Request, bytes_of_rows, run, value},
    options::LOAD_LIMIT_DEFAULT,
    query::QueryLoader,
    row::RowLoader,
    value::AsText,
    write::PgTx,
};

/// A class's loader bound to a live transaction.
///
/// What is read is locked (`SELECT ... FOR UPDATE`) until the transaction ends. Where there is no row nothing is locked, and
/// another transaction may add one.
pub struct Locked<'a, L> {
    tx: &'a PgTx,
    loader: &'a L,
}

impl PgTx {
    /// Reads of a class in this transaction, for [`Class::authoritative`](trueup_core::read::Class::authoritative).
    pub const fn reads<'a, L>(&'a self, loader: &'a L) -> Locked<'a, L> {
        Locked { tx: self, loader }
    }

    /// The rows of a statement that locks them. The transaction's own limits apply, to the wait for a lock too.
    async fn lock(
        &self,
        sql: &str,
        params: &[AsText],
        value_bytes_max: usize,
    ) -> Result<Vec<Row>, LoadError> {
        let bytes_max = bytes_of_rows(value_bytes_max, 1);
        let request = Request { sql, params, limit: LOAD_LIMIT_DEFAULT, bytes_max };
        let at = At {
            place: "the transaction",
            user: "",
            doing: "reading and locking",
            patience: LOAD_LIMIT_DEFAULT,
        };
        Ok(run(self.object(), &request, at).await?)
    }
}

impl LockingRead<Key, Raw> for Locked<'_, RowLoader> {
    fn read_locked<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move {
            let (sql, params) = self.loader.locked(key)?;
            let rows = self.tx.lock(&sql, &params, self.loader.value_bytes_max()).await?;
            rows.first().map_or(Ok(None), |row| value(row, 0, self.loader.value_bytes_max()))
        })
    }
}

impl LockingRead<Key, Raw> for Locked<'_, QueryLoader> {
    fn read_locked<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move {
            let (sql, params) = self.loader.locked(key)?;
            let rows = self.tx.lock(&sql, &params, self.loader.value_bytes_max()).await?;
            self.loader.answer(&rows)
        })
    }
}
