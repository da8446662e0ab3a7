//! Plain SQL to the database of record: what writers, naive readers and faults use. It knows nothing of a cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, types::ValueRef};
use tokio_postgres::{NoTls, SimpleQueryMessage};
use trueup_core::env::{BoxFuture, Task, spawn};

use super::LabError;

/// How long a statement waits for a lock of another program (SQLite).
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// Cells of a row, as text.
pub(crate) type Cells = Vec<Option<String>>;

/// A session with the database.
pub(crate) trait Sql: Send {
    /// Runs the statements as one transaction. Returns the first cell of each row that they give.
    ///
    /// An error does not say whether it was committed.
    fn transaction<'a>(&'a mut self, statements: &'a [String]) -> BoxFuture<'a, Result<Vec<i64>, LabError>>;

    /// Runs statements one by one, outside a transaction of ours.
    fn batch<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), LabError>>;

    /// The rows of one query.
    fn rows<'a>(&'a mut self, query: &'a str) -> BoxFuture<'a, Result<Vec<Cells>, LabError>>;

    /// The number of an object's last version. Waits for whoever writes the object, also for a transaction whose client
    /// has gone.
    fn version(&mut self, object: u32) -> BoxFuture<'_, Result<u64, LabError>>;
}

/// A SQLite file. Its calls block the thread they are made on, which is told so.
pub(crate) struct SqliteSession(Connection);

impl SqliteSession {
    pub(crate) fn open(path: &Path) -> Result<Self, LabError> {
        blocking(|| {
            let conn = Connection::open(path)?;
            conn.busy_timeout(BUSY_TIMEOUT)?;
            // A write lost to a power cut harms nobody here.
            conn.pragma_update(None, "synchronous", "normal")?;
            Ok(Self(conn))
        })
    }

    /// The connection itself, for what only SQLite has.
    pub(crate) const fn conn(&mut self) -> &mut Connection {
        &mut self.0
    }

    fn run(conn: &Connection, statements: &[String]) -> rusqlite::Result<Vec<i64>> {
        let mut numbers = Vec::new();
        for statement in statements {
            let mut statement = conn.prepare_cached(statement)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                numbers.push(row.get(0)?);
            }
        }
        Ok(numbers)
    }
}

impl Sql for SqliteSession {
    fn transaction<'a>(&'a mut self, statements: &'a [String]) -> BoxFuture<'a, Result<Vec<i64>, LabError>> {
        Box::pin(async move {
            blocking(|| {
                let tx = self.0.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
                let numbers = Self::run(&tx, statements)?;
                tx.commit()?;
                Ok(numbers)
            })
        })
    }

    fn batch<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), LabError>> {
        Box::pin(async move { blocking(|| Ok(self.0.execute_batch(sql)?)) })
    }

    fn rows<'a>(&'a mut self, query: &'a str) -> BoxFuture<'a, Result<Vec<Cells>, LabError>> {
        Box::pin(async move {
            blocking(|| {
                let mut statement = self.0.prepare_cached(query)?;
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    (0..columns).map(|column| Ok(text(row.get_ref(column)?))).collect::<rusqlite::Result<_>>()
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
        })
    }

    fn version(&mut self, object: u32) -> BoxFuture<'_, Result<u64, LabError>> {
        Box::pin(async move {
            // A call that has returned leaves no transaction behind, so there is nobody to wait for.
            let rows = self.rows(&format!("SELECT version FROM ledger WHERE object = {object}")).await?;
            number(&rows)
        })
    }
}

fn text(cell: ValueRef<'_>) -> Option<String> {
    match cell {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// A connection to PostgreSQL that sends what `psql` would: text, in the simple protocol.
pub(crate) struct PostgresSession {
    client: tokio_postgres::Client,
    connection: Task,
}

impl PostgresSession {
    pub(crate) async fn connect(url: &str) -> Result<Self, LabError> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // Its end shows in the client's next call.
        let connection = spawn("lab sql connection", async move { _ = connection.await });
        Ok(Self { client, connection })
    }

    async fn cells(&self, sql: &str) -> Result<Vec<Cells>, LabError> {
        let messages = self.client.simple_query(sql).await?;
        let row = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // A session whose server hangs would otherwise hold its socket for ever.
        self.connection.stop();
    }
}

impl Sql for PostgresSession {
    fn transaction<'a>(&'a mut self, statements: &'a [String]) -> BoxFuture<'a, Result<Vec<i64>, LabError>> {
        Box::pin(async move {
            let rows = self.cells(&format!("BEGIN; {}; COMMIT", statements.join("; "))).await?;
            let numbers = rows.iter().map(|row| row.first().cloned().flatten().unwrap_or_default().parse());
            numbers.collect::<Result<_, _>>().map_err(|why| LabError::failed("reading a version", why))
        })
    }

    fn batch<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), LabError>> {
        Box::pin(async move { Ok(self.client.batch_execute(sql).await?) })
    }

    fn rows<'a>(&'a mut self, query: &'a str) -> BoxFuture<'a, Result<Vec<Cells>, LabError>> {
        Box::pin(async move { self.cells(query).await })
    }

    fn version(&mut self, object: u32) -> BoxFuture<'_, Result<u64, LabError>> {
        Box::pin(async move {
            let lock = format!("SELECT version FROM ledger WHERE object = {object} FOR UPDATE");
            number(&self.cells(&lock).await?)
        })
    }
}

/// The number that a query gave.
pub(crate) fn number(rows: &[Cells]) -> Result<u64, LabError> {
    let cell = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    cell.and_then(|text| text.parse().ok())
        .ok_or_else(|| LabError::Unreachable(format!("expected a number of the database, got {cell:?}")))
}

/// Runs what blocks, on this very thread. The runtime moves its other work elsewhere.
pub(crate) fn blocking<T>(work: impl FnOnce() -> Result<T, LabError>) -> Result<T, LabError> {
    tokio::task::block_in_place(work)
}

/// Where a session can be opened.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Address {
    pub(crate) async fn connect(&self) -> Result<Box<dyn Sql>, LabError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(SqliteSession::open(path)?),
            Self::Postgres(url) => Box::new(PostgresSession::connect(url).await?),
        })
    }
}
