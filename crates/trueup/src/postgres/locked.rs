//! Reads inside a transaction that lock what they read: what a decision may rest on.

use std::time::Duration;

use trueup_core::{entry::Raw, env::BoxFuture, key::Key, source::LoadError, write::LockingRead};

use super::{
    error::At,
    load::{Request, run, value},
    options::LOAD_LIMIT_DEFAULT,
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

    /// The one value of a statement that locks.
    pub(super) async fn read_value(
        &self,
        sql: &str,
        params: &[AsText],
        bytes_max: usize,
    ) -> Result<Option<Raw>, LoadError> {
        // The transaction's own limits apply, to the wait for the lock too.
        const NO_LIMIT_OF_ITS_OWN: Duration = LOAD_LIMIT_DEFAULT;
        let request = Request { sql, params, limit: NO_LIMIT_OF_ITS_OWN };
        let at = At { place: "the transaction", user: "", doing: "reading and locking", patience: NO_LIMIT_OF_ITS_OWN };
        let rows = run(self.object(), &request).await.map_err(|error| at.error(&error).to_load_error())?;
        if rows.len() > 1 {
            let why = "returned several rows; declare `rows = \"many\"`, or add LIMIT 1";
            return Err(LoadError::Refused(why.into()));
        }
        rows.first().map_or(Ok(None), |row| value(row, 0, bytes_max))
    }
}

impl LockingRead<Key, Raw> for Locked<'_, RowLoader> {
    fn read_locked<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move {
            let (sql, params) = self.loader.locked(key)?;
            self.tx.read_value(&sql, &params, self.loader.value_bytes_max()).await
        })
    }
}
