//! Where accepted writes go: batches in transactions, with a note of how far each journal has come.

use std::{borrow::Cow, collections::BTreeMap};

use rusqlite::{Connection, OptionalExtension as _};
use trueup_core::{
    behind::{Applied, ApplyError, Batch, Change, JournalId, Sink},
    class::ClassName,
    env::BoxFuture,
    source::LoadError,
};

use super::{
    handle::Sqlite,
    names::NOW_MS,
    put::{PutFault, is_of_the_row, reason_of},
    row::RowLoader,
    write::{SqliteTx, WriteError},
};

/// How far each journal has come.
const THROUGH: &str = "SELECT through FROM _trueup_write_behind WHERE journal = ?1";

/// Applies accepted writes to the tables of a SQLite database.
pub struct BehindSink {
    sqlite: Sqlite,
    classes: BTreeMap<ClassName, RowLoader>,
}

/// What a transaction found.
enum Found {
    Done(Vec<usize>),
    Through(u64),
}

impl BehindSink {
    /// Writes of these classes, whose rows are those of a table.
    #[must_use]
    pub const fn new(sqlite: Sqlite, classes: BTreeMap<ClassName, RowLoader>) -> Self {
        Self { sqlite, classes }
    }

    fn failed(&self, error: WriteError<PutFault>) -> LoadError {
        match error {
            WriteError::Work(PutFault::Sql(error)) => {
                self.sqlite.shared.at("applying accepted writes").error(error).to_load_error()
            }
            WriteError::Work(PutFault::Load(error)) => error,
            WriteError::Source(error) => error.to_load_error(),
        }
    }

    fn apply_all(&self, conn: &Connection, journal: &[u8], batch: &Batch) -> Result<Found, PutFault> {
        // The write lock is held: nobody else is at it.
        let through: Option<i64> = conn.query_row(THROUGH, [journal], |row| row.get(0)).optional()?;
        let through = through.map_or(0, |through| through as u64);
        if through > batch.after {
            return Ok(Found::Through(through));
        }
        let sql = format!(
            "INSERT INTO _trueup_write_behind (journal, through, at_ms) VALUES (?1, ?2, {NOW_MS}) \
             ON CONFLICT (journal) DO UPDATE SET through = excluded.through, at_ms = excluded.at_ms"
        );
        conn.execute(&sql, (journal, batch.through as i64))?;
        let mut refused = Vec::new();
        for (place, change) in batch.changes.iter().enumerate() {
            let loader = self.loader(change)?;
            let key = loader.key_form().parse(&change.key);
            let key = key.map_err(|error| LoadError::Refused(error.to_string().into()))?;
            let (target, values) = (loader.target_on(conn)?, loader.values(&key)?);
            conn.execute_batch("SAVEPOINT trueup_row")?;
            match target.apply(conn, &values, &change.change) {
                Ok(()) => conn.execute_batch("RELEASE trueup_row")?,
                Err(error) if is_of_the_row(&error) => {
                    conn.execute_batch("ROLLBACK TO trueup_row; RELEASE trueup_row")?;
                    refuse(conn, journal, change, &reason_of(&error))?;
                    refused.push(place);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Found::Done(refused))
    }

    fn loader(&self, change: &Change) -> Result<&RowLoader, LoadError> {
        self.classes.get(change.class.as_str()).ok_or_else(|| {
            let why = format!(
                "class `{}` is written behind no more, and the journal holds writes of it: put it back into the plan \
                 until they are applied",
                change.class
            );
            LoadError::Refused(why.into())
        })
    }
}

fn refuse(conn: &Connection, journal: &[u8], change: &Change, reason: &str) -> rusqlite::Result<()> {
    let row = change.change.row().map(|row| row.to_json());
    let row = row.as_deref().map(String::from_utf8_lossy).map(Cow::into_owned);
    let sql = format!(
        "INSERT INTO _trueup_write_behind_refused (journal, sequence, class, key, kind, row, reason, at_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, {NOW_MS})"
    );
    let (sequence, kind) = (change.sequence as i64, change.change.as_str());
    conn.execute(&sql, (journal, sequence, &change.class, &change.key, kind, row, reason)).map(drop)
}

impl Sink for BehindSink {
    fn prepare<'a>(&'a self, journal: &'a JournalId) -> BoxFuture<'a, Result<u64, LoadError>> {
        Box::pin(async move {
            let work = async |tx: &SqliteTx<'_>| {
                tx.with(|conn| -> Result<u64, PutFault> {
                    conn.execute_batch(
                        "CREATE TABLE IF NOT EXISTS _trueup_write_behind (journal BLOB PRIMARY KEY, \
                         through INTEGER NOT NULL, at_ms INTEGER NOT NULL);
                         CREATE TABLE IF NOT EXISTS _trueup_write_behind_refused (journal BLOB NOT NULL, \
                         sequence INTEGER NOT NULL, class TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, \
                         row TEXT, reason TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (journal, sequence))",
                    )?;
                    let through = conn.query_row(THROUGH, [&journal[..]], |row| row.get::<_, i64>(0)).optional()?;
                    Ok(through.map_or(0, |through| through as u64))
                })
            };
            let written = self.sqlite.write(work).await;
            written.map(|(through, _)| through).map_err(|error| self.failed(error))
        })
    }

    fn apply<'a>(
        &'a self,
        journal: &'a JournalId,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Applied, ApplyError>> {
        Box::pin(async move {
            let work = async |tx: &SqliteTx<'_>| tx.with(|conn| self.apply_all(conn, journal, batch));
            let (found, token) = self.sqlite.write(work).await.map_err(|error| self.failed(error))?;
            match found {
                Found::Done(refused) => Ok(Applied { token, refused }),
                // It was applied before, and the answer was lost.
                Found::Through(through) if through == batch.through => {
                    Ok(Applied { token, refused: Vec::new() })
                }
                Found::Through(through) => Err(ApplyError::Moved(through)),
            }
        })
    }
}

impl std::fmt::Debug for BehindSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BehindSink").field("classes", &self.classes.keys()).finish_non_exhaustive()
    }
}
