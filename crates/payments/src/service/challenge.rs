//! One-time passwords: sent, and checked against the database alone.

use std::sync::Arc;

use axum::response::Response;
use once::{
    StoredResponse,
    http::Admitted,
    store::{Owned as _, Store as _},
};

use super::{App, CODE_LIFE, OtpAnswer, Undone, failure, in_one_transaction, session_holds};
use crate::{
    domain::{Id, Money, Role, Session, new_code},
    error::Failed,
    http::{ChallengeView, Kind, Problem, created},
    store::{self, DatabaseTx, Locked, OtpOf},
};

/// Sends a code to the person of the session.
///
/// Safe to repeat: under its key one challenge is made, and its code is sent once at most; a code that did not come is asked for anew.
pub(crate) async fn challenge(app: &App, session: &Session, admitted: &Admitted, id: Id) -> Response {
    let code = match new_code() {
        Ok(code) => code,
        Err(error) => return failure(app, error.into()),
    };
    let hash = app.otp_key.hash(id, &code);
    let asked = Arc::new((session.clone(), hash));
    let response = in_one_transaction(app, admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { record(&asked.0, id, &asked.1, tx).await })
    })
    .await;
    let is_new = response.status() == axum::http::StatusCode::CREATED
        && !response.headers().contains_key(once::http::REPLAYED);
    if is_new && let Err(error) = app.delivery.deliver(session.person, id, &code) {
        tracing::warn!(%error, "a code could not be delivered; its person can ask for another");
    }
    response
}

async fn record(
    session: &Session,
    id: Id,
    hash: &crate::domain::OtpHash,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    session_holds(&Locked::new(tx), tx, session).await?;
    store::record_challenge(tx, id, (&session.tenant, session.person), hash, CODE_LIFE).await?;
    let body = ChallengeView::of(id, CODE_LIFE).json()?;
    Ok(created(&format!("/challenges/{id}"), body)?)
}

/// Whether the answer to a challenge is right. The attempt is paid for, and committed, before the codes are compared; a right code
/// is used up by what it allows, in its transaction.
pub(crate) async fn check_code(app: &App, session: &Session, answer: &OtpAnswer) -> Result<bool, Failed> {
    let tx = app.database().begin().await?;
    let locked = Locked::new(&tx);
    let key = OtpOf { id: answer.challenge, tenant: session.tenant.as_str().into(), person: session.person };
    let row = locked.read(&key).await?;
    let Some(otp) = row.value().filter(|otp| otp.is_open()).cloned() else { return Ok(false) };
    store::pay_for_attempt(&tx, otp.id).await?;
    tx.commit().await?;
    Ok(otp.matches(&app.otp_key, &answer.code))
}

/// A customer's large amount uses up a code that was checked.
pub(crate) async fn code_is_used(
    tx: &DatabaseTx,
    session: &Session,
    money: Money,
    challenge: Option<Id>,
) -> Result<(), Undone> {
    let from = store::otp_from(tx, &session.tenant).await?;
    if session.role != Role::Customer || from.is_none_or(|from| money.minor() < from) {
        return Ok(());
    }
    if let Some(challenge) = challenge
        && store::use_code(tx, challenge).await?
    {
        return Ok(());
    }
    let detail = "this amount needs a one-time password that was not used yet";
    Err(Problem::new(Kind::OtpRequired, detail).into())
}
