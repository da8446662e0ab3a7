//! Transfers.

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use once::{http::Keyed, store::Store as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    Kind, Problem, TransferView,
    auth::Who,
    body::{At, Body},
    common::{Names, Problems, Wanted, look_up, precondition, state_of},
    receipt::with_token,
};
use crate::{
    domain::{Action, Amount, Currency, Id, Money, Role, Session},
    service::{App, NewTransfer, OtpAnswer, allowed, check_code, failure, transfer},
    store,
};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 140;

/// The answer to a challenge.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Otp {
    /// The challenge.
    #[schema(value_type = String, format = "uuid")]
    challenge: Id,
    /// The code that was sent.
    #[schema(min_length = 6, max_length = 6)]
    code: String,
}

/// Money is to go from one account to another.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTransfer {
    /// The client's own id of this transfer: the same id is never carried out twice, whatever becomes of its key.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
    /// The account that pays.
    #[schema(value_type = String, format = "uuid")]
    from: Id,
    /// The account that is paid.
    #[schema(value_type = String, format = "uuid")]
    to: Id,
    /// Whole minor units (cents).
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000i64)]
    amount: Amount,
    /// ISO 4217.
    #[schema(value_type = String, example = "EUR", min_length = 3, max_length = 3)]
    currency: Currency,
    /// What the payer writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 140)]
    note: Option<String>,
    /// The answer to a challenge, for large amounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    otp: Option<Otp>,
}

impl Names for CreateTransfer {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

/// Makes a transfer. With `If-Match` only if the paying account is still at that version.
#[utoipa::path(post, path = "/transfers", tag = "transfers", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "Drawn anew for each transfer, repeated in each retry; kept for 30 days")),
    request_body = CreateTransfer,
    responses((status = 201, body = TransferView), (status = 200, body = TransferView, description = "Was made before under another key"),
        (status = 402, description = "Declined: not enough to spend", content_type = "application/problem+json"),
        (status = 412, description = "The account has moved on", content_type = "application/problem+json"), Problems))]
pub(super) async fn create(
    State(app): State<App>,
    Who(session): Who,
    keyed: Keyed,
    headers: HeaderMap,
    Body(body): Body<CreateTransfer>,
) -> Response {
    if body.from == body.to {
        return Problem::new(Kind::BadBody, "`from` and `to` are the same account").into_response();
    }
    if let Err(problem) = note_in_bounds(body.note.as_deref()) {
        return problem.into_response();
    }
    if !session.role.may(Action::Pay, true) {
        return Problem::new(Kind::Forbidden, "your role moves no money").into_response();
    }
    let wanted = Wanted {
        kind: "transfer",
        method: "POST",
        route: "/transfers",
        parameter: None,
        location: format!("/transfers/{}", body.id),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let from_version = match seen_version(&app, &session, &headers, body.from).await {
        Ok(version) => version,
        Err(answer) => return answer,
    };
    let challenge = match checked_code(&app, &session, body.otp.as_ref()).await {
        Ok(challenge) => challenge,
        Err(answer) => return answer,
    };
    let new = NewTransfer {
        id: body.id,
        from: body.from,
        to: body.to,
        money: Money { amount: body.amount, currency: body.currency },
        note: body.note,
        from_version,
        challenge,
    };
    let response = transfer(&app, &session, &admitted, &new).await;
    with_token(&app, response).await
}

pub(super) fn note_in_bounds(note: Option<&str>) -> Result<(), Problem> {
    if note.is_none_or(|note| note.len() <= NOTE_BYTES_MAX && !note.chars().any(char::is_control)) {
        return Ok(());
    }
    let detail = format!("`note` has at most {NOTE_BYTES_MAX} bytes and no control characters");
    Err(Problem::new(Kind::BadBody, detail))
}

/// The challenge whose code was sent along and is right. A wrong one is told to customers; nobody else needs one.
pub(super) async fn checked_code(
    app: &App,
    session: &Session,
    otp: Option<&Otp>,
) -> Result<Option<Id>, Response> {
    let Some(otp) = otp else { return Ok(None) };
    let answer = OtpAnswer { challenge: otp.challenge, code: Zeroizing::new(otp.code.clone()) };
    match check_code(app, session, &answer).await {
        Ok(true) => Ok(Some(otp.challenge)),
        Ok(false) if session.role == Role::Customer => {
            let detail = "the code is wrong, late or used; ask for another";
            Err(Problem::new(Kind::OtpRequired, detail).into_response())
        }
        Ok(false) => Ok(None),
        Err(error) => Err(failure(app, error)),
    }
}

/// The version of the paying account, where the client demands one.
async fn seen_version(
    app: &App,
    session: &Session,
    headers: &HeaderMap,
    account: Id,
) -> Result<Option<i64>, Response> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let row = async {
        let tx = app.database().begin_read().await?;
        store::see_account(&tx, &session.tenant, account).await
    };
    let row = row.await.map_err(|error| failure(app, error))?;
    let Some(row) = row.filter(|row| allowed(session, Action::See, row.owner)) else {
        return Err(Problem::new(Kind::UnknownAccount, "there is no account `from`").into_response());
    };
    match precondition(app, headers, row.version) {
        Some(answer) => Err(answer),
        None => Ok(Some(row.version)),
    }
}

/// A transfer that was made.
#[utoipa::path(get, path = "/transfers/{id}", tag = "transfers", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = TransferView), Problems))]
pub(super) async fn get(State(app): State<App>, Who(session): Who, At(id): At<Id>) -> Response {
    let seen = async {
        let tx = app.database().begin_read().await?;
        let Some(row) = store::see_transfer(&tx, &session.tenant, id).await? else { return Ok(false) };
        for account in [row.from, row.to] {
            let account = store::see_account(&tx, &session.tenant, account).await?;
            if account.is_some_and(|account| allowed(&session, Action::See, account.owner)) {
                return Ok(true);
            }
        }
        Ok::<_, crate::error::Failed>(false)
    };
    match seen.await {
        Ok(true) => {}
        Ok(false) => return Problem::new(Kind::NotFound, "there is no such transfer").into_response(),
        Err(error) => return failure(&app, error),
    }
    match state_of(app.database(), &session.tenant, &format!("/transfers/{id}")).await {
        Ok(Some(response)) => response,
        Ok(None) => Problem::new(Kind::NotFound, "there is no such transfer").into_response(),
        Err(error) => failure(&app, error),
    }
}
