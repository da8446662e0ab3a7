//! Transactions on pooled connections.

use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::Client;
use trueup_core::env::spawn;

use super::{
    error::{failed, pool_failed, unknown},
    value::{Param, params_of, row_of},
};
use crate::{
    limits::ms,
    store::{Dialect, Owned, Row, Store, StoreError, StoreErrorKind, Transaction, Value},
};

/// Longest wait for a lock: a second request with the same key waits for the first one's transaction that long.
const LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(2);
/// Longest statement.
const STATEMENT_LIMIT_DEFAULT: Duration = Duration::from_secs(15);
/// How long the server lets a transaction wait for its client: a stopped process must not hold its rows for ever.
const IDLE_LIMIT_DEFAULT: Duration = Duration::from_secs(30);
/// How much longer than a statement may take its answer is waited for: then the network is to blame, or a server that stands still.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// Fails in a transaction that has failed, which COMMIT alone would turn into a rollback that looks like success.
const COMMIT: &str = "SAVEPOINT once_end; COMMIT";

/// Limits of a [`PostgresStore`]'s transactions.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// Longest wait for a lock (`lock_timeout`).
    pub lock_wait: Duration,
    /// Longest statement (`statement_timeout`).
    pub statement_limit: Duration,
    /// Longest pause between two statements of one transaction (`idle_in_transaction_session_timeout`).
    pub idle_limit: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            lock_wait: LOCK_WAIT_DEFAULT,
            statement_limit: STATEMENT_LIMIT_DEFAULT,
            idle_limit: IDLE_LIMIT_DEFAULT,
        }
    }
}

/// A PostgreSQL primary, by a pool of connections. Give the pool a time limit for waiting (`Timeouts::wait_millis`).
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool,
    begin: String,
    begin_read: String,
    patience: Duration,
}

impl PostgresStore {
    /// Transactions on connections of `pool`, with the limits of [`PostgresOptions::default`].
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self::with_options(pool, PostgresOptions::default())
    }

    /// Transactions on connections of `pool`.
    #[must_use]
    pub fn with_options(pool: Pool, options: PostgresOptions) -> Self {
        let limits = format!(
            "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}",
            ms(options.lock_wait),
            ms(options.statement_limit),
            ms(options.idle_limit)
        );
        Self {
            pool,
            begin: format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {limits}"),
            begin_read: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {limits}"),
            patience: options.statement_limit + ANSWER_GRACE,
        }
    }

    /// The pool.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    async fn open(&self, begin: &str) -> Result<PostgresTx, StoreError> {
        let object = self.pool.get().await.map_err(|why| pool_failed(&why))?;
        let tx = PostgresTx { object: Some(object), patience: self.patience };
        in_time(self.patience, "beginning a transaction", tx.client().batch_execute(begin)).await?;
        Ok(tx)
    }
}

impl Store for PostgresStore {
    type Tx = PostgresTx;

    async fn begin(&self) -> Result<PostgresTx, StoreError> {
        self.open(&self.begin).await
    }

    async fn begin_read(&self) -> Result<PostgresTx, StoreError> {
        self.open(&self.begin_read).await
    }

    async fn read(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let object = self.pool.get().await.map_err(|why| pool_failed(&why))?;
        // Until its answer has come the connection is as good as in a transaction: not for the next one, if nobody waits any more.
        let tx = PostgresTx { object: Some(object), patience: self.patience };
        let rows = tx.query(sql, params).await;
        // One that hangs is not given to the next.
        if !rows.as_ref().is_err_and(StoreError::is_transient) {
            tx.close();
        }
        rows
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("connections", &self.pool.status()).finish_non_exhaustive()
    }
}

/// A transaction on PostgreSQL. If it is dropped before its end, it is rolled back in the background; its connection is closed where
/// that fails.
pub struct PostgresTx {
    /// `None` once it has ended.
    object: Option<Object>,
    patience: Duration,
}

impl PostgresTx {
    /// The driver's own connection, for what this crate's SQL cannot say. Whoever uses it must not end the transaction.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.object()
    }

    fn object(&self) -> &Object {
        #[expect(
            clippy::expect_used,
            reason = "taken out only where the transaction ends, which consumes it"
        )]
        self.object.as_ref().expect("the transaction is open")
    }

    /// Gives the connection back to the pool.
    fn close(mut self) {
        drop(self.object.take());
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            drop(Object::take(object));
            return;
        }
        let patience = self.patience;
        // A connection goes back only after the server has said that it rolled back: until then it may hang in a lock. To open another
        // one instead would cost a reader, who ends its transaction in this way, many times what it reads.
        let _ = spawn("rolling back", async move {
            let rolled_back = tokio::time::timeout(patience, object.batch_execute("ROLLBACK")).await;
            if !matches!(rolled_back, Ok(Ok(()))) {
                drop(Object::take(object));
            }
        });
    }
}

impl Transaction for PostgresTx {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, StoreError> {
        let sql = Dialect::Postgres.render(sql);
        let params: Vec<_> = params.iter().map(|value| Param(*value)).collect();
        in_time(self.patience, "executing a statement", async {
            let object = self.object();
            let statement = object.prepare_cached(&sql).await?;
            object.execute(&statement, &params_of(&params)).await
        })
        .await
    }

    async fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let sql = Dialect::Postgres.render(sql);
        let params: Vec<_> = params.iter().map(|value| Param(*value)).collect();
        let rows = in_time(self.patience, "running a query", async {
            let object = self.object();
            let statement = object.prepare_cached(&sql).await?;
            object.query(&statement, &params_of(&params)).await
        });
        rows.await?.iter().map(row_of).collect()
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        in_time(self.patience, "running a batch", self.client().batch_execute(sql)).await
    }
}

impl Owned for PostgresTx {
    async fn commit(self) -> Result<(), StoreError> {
        let committed = tokio::time::timeout(self.patience, self.client().batch_execute(COMMIT)).await;
        let Ok(committed) = committed else {
            let reason = "committing: no answer in time, so it is open whether it happened";
            return Err(StoreError::new(StoreErrorKind::Unknown, reason));
        };
        committed.map_err(|why| unknown(&why))?;
        self.close();
        Ok(())
    }

    async fn rollback(self) -> Result<(), StoreError> {
        in_time(self.patience, "rolling back", self.client().batch_execute("ROLLBACK")).await?;
        self.close();
        Ok(())
    }
}

async fn in_time<T>(
    patience: Duration,
    doing: &str,
    call: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => answer.map_err(|why| failed(doing, &why)),
        Err(_) => {
            let reason = format!("{doing}: PostgreSQL did not answer within {} ms", patience.as_millis());
            Err(StoreError::new(StoreErrorKind::Unavailable, reason))
        }
    }
}

impl std::fmt::Debug for PostgresTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresTx").finish_non_exhaustive()
    }
}
