//! Accounts: opened, shown by way of the cache, changed under a version.

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
use trueup::Scoped;
use utoipa::{IntoParams, ToSchema};

use super::{
    AccountView, Kind, Problem, StatementLineView, StatementView,
    auth::Who,
    body::{Asked, At, Body},
    common::{Names, Problems, Wanted, created, look_up, precondition},
    receipt::{demands_the_source, from_the_source, show, shown, with_token},
};
use crate::{
    cache::Tenant,
    domain::{AMOUNT_MINOR_MAX, AccountKind, AccountStatus, Action, Currency, Id},
    error::Failed,
    service::{App, Undone, allowed, failure, in_one_transaction, session_holds},
    store::{self, DatabaseTx, Locked, NewAccount, WalletOf},
};

/// Lines of a page of a statement, at most.
const LINES_MAX: u32 = 200;
/// Lines of a page, unless stated.
const LINES_DEFAULT: u32 = 50;

/// A wallet is to be opened.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenAccount {
    /// The client's own id of the account.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
    /// Whose it is to be.
    #[schema(value_type = String, format = "uuid")]
    owner: Id,
    /// ISO 4217.
    #[schema(value_type = String, example = "EUR", min_length = 3, max_length = 3)]
    currency: Currency,
    /// How far below zero it may go, in minor units.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000i64)]
    overdraft: i64,
}

/// What is to change; what is not named stays.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeAccount {
    /// `open`, `frozen` or `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    status: Option<AccountStatus>,
    /// How far below zero it may go, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000i64)]
    overdraft: Option<i64>,
}

impl Names for OpenAccount {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

impl Names for ChangeAccount {
    fn id(&self) -> Option<Id> {
        None
    }
}

fn overdraft_in_bounds(overdraft: i64) -> Result<(), Problem> {
    if (0..=AMOUNT_MINOR_MAX).contains(&overdraft) {
        return Ok(());
    }
    Err(Problem::new(Kind::BadBody, format!("`overdraft` is from 0 to {AMOUNT_MINOR_MAX} minor units")))
}

/// Opens a wallet.
#[utoipa::path(post, path = "/accounts", tag = "accounts", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header)), request_body = OpenAccount,
    responses((status = 201, body = AccountView),
        (status = 200, body = AccountView, description = "Was opened before under another key; this is how it stands"), Problems))]
pub(super) async fn open(
    State(app): State<App>,
    who: Who,
    keyed: Keyed,
    Body(body): Body<OpenAccount>,
) -> Response {
    let checked = who.may(Action::KeepAccounts).and_then(|()| overdraft_in_bounds(body.overdraft));
    if let Err(problem) = checked {
        return problem.into_response();
    }
    let Who(session) = who;
    let location = format!("/accounts/{}", body.id);
    let wanted = Wanted {
        kind: "account",
        method: "POST",
        route: "/accounts",
        parameter: None,
        location: location.clone(),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let asked = Arc::new((session, body, location));
    let response = in_one_transaction(&app, &admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { record_new(&asked.0, &asked.1, &asked.2, tx).await })
    })
    .await;
    with_token(&app, response).await
}

async fn record_new(
    session: &crate::domain::Session,
    body: &OpenAccount,
    location: &str,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    session_holds(&Locked::new(tx), tx, session).await?;
    if !store::has_person(tx, &session.tenant, body.owner).await? {
        return Ok(Problem::new(Kind::NotFound, "there is no such person").stored()?);
    }
    let new = NewAccount {
        id: body.id,
        tenant: &session.tenant,
        owner: body.owner,
        currency: body.currency,
        overdraft: body.overdraft,
    };
    match store::open_account(tx, &new).await {
        Err(error) if error.is_duplicate() => {
            return Err(Problem::new(Kind::IdTaken, "this id is taken; choose another").into());
        }
        other => other?,
    }
    let row = store::see_account(tx, &session.tenant, body.id).await?;
    let row = row.ok_or_else(|| Failed::Broken("an account that was opened is not there".to_owned()))?;
    Ok(created(location, AccountView::of(&row).json()?)?)
}

/// An account for display, by way of the cache: at most a second behind, and with `Trueup-Token` never behind what the token stands
/// for. With `Cache-Control: no-cache` from the database. Nothing is decided on it either way.
#[utoipa::path(get, path = "/accounts/{id}", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), ("Trueup-Token" = Option<String>, Header, description = "Reflect the write that this token stands for")),
    responses((status = 200, body = AccountView, headers(
            ("ETag" = String, description = "The version"), ("Age" = u64, description = "Everything committed longer ago is reflected, in seconds"),
            ("Fetched-At-Ms" = u64, description = "The time for which this is known to be true"),
            ("Cache-Status" = String, description = "RFC 9211"), ("Trueup-Token" = String, description = "To go on with"))),
        (status = 304, description = "You have this version"), Problems))]
