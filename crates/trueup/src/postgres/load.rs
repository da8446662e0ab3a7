//! Loads: one statement that tells what it saw together with what it read.

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::TryStreamExt as _;
use tokio_postgres::{Row, Statement, types::PgLsn};
use trueup_core::{
    entry::Raw,
    proof::{Position, Seen, Snapshot},
    source::{LoadError, Loaded, LoadedMany},
};

use super::{
    error::{At, PostgresError},
    handle::{Shared, lease},
    options::LOAD_LIMIT_DEFAULT,
    value::{AsSnapshot, AsText},
};

/// Largest value that a load of a class brings, in bytes, whatever its class keeps: a mistaken query must not fill the
/// process's memory.
pub const LOAD_BYTES_MAX: usize = 64 << 20;

/// What a load sees: snapshot, a position read after it, and the name of a WAL file, which begins with the timeline. A
/// statement's snapshot is taken before its functions run.
///
/// Of a constant the server names a file once for each plan, and a plan lives no longer than its session. The timeline stays true so
/// long: a server in recovery names none, and so makes no plan, and one that writes does so on one timeline until it is started again,
/// which no session outlives.
pub(super) const SEES: &str =
    "pg_current_snapshot(), pg_current_wal_insert_lsn(), pg_walfile_name('0/1'::pg_lsn)";
/// The same once, for statements that have no place for it beside their value.
pub(super) const SAW: &str = "(SELECT pg_current_snapshot() AS snapshot, pg_current_wal_insert_lsn() AS upper, \
     pg_walfile_name('0/1'::pg_lsn) AS timeline OFFSET 0) saw";
/// The columns of [`SAW`].
pub(super) const SAW_COLUMNS: &str = "saw.snapshot, saw.upper, saw.timeline";
/// Where the value is in the rows of a load.
pub(super) const VALUE: usize = 3;

/// A row `l` as JSON by PostgreSQL itself, a value of bytes: one for the version of the format of `jsonb_send`, which is left out, and
/// the text; of a row of more than `limit` bytes one byte more than that comes, and no more. A row of NULLs has a text; beside an
/// absent row stands a NULL.
fn bytes_of_row(limit: usize) -> String {
    let bytes = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
    format!("substr(jsonb_send(to_jsonb(l.*)), 2, {bytes})")
}

/// The rows of `query` so.
fn as_bytes(query: &str, limit: usize) -> String {
    // The line ends so that a comment at the end of the query does.
    format!("SELECT {} AS value FROM ({query}\n) l", bytes_of_row(limit))
}

/// The rows of `query`, `rows_max` at most. `OFFSET 0` has the query run as it stands.
pub(super) fn as_json(query: &str, limit: usize, rows_max: Option<usize>) -> String {
    let end = rows_max.map_or_else(|| "OFFSET 0".to_owned(), |rows| format!("LIMIT {rows}"));
    format!("{} {end}", as_bytes(query, limit))
}

/// The one row that `query` has at most, beside what the load sees: for each fill there is one, and in the server nothing is
/// cheaper. Where there is no row, nobody learns what was seen.
pub(super) fn present_as_json(query: &str, limit: usize) -> String {
    format!("SELECT {SEES}, {} FROM ({query}\n) l", bytes_of_row(limit))
}

/// The same, or the row's absence.
pub(super) fn one_as_json(query: &str, limit: usize) -> String {
    format!("SELECT {SEES}, ({})", as_bytes(query, limit))
}

/// The same of each of `keys`, a row each: rows of the FROM item `keys`, of which `place` is the place that follows the value. Each tells
/// what was seen, with one snapshot: that costs less than one more node of the plan.
pub(super) fn each_as_json(query: &str, keys: &str, place: &str, limit: usize) -> String {
    format!("SELECT {SEES}, ({}), {place} FROM {keys}", as_bytes(query, limit))
}

