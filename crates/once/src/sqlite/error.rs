//! What SQLite's errors mean for the caller.

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::{StoreError, StoreErrorKind};

pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(super) fn failed(doing: &str, error: &Error) -> StoreError {
    let Error::SqliteFailure(code, message) = error else {
        return StoreError::new(StoreErrorKind::Usage, format!("{doing}: {}", told(error)));
    };
    let message = message.as_deref().unwrap_or_default();
    let kind = match (code.code, code.extended_code) {
        (
            _,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
        ) => StoreErrorKind::Unique,
        (ErrorCode::ConstraintViolation, _) => StoreErrorKind::Constraint,
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreErrorKind::Busy,
        (
            ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory,
            _,
        ) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Usage,
    };
    // `UNIQUE constraint failed: table.column, ...`
    let constraint = message.split_once("constraint failed: ").map(|(_, columns)| columns);
    StoreError::new(kind, format!("{doing}: {message} ({code})")).of_constraint(constraint)
}

/// An error without its statement, which may hold what a caller wrote into it.
fn told(error: &Error) -> String {
    match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}
