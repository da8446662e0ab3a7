//! Transactions that somebody else opened.

use rusqlite::Connection;

use super::{
    error::failed,
    value::{execute, query},
};
use crate::store::{Dialect, Row, StoreError, Transaction, Value};

/// Something that lends out the connection of a live transaction, from whatever thread.
pub trait Lends: Send + Sync {
    /// Runs `work` on the connection.
    fn lend<T>(&self, work: impl FnOnce(&Connection) -> T) -> T;
}

/// A live transaction of somebody else's: whoever opened it (by `BEGIN IMMEDIATE`) commits it.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a, L> {
    lender: &'a L,
}

impl<'a, L: Lends> Within<'a, L> {
    /// The transaction that is open on the connection of `lender`.
    #[must_use]
    pub const fn new(lender: &'a L) -> Self {
        Self { lender }
    }
}

impl<L: Lends> Transaction for Within<'_, L> {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
        self.lender.lend(|conn| execute(conn, sql, params))
    }

    async fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.lender.lend(|conn| query(conn, sql, params))
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.lender.lend(|conn| conn.execute_batch(sql)).map_err(|why| failed("running a batch", &why))
    }
}
