//! Operations whose effects are all in the database: claim, effects, answer, in one transaction.

use axum::response::{IntoResponse as _, Response};
use once::{Held, StoredResponse, http::Admitted};
use trueup::engine::env::BoxFuture;

use super::App;
use crate::{
    domain::{Action, Id, KycStatus, Role, Session},
    error::Failed,
    http::{Kind, Problem},
    store::{DatabaseTx, KycOf, Locked, SessionOf, now_ms},
};

/// Why an operation under a claim was not done. Everything is rolled back, the claim too, and nothing is kept.
#[derive(Debug)]
pub(crate) enum Undone {
    /// Told to the client, and not kept: the same key may be used again.
    Told(Box<Problem>),
    /// The database.
    Failed(Failed),
}

impl once::Transient for Undone {
    /// The engine runs the whole transaction again then.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_transient())
    }
}

impl<E: Into<Failed>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Problem> for Undone {
    fn from(problem: Problem) -> Self {
        Self::Told(Box::new(problem))
    }
}

/// What a client is told about an error: 409 where others were in the way, else 503; nothing was done.
pub(crate) fn failure(app: &App, error: Failed) -> Response {
    match error {
        Failed::Once(error) => app.gate.failed(&error).into_response(),
        Failed::Busy(_) => {
            Problem::new(Kind::Busy, "another transaction is in the way; ask again").into_response()
        }
        other => {
            tracing::error!(error = %other, "a request failed, and everything was rolled back");
            Problem::new(Kind::Broken, "the service is at fault; nothing was done").into_response()
        }
    }
}

/// Runs `work` under the key of `admitted`; the engine tries again where the database asks for it.
pub(crate) async fn in_one_transaction<F>(app: &App, admitted: &Admitted, work: F) -> Response
where
    F: for<'a> FnMut(&'a DatabaseTx, &'a Held) -> BoxFuture<'a, Result<StoredResponse, Undone>> + Send,
{
    match app.gate.run(admitted, work).await {
        Ok(response) => response,
        Err(Undone::Told(problem)) => problem.into_response(),
        Err(Undone::Failed(error)) => failure(app, error),
    }
}

/// The session, as the database has it in this transaction: what a cache shows of it opens the door, and moves no money.
pub(crate) async fn session_holds(
    locked: &Locked<'_>,
    tx: &DatabaseTx,
    session: &Session,
) -> Result<(), Undone> {
    let key = SessionOf { id: session.id, tenant: session.tenant.as_str().into() };
    let row = locked.read(&key).await?;
    let now_ms = now_ms(tx).await?;
    match row.value() {
        Some(row) if row.is_live(now_ms) && row.role == session.role && row.person == session.person => {
            Ok(())
        }
        _ => Err(Problem::new(Kind::Unauthorized, "the session has ended").into()),
    }
}

/// Customers move money once their identity is known.
pub(crate) async fn identity_is_known(
    locked: &Locked<'_>,
    session: &Session,
) -> Result<Result<(), Problem>, Failed> {
    if session.role != Role::Customer {
        return Ok(Ok(()));
    }
    let kyc = locked.read(&KycOf { person: session.person, tenant: session.tenant.as_str().into() }).await?;
    Ok(match kyc.value().map(|kyc| kyc.status) {
        Some(KycStatus::Verified) => Ok(()),
        _ => Err(Problem::new(Kind::KycRequired, "your identity has not been verified yet")),
    })
}

/// Whether the session may do `action` with what belongs to `owner`.
pub(crate) fn allowed(session: &Session, action: Action, owner: Option<Id>) -> bool {
    session.role.may(action, owner == Some(session.person))
}