/// The elements of arrays, side by side, each a row: of the parameters by their types.
///
/// Each parameter stands in a SELECT of its own: by the number of its elements the planner would take the plan for these very
/// arrays to be cheaper than one for any, and make one for each call, which costs more than the rows do.
pub(super) fn elements<'t>(types: impl Iterator<Item = &'t str>) -> String {
    let arrays =
        types.enumerate().map(|(place, type_name)| format!("(SELECT ${}::{type_name}[])", place + 1));
    format!("unnest({})", arrays.collect::<Vec<_>>().join(", "))
}

/// A statement, its parameters, and the time it has.
pub(super) struct Request<'a> {
    pub(super) sql: &'a str,
    pub(super) params: &'a [AsText],
    pub(super) limit: Duration,
    /// Bytes of all rows together, beyond which the load is given up.
    pub(super) bytes_max: usize,
}

/// What the rows of a load of `values` may bring together: each value its own bound, and what stands beside it.
pub(super) const fn bytes_of_rows(value_bytes_max: usize, values: usize) -> usize {
    // Snapshot, position and flags of each row; a row of an array is at least as large as these.
    const BESIDE: usize = 1 << 20;
    value_bytes_max.saturating_mul(2).saturating_mul(values).saturating_add(BESIDE)
}

/// The snapshots under which a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// One, its own.
    Statement,
    /// One, although it calls functions that would take their own: in a transaction that keeps its snapshot.
    Volatile,
}

impl Shared {
    /// The rows of a statement on a reading connection. The server ends the statement at its limit; where the server is silent,
    /// the caller has to end the wait, as the engine does for each load. A second timer for the same span would cost each load
    /// as much as looking for its entry.
    pub(super) async fn rows(&self, request: &Request<'_>, reads: Reads) -> Result<Vec<Row>, PostgresError> {
        let at = At { patience: request.limit, ..self.at("loading") };
        let client = lease(&self.readers, at, request.limit).await?;
        match reads {
            Reads::Statement => run(&client, request, at).await,
            // Seldom: with memory of its own the others need less.
            Reads::Volatile => Box::pin(run_volatile(&client, request, at)).await,
        }
    }

    /// The same where nobody else ends the wait.
    pub(super) async fn rows_in_time(
        &self,
        request: &Request<'_>,
        reads: Reads,
    ) -> Result<Vec<Row>, PostgresError> {
        let late = At { patience: request.limit, ..self.at("loading") }.late();
        tokio::time::timeout(request.limit, self.rows(request, reads)).await.unwrap_or(Err(late))
    }

    /// What a load of nothing sees.
    pub(super) async fn now(&self, limit: Duration) -> Result<Seen, LoadError> {
        let sql = format!("SELECT {SEES}");
        let rows = self
            .rows_in_time(
                &Request { sql: &sql, params: &[], limit, bytes_max: LOAD_BYTES_MAX },
                Reads::Statement,
            )
            .await?;
        self.seen(&rows)
    }

    /// What the first row of a load says of all.
    pub(super) fn seen(&self, rows: &[Row]) -> Result<Seen, LoadError> {
        let row = rows.first().ok_or(LoadError::Lost)?;
        let strange = |what: &str| {
            LoadError::Unavailable(
                format!("{}: the server answered with a strange {what}", self.address.place()).into(),
            )
        };
        let AsSnapshot(snapshot) = row.try_get(0).map_err(|_| strange("snapshot"))?;
        let upper: PgLsn = row.try_get(1).map_err(|_| strange("position"))?;
        let timeline = timeline(row.try_get(2).ok()).ok_or_else(|| strange("timeline"))?;
        Ok(Seen {
            snapshot: Snapshot::Xids(snapshot),
            upper: Position(upper.into()),
            epoch: self.epoch(timeline),
        })
    }
}

/// The timeline: the first eight digits of a WAL file's name.
pub(super) fn timeline(text: Option<&str>) -> Option<u32> {
    u32::from_str_radix(text?.get(..8)?, 16).ok()
}

/// Runs a statement, prepared on this connection once.
pub(super) async fn run(
    client: &Object,
    request: &Request<'_>,
    at: At<'_>,
) -> Result<Vec<Row>, PostgresError> {
    let failed = |error: tokio_postgres::Error| at.error(&error);
    let statement = client.prepare_cached(request.sql).await.map_err(failed)?;
    if request.limit == LOAD_LIMIT_DEFAULT {
        return collect(client, &statement, request, at).await;
    }
    // With memory of its own: most loads have the connection's limit, and need less.
    Box::pin(run_within(client, &statement, request, at)).await
}

