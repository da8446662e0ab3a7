//! Standing orders: recorded here, carried out by a job.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use once::{
    StoredResponse,
    http::{Keyed, etag},
    store::Store as _,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ExecutionsView, Kind, Problem, StandingOrderView,
    auth::Who,
    body::{At, Body},
    common::{Names, Problems, Wanted, look_up, precondition, state_of},
    transfers::{Otp, checked_code, note_in_bounds},
};
use crate::{
    domain::{Action, Amount, Currency, Id, Month, Session, StandingOrder, StandingStatus},
    error::Failed,
    service::{App, Undone, allowed, failure, in_one_transaction, order, session_holds},
    store::{self, DatabaseTx, Locked, StandingOf},
};

/// Days that a month may have.
const DAYS: std::ops::RangeInclusive<u8> = 1..=31;
/// Executions that are told: ten years.
const EXECUTIONS_MAX: u32 = 120;

/// Money is to go from one account to another every month.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateStandingOrder {
    /// The client's own id of this standing order.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
    /// The account that pays.
    #[schema(value_type = String, format = "uuid")]
    from: Id,
    /// The account that is paid.
    #[schema(value_type = String, format = "uuid")]
    to: Id,
    /// Whole minor units (cents), each month.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000i64)]
    amount: Amount,
    /// ISO 4217.
    #[schema(value_type = String, example = "EUR", min_length = 3, max_length = 3)]
    currency: Currency,
    /// On which day of the month; in a shorter month on its last.
    #[schema(minimum = 1, maximum = 31)]
    day: u8,
    /// From which month on.
    #[schema(value_type = String, example = "2026-12", pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    first_month: Month,
    /// What the payer writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 140)]
    note: Option<String>,
    /// The answer to a challenge, for large amounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    otp: Option<Otp>,
}

/// What is to change.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeStandingOrder {
    /// `active` or `ended`.
    #[schema(value_type = String)]
    status: StandingStatus,
}

impl Names for CreateStandingOrder {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

impl Names for ChangeStandingOrder {
    fn id(&self) -> Option<Id> {
        None
    }
}

/// Records a standing order. It is carried out by the job of its name, once in each month; what is there to be spent is decided then.
#[utoipa::path(post, path = "/standing-orders", tag = "standing orders", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "Drawn anew for each order, repeated in each retry; kept for 30 days")),
    request_body = CreateStandingOrder,
    responses((status = 201, body = StandingOrderView),
        (status = 200, body = StandingOrderView, description = "Was recorded before under another key; this is how it stands"), Problems))]
