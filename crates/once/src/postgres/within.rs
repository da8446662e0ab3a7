//! Transactions that somebody else opened.

use tokio_postgres::Client;

use super::{
    error::failed,
    value::{Param, params_of, row_of},
};
use crate::store::{Dialect, Row, StoreError, Transaction, Value};

/// A live transaction of somebody else's on this connection: whoever opened it commits it.
///
/// Statements are parsed each time, in the same round trip.
#[derive(Clone, Copy)]
pub struct Within<'a> {
    client: &'a Client,
}

impl<'a> Within<'a> {
    /// The transaction that is open on `client`, READ COMMITTED.
    #[must_use]
    pub const fn new(client: &'a Client) -> Self {
        Self { client }
    }
}

impl Transaction for Within<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
        let sql = Dialect::Postgres.render(sql);
        let params: Vec<_> = params.iter().map(|value| Param(*value)).collect();
        let typed = params_of(&params).into_iter().zip(&params).map(|(value, param)| (value, param.kind()));
        let typed: Vec<_> = typed.collect();
        self.client.execute_typed(&sql, &typed).await.map_err(|why| failed("executing a statement", &why))
    }

    async fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let sql = Dialect::Postgres.render(sql);
        let params: Vec<_> = params.iter().map(|value| Param(*value)).collect();
        let typed = params_of(&params).into_iter().zip(&params).map(|(value, param)| (value, param.kind()));
        let typed: Vec<_> = typed.collect();
        let rows = self.client.query_typed(&sql, &typed).await;
        rows.map_err(|why| failed("running a query", &why))?.iter().map(row_of).collect()
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).await.map_err(|why| failed("running a batch", &why))
    }
}

impl std::fmt::Debug for Within<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Within").finish_non_exhaustive()
    }
}