pub(super) async fn get(
    State(app): State<App>,
    Who(session): Who,
    headers: HeaderMap,
    At(id): At<Id>,
) -> Response {
    let seen = if demands_the_source(&headers) {
        let row = async {
            let tx = app.database().begin_read().await?;
            store::see_account(&tx, &session.tenant, id).await
        };
        row.await.map(|row| (row, from_the_source())).map_err(|error| failure(&app, error))
    } else {
        let key = Scoped::new(Tenant(session.tenant.clone()), id.text());
        let answer = show(&app.shown.balances, &key, &headers).await;
        answer
            .map(|(answer, evidence)| (answer.value().cloned(), evidence))
            .map_err(|problem| problem.into_response())
    };
    let (row, evidence) = match seen {
        Ok(seen) => seen,
        Err(answer) => return answer,
    };
    let row = row.filter(|row| row.tenant == session.tenant && allowed(&session, Action::See, row.owner));
    let Some(row) = row else {
        return Problem::new(Kind::UnknownAccount, "there is no such account").into_response();
    };
    let mut view = AccountView::of(&row);
    if row.kind != AccountKind::Wallet {
        // The sum of its entries: nobody's balance, asked for rarely, and by the tenant's own people alone.
        let sum = async {
            let tx = app.database().begin_read().await?;
            store::sum_of_entries(&tx, id).await
        };
        match sum.await {
            Ok(sum) => (view.balance, view.available) = (sum, sum),
            Err(error) => return failure(&app, error),
        }
    }
    shown(&headers, evidence, view.version, view)
}

/// Freezes, opens or closes an account, or sets its overdraft: under the version that the change is based on.
#[utoipa::path(patch, path = "/accounts/{id}", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), ("Idempotency-Key" = String, Header), ("If-Match" = String, Header)),
    request_body = ChangeAccount,
    responses((status = 200, body = AccountView),
        (status = 412, description = "The account has moved on", content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", content_type = "application/problem+json"), Problems))]
pub(super) async fn change(
    State(app): State<App>,
    who: Who,
    keyed: Keyed,
    headers: HeaderMap,
    At(id): At<Id>,
    Body(body): Body<ChangeAccount>,
) -> Response {
    let checked =
        who.may(Action::KeepAccounts).and_then(|()| overdraft_in_bounds(body.overdraft.unwrap_or_default()));
    if let Err(problem) = checked {
        return problem.into_response();
    }
    let Who(session) = who;
    let wanted = Wanted {
        kind: "account change",
        method: "PATCH",
        route: "/accounts/{id}",
        parameter: Some(("id", id.text())),
        location: format!("/accounts/{id}"),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let row = async {
        let tx = app.database().begin_read().await?;
        store::see_account(&tx, &session.tenant, id).await
    };
    let seen = match row.await {
        Ok(Some(row)) if row.kind == AccountKind::Wallet => row.version,
        Ok(_) => return Problem::new(Kind::UnknownAccount, "there is no such wallet").into_response(),
        Err(error) => return failure(&app, error),
    };
    if let Some(answer) = precondition(&app, &headers, seen) {
        return answer;
    }
    let asked = Arc::new((session, body));
    let response = in_one_transaction(&app, &admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { apply(&asked.0, id, seen, &asked.1, tx).await })
    })
    .await;
    with_token(&app, response).await
}

async fn apply(
    session: &crate::domain::Session,
    id: Id,
    seen: i64,
    body: &ChangeAccount,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    let account = locked.read(&WalletOf { id, tenant: session.tenant.as_str().into() }).await?;
    let Some(row) = account.value() else {
        return Err(Problem::new(Kind::UnknownAccount, "there is no such wallet").into());
    };
    let overdraft = body.overdraft.unwrap_or(row.overdraft);
    if i128::from(row.balance) - i128::from(row.held) + i128::from(overdraft) < 0 {
        return Ok(
            Problem::new(Kind::InsufficientFunds, "the account is further below zero than that").stored()?
        );
    }
    let status = body.status.unwrap_or(row.status);
    let lost = || {
        Problem::new(Kind::Conflict, "the account changed while this was asked; look at it again")
            .version(row.version)
    };
    let version = store::set_account(tx, id, seen, status, overdraft).await?.ok_or_else(lost)?;
    let row = crate::domain::Account { status, overdraft, version, ..row.clone() };
    Ok(StoredResponse::new(200, AccountView::of(&row).json()?)?
        .header("content-type", b"application/json")?
        .header("etag", etag(version).as_bytes())?
        .header("cache-control", b"no-store")?)
}

/// Which page of a statement.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Lines before this place: `next_before` of the page before.
    before: Option<i64>,
    /// How many, 200 at most.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// What was posted to an account, the latest first, by the database.
#[utoipa::path(get, path = "/accounts/{id}/statement", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), Page),
    responses((status = 200, body = StatementView), Problems))]
pub(super) async fn statement(
    State(app): State<App>,
    Who(session): Who,
    At(id): At<Id>,
    Asked(page): Asked<Page>,
) -> Response {
    let limit = page.limit.unwrap_or(LINES_DEFAULT);
    if !(1..=LINES_MAX).contains(&limit) {
        return Problem::new(Kind::BadParameter, format!("`limit` is from 1 to {LINES_MAX}")).into_response();
    }
    let lines = async {
        let tx = app.database().begin_read().await?;
        let row = store::see_account(&tx, &session.tenant, id).await?;
        if !row.is_some_and(|row| allowed(&session, Action::See, row.owner)) {
            return Ok(None);
        }
        Ok::<_, Failed>(Some(store::statement(&tx, id, page.before, limit).await?))
    };
    let lines = match lines.await {
        Ok(Some(lines)) => lines,
        Ok(None) => return Problem::new(Kind::UnknownAccount, "there is no such account").into_response(),
        Err(error) => return failure(&app, error),
    };
    let full = lines.len() == limit as usize;
    let next_before = lines.last().filter(|_| full).map(|line| line.place);
    let view = StatementView {
        account: id.text(),
        lines: lines.iter().map(StatementLineView::of).collect(),
        next_before,
    };
    let mut response = Json(view).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