pub(super) async fn create(
    State(app): State<App>,
    Who(session): Who,
    keyed: Keyed,
    Body(body): Body<CreateStandingOrder>,
) -> Response {
    if body.from == body.to {
        return Problem::new(Kind::BadBody, "`from` and `to` are the same account").into_response();
    }
    if !DAYS.contains(&body.day) {
        return Problem::new(Kind::BadBody, "`day` is from 1 to 31").into_response();
    }
    if let Err(problem) = note_in_bounds(body.note.as_deref()) {
        return problem.into_response();
    }
    if !session.role.may(Action::Pay, true) {
        return Problem::new(Kind::Forbidden, "your role moves no money").into_response();
    }
    let wanted = Wanted {
        kind: "standing-order",
        method: "POST",
        route: "/standing-orders",
        parameter: None,
        location: format!("/standing-orders/{}", body.id),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let challenge = match checked_code(&app, &session, body.otp.as_ref()).await {
        Ok(challenge) => challenge,
        Err(answer) => return answer,
    };
    let new = StandingOrder {
        id: body.id,
        tenant: session.tenant.clone(),
        person: session.person,
        role: session.role,
        from: body.from,
        to: body.to,
        minor: body.amount.minor(),
        currency: body.currency,
        note: body.note,
        day: body.day,
        first_month: body.first_month,
        status: StandingStatus::Active,
        version: 1,
    };
    order(&app, &session, &admitted, new, challenge).await
}

/// The order, if the session may see the account that pays.
async fn seen(
    tx: &DatabaseTx,
    session: &Session,
    id: Id,
    action: Action,
) -> Result<Option<StandingOrder>, Failed> {
    let Some(row) = store::see_standing_order(tx, &session.tenant, id).await? else { return Ok(None) };
    let payer = store::see_account(tx, &session.tenant, row.from).await?;
    Ok(payer.is_some_and(|payer| allowed(session, action, payer.owner)).then_some(row))
}

async fn seen_now(app: &App, session: &Session, id: Id, action: Action) -> Result<StandingOrder, Response> {
    let row = async {
        let tx = app.database().begin_read().await?;
        seen(&tx, session, id, action).await
    };
    match row.await {
        Ok(Some(row)) => Ok(row),
        Ok(None) => Err(Problem::new(Kind::NotFound, "there is no such standing order").into_response()),
        Err(error) => Err(failure(app, error)),
    }
}

/// A standing order, by the database.
#[utoipa::path(get, path = "/standing-orders/{id}", tag = "standing orders", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = StandingOrderView), Problems))]
pub(super) async fn get(State(app): State<App>, Who(session): Who, At(id): At<Id>) -> Response {
    if let Err(answer) = seen_now(&app, &session, id, Action::See).await {
        return answer;
    }
    match state_of(app.database(), &session.tenant, &format!("/standing-orders/{id}")).await {
        Ok(Some(response)) => response,
        Ok(None) => Problem::new(Kind::NotFound, "there is no such standing order").into_response(),
        Err(error) => failure(&app, error),
    }
}

/// What a standing order came to in each month, by the database.
#[utoipa::path(get, path = "/standing-orders/{id}/executions", tag = "standing orders", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = ExecutionsView), Problems))]
pub(super) async fn executions(State(app): State<App>, Who(session): Who, At(id): At<Id>) -> Response {
    let rows = async {
        let tx = app.database().begin_read().await?;
        if seen(&tx, &session, id, Action::See).await?.is_none() {
            return Ok(None);
        }
        Ok::<_, Failed>(Some(store::executions(&tx, id, EXECUTIONS_MAX).await?))
    };
    match rows.await {
        Ok(Some(rows)) => {
            let mut response = Json(ExecutionsView::of(id, &rows)).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Ok(None) => Problem::new(Kind::NotFound, "there is no such standing order").into_response(),
        Err(error) => failure(&app, error),
    }
}

/// Ends a standing order, or takes it up again: under the version that the change is based on.
#[utoipa::path(patch, path = "/standing-orders/{id}", tag = "standing orders", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), ("Idempotency-Key" = String, Header), ("If-Match" = String, Header)),
    request_body = ChangeStandingOrder,
    responses((status = 200, body = StandingOrderView),
        (status = 412, description = "The order has moved on", content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", content_type = "application/problem+json"), Problems))]
pub(super) async fn change(
    State(app): State<App>,
    Who(session): Who,
    keyed: Keyed,
    headers: HeaderMap,
    At(id): At<Id>,
    Body(body): Body<ChangeStandingOrder>,
) -> Response {
    if !session.role.may(Action::Pay, true) {
        return Problem::new(Kind::Forbidden, "your role moves no money").into_response();
    }
    let wanted = Wanted {
        kind: "standing order change",
        method: "PATCH",
        route: "/standing-orders/{id}",
        parameter: Some(("id", id.text())),
        location: format!("/standing-orders/{id}"),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let row = match seen_now(&app, &session, id, Action::Pay).await {
        Ok(row) => row,
        Err(answer) => return answer,
    };
    if let Some(answer) = precondition(&app, &headers, row.version) {
        return answer;
    }
    let asked = Arc::new((session, row, body.status));
    in_one_transaction(&app, &admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { apply(&asked.0, &asked.1, asked.2, tx).await })
    })
    .await
}

async fn apply(
    session: &Session,
    seen: &StandingOrder,
    status: StandingStatus,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    let row = locked.read(&StandingOf { id: seen.id, tenant: session.tenant.as_str().into() }).await?;
    let Some(row) = row.value() else {
        return Err(Problem::new(Kind::NotFound, "there is no such standing order").into());
    };
    let lost = || {
        Problem::new(Kind::Conflict, "the order changed while this was asked; look at it again")
            .version(row.version)
    };
    let version = store::set_standing_order(tx, seen.id, seen.version, status).await?.ok_or_else(lost)?;
    let row = StandingOrder { status, version, ..row.clone() };
    Ok(StoredResponse::new(200, StandingOrderView::of(&row).json()?)?
        .header("content-type", b"application/json")?
        .header("etag", etag(version).as_bytes())?
        .header("cache-control", b"no-store")?)
}
