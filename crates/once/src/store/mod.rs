//! The one small seam between the engine and a database.
//!
//! SQL is written once for both databases. Parameters are `$1`, `$2`, ...; what differs is named in braces and filled in
//! by [`Dialect::render`]:
//!
//! | token | PostgreSQL | SQLite |
//! |---|---|---|
//! | `{now}` | the server's clock at the statement, in ms since 1970 | the machine's clock, in ms since 1970 |
//! | `{for_update}` | `FOR UPDATE` | nothing: the transaction holds the only write lock |
//! | `{skip_locked}` | `FOR UPDATE SKIP LOCKED` | nothing |
//! | `{for_share}` | `FOR SHARE` | nothing |

mod dialect;
mod error;
mod row;
mod value;

use std::future::Future;

pub use self::{
    dialect::Dialect,
    error::{StoreError, StoreErrorKind},
    row::{Cell, Row},
    value::Value,
};

/// A live transaction that can write: what every operation of this crate works in, and the caller's own effects with it.
///
/// A service that has transactions of its own (those of `trueup`, say) implements this for them, or wraps their connection
/// in [`postgres::Within`](crate::postgres::Within) or [`sqlite::Within`](crate::sqlite::Within): whoever opened the
/// transaction commits it. On PostgreSQL it is to be READ COMMITTED, on SQLite `BEGIN IMMEDIATE`.
pub trait Transaction: Send + Sync {
    /// Which database's SQL is spoken.
    fn dialect(&self) -> Dialect;

    /// Executes one statement; how many rows it changed.
    ///
    /// # Errors
    /// [`StoreError`]. On PostgreSQL the transaction has then failed: roll back.
    fn execute(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// All rows of one statement, which may change rows too (`RETURNING`).
    ///
    /// # Errors
    /// [`StoreError`], also where a column has a type that [`Row`] does not carry: cast it.
    fn query(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// The first row of one statement, if there is one.
    ///
    /// # Errors
    /// As [`Transaction::query`].
    fn query_row(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> impl Future<Output = Result<Option<Row>, StoreError>> + Send {
        async move { Ok(self.query(sql, params).await?.into_iter().next()) }
    }

    /// Runs several statements without parameters, separated by semicolons: migrations.
    ///
    /// # Errors
    /// [`StoreError`].
    fn batch(&self, sql: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A transaction that this crate opened, and that therefore ends here. Dropped, it is rolled back.
pub trait Owned: Transaction + 'static {
    /// Commits.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unknown`] where it is open whether the commit happened: look before you repeat.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back and gives the connection back; dropping does the same without waiting for it.
    ///
    /// # Errors
    /// [`StoreError`] where the connection is gone: the database has then rolled back by itself.
    fn rollback(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A database of record.
pub trait Store: Clone + Send + Sync + 'static {
    /// Its transactions.
    type Tx: Owned;

    /// Begins a transaction that may write: READ COMMITTED on PostgreSQL, `BEGIN IMMEDIATE` on SQLite.
    ///
    /// Safe to repeat: nothing is written before the commit.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`], or [`StoreErrorKind::Busy`] where the write lock cannot be had in time.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// Begins a transaction that only reads, from one snapshot, and waits for no writer.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`].
    fn begin_read(&self) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// The rows of one statement that only reads, without a transaction around it: one round trip.
    ///
    /// # Errors
    /// As [`Transaction::query`], and [`StoreErrorKind::Unavailable`].
    fn read(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;
}