/// Runs a statement under a time limit other than the connection's own: that travels with it, and all are one round trip.
async fn run_within(
    client: &Object,
    statement: &Statement,
    request: &Request<'_>,
    at: At<'_>,
) -> Result<Vec<Row>, PostgresError> {
    let failed = |error: tokio_postgres::Error| at.error(&error);
    let set = format!("SET statement_timeout = {}", request.limit.as_millis().max(1));
    // Sent in this order, all before the first answer is awaited: dropping the future drops answers alone.
    let (set, rows, reset) = tokio::join!(
        biased;
        client.batch_execute(&set),
        collect(client, statement, request, at),
        client.batch_execute("RESET statement_timeout")
    );
    set.map_err(failed)?;
    reset.map_err(failed)?;
    rows
}

/// The rows of a statement; given up as soon as they are too many, so that a mistaken query does not fill the memory.
async fn collect(
    client: &Object,
    statement: &Statement,
    request: &Request<'_>,
    at: At<'_>,
) -> Result<Vec<Row>, PostgresError> {
    let failed = |error: tokio_postgres::Error| at.error(&error);
    let mut stream = std::pin::pin!(client.query_raw(statement, request.params).await.map_err(failed)?);
    let (mut rows, mut bytes) = (Vec::with_capacity(1), 0_usize);
    while let Some(row) = stream.try_next().await.map_err(failed)? {
        bytes += row.raw_size_bytes();
        if bytes > request.bytes_max {
            return Err(PostgresError::TooLarge { bytes, limit: request.bytes_max });
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Runs a statement in a transaction that keeps one snapshot and only reads, in one round trip. It is refused if the
/// transaction has an id: then it wrote after all, or called for one, and its snapshot says nothing of its own changes.
async fn run_volatile(client: &Object, request: &Request<'_>, at: At<'_>) -> Result<Vec<Row>, PostgresError> {
    const WROTE: &str = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";
    let run = async {
        let (statement, wrote) =
            tokio::try_join!(client.prepare_cached(request.sql), client.prepare_cached(WROTE))?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = {}",
            request.limit.as_millis().max(1)
        );
        let (begun, rows, wrote, ended) = tokio::join!(
            biased;
            client.batch_execute(&begin),
            collect(client, &statement, request, at),
            client.query_one(&wrote, &[]),
            client.batch_execute("COMMIT")
        );
        begun?;
        Ok((rows, wrote, ended))
    };
    let failed = |error: tokio_postgres::Error| at.error(&error);
    let (rows, wrote, ended) = run.await.map_err(failed)?;
    // The statement's own error first: those of the rest only follow from it.
    let rows = rows?;
    ended.map_err(failed)?;
    if wrote.map_err(failed)?.get(0) {
        let reason = "calls a function that takes a transaction id, so that nobody can tell what it saw";
        return Err(PostgresError::Query { reason: reason.to_owned() });
    }
    Ok(rows)
}

/// The value that the column `column` of a row has, as [`as_bytes`] makes it.
pub(super) fn value(row: &Row, column: usize, limit: usize) -> Result<Option<Raw>, LoadError> {
    let unreadable = || LoadError::Refused("the value cannot be read as text".into());
    let bytes = row.try_get::<_, Option<&[u8]>>(column).map_err(|_| unreadable())?;
    let Some(bytes) = bytes else { return Ok(None) };
    if bytes.len() > limit {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit });
    }
    std::str::from_utf8(bytes).map_err(|_| unreadable())?;
    Ok(Some(Raw(Bytes::copy_from_slice(bytes))))
}

/// The one answer to a load of one key.
pub(super) fn only<V>(mut many: LoadedMany<V>) -> Result<Loaded<V>, LoadError> {
    let (value, tags) = many.values.pop().ok_or(LoadError::Lost)?;
    Ok(Loaded { value, tags, seen: many.seen })
}

#[cfg(test)]
mod plans;
