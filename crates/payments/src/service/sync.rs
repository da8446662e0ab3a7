//! Operations whose effects are all in the database: claim, effects, answer, in one transaction.

use axum::response::{IntoResponse as _, Response};
use once::{
    StoredResponse,
    http::{Admitted, Begun, respond},
    store::{Owned as _, Store as _},
};
use trueup::engine::env::BoxFuture;

use super::{App, outside::after_all};
use crate::{
    domain::{Action, Id, KycStatus, Role, Session},
    error::Failed,
    http::{Kind, Problem},
    store::{DatabaseTx, KycOf, Locked, SessionOf, now_ms},
};

/// Attempts at one transaction before the client is told to come back.
const ATTEMPTS_MAX: u32 = 4;

/// Why an operation under a claim was not done. Everything is rolled back, the claim too, and nothing is kept.
#[derive(Debug)]
pub(crate) enum Undone {
    /// Told to the client, and not kept: the same key may be used again.
    Told(Box<Problem>),
    /// The database.
    Failed(Failed),
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

/// Claims the key of `admitted`, runs `work`, keeps its answer and commits, in one transaction; again where the database asks for it.
pub(crate) async fn in_one_transaction<F>(app: &App, admitted: &Admitted, mut work: F) -> Response
where
    F: for<'a> FnMut(&'a DatabaseTx) -> BoxFuture<'a, Result<StoredResponse, Undone>> + Send,
{
    let mut attempt = 1;
    loop {
        match try_once(app, admitted, &mut work).await {
            Ok(response) => return response,
            Err(Undone::Told(problem)) => return problem.into_response(),
            // Whether it was committed is known to the database alone.
            Err(Undone::Failed(error)) if error.is_unknown() => return after_all(app, admitted, error).await,
            Err(Undone::Failed(error)) if error.is_transient() && attempt < ATTEMPTS_MAX => attempt += 1,
            Err(Undone::Failed(error)) => return failure(app, error),
        }
    }
}

async fn try_once<F>(app: &App, admitted: &Admitted, work: &mut F) -> Result<Response, Undone>
where
    F: for<'a> FnMut(&'a DatabaseTx) -> BoxFuture<'a, Result<StoredResponse, Undone>> + Send,
{
    let tx = app.database().begin().await?;
    let held = match app.gate.claim(&tx, admitted).await {
        // Nothing is between the claim and the answer, so one that was taken over has done nothing.
        Ok(Begun::New(held) | Begun::Resume(held)) => held,
        Err(answer) => {
            drop(tx);
            return Ok(app.gate.tell(admitted.request().scope().principal(), answer).await);
        }
    };
    let response = work(&tx).await?;
    app.once.finish(&tx, &held, &response).await?;
    tx.commit().await?;
    Ok(respond(&response))
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
