//! What PostgreSQL's errors mean for the caller.

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, SqlState};

use crate::store::{StoreError, StoreErrorKind};

/// An error outside COMMIT: nothing was committed.
pub(super) fn failed(doing: &str, error: &tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(db) => {
            StoreError::new(kind(db.code()), format!("{doing}: {}", told(db))).of_constraint(db.constraint())
        }
        // A broken connection, or a parameter that does not fit its column.
        None if error.is_closed() || std::error::Error::source(error).is_some_and(is_io) => {
            StoreError::new(StoreErrorKind::Unavailable, format!("{doing}: the connection broke: {error}"))
        }
        None => StoreError::new(StoreErrorKind::Usage, format!("{doing}: {}", with_source(error))),
    }
}

/// An error of COMMIT itself.
pub(super) fn unknown(error: &tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        // The server said no, or stands without having begun to.
        Some(db) if *db.code() == SqlState::IN_FAILED_SQL_TRANSACTION => StoreError::new(
            StoreErrorKind::Usage,
            "committing: rolled back, because one of the transaction's statements had failed; return that error instead",
        ),
        Some(db) if !ends_the_connection(db.code()) => failed("committing", error),
        _ => StoreError::new(
            StoreErrorKind::Unknown,
            format!("committing: the connection broke, so it is open whether it happened: {error}"),
        ),
    }
}

pub(super) fn pool_failed(error: &PoolError) -> StoreError {
    let (why, fix) = match error {
        PoolError::Backend(error) => (with_source(error), "check that it is up, and its address and role"),
        PoolError::Timeout(_) => (error.to_string(), "is the pool large enough?"),
        _ => (error.to_string(), "is it up?"),
    };
    StoreError::new(StoreErrorKind::Unavailable, format!("no connection to PostgreSQL: {why}; {fix}"))
}

fn kind(code: &SqlState) -> StoreErrorKind {
    match *code {
        SqlState::UNIQUE_VIOLATION => StoreErrorKind::Unique,
        // Other constraints, of class 23.
        SqlState::CHECK_VIOLATION | SqlState::FOREIGN_KEY_VIOLATION | SqlState::NOT_NULL_VIOLATION => {
            StoreErrorKind::Constraint
        }
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED => StoreErrorKind::Busy,
        // Connection, resources, operator intervention, system; a primary that became a standby.
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
            StoreErrorKind::Unavailable
        }
        _ if ["08", "53", "57", "58", "XX"].iter().any(|class| code.code().starts_with(class)) => {
            StoreErrorKind::Unavailable
        }
        _ if code.code().starts_with("23") => StoreErrorKind::Constraint,
        _ => StoreErrorKind::Usage,
    }
}

fn ends_the_connection(code: &SqlState) -> bool {
    ["08", "57", "58", "XX"].iter().any(|class| code.code().starts_with(class))
}

/// What may be told. Messages of the classes 22 and 23 quote values.
fn told(db: &DbError) -> String {
    let code = db.code().code();
    if code.starts_with("22") || code.starts_with("23") {
        let place = [db.table(), db.column(), db.constraint()];
        let place = place.iter().flatten().copied().collect::<Vec<_>>().join(" ");
        return format!("PostgreSQL refused a value ({code}) {place}").trim_end().to_owned();
    }
    format!("{} ({code})", db.message())
}

fn is_io(source: &(dyn std::error::Error + 'static)) -> bool {
    source.is::<std::io::Error>()
}

fn with_source(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
