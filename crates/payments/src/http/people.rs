//! People and whether their identity is known.

use std::sync::Arc;

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use once::{
    StoredResponse,
    http::{Keyed, etag},
    store::Store as _,
};
use serde::{Deserialize, Serialize};
use trueup::Scoped;
use utoipa::ToSchema;

use super::{
    Kind, KycView, PersonView, Problem,
    auth::Who,
    body::{At, Body},
    common::{Names, Problems, Wanted, look_up, precondition},
    receipt::{show, shown, with_token},
};
use crate::{
    cache::{Tenant, Viewer, ViewerRole},
    domain::{Action, Id, Kyc, KycStatus},
    service::{App, Undone, allowed, failure, in_one_transaction, session_holds},
    store::{self, DatabaseTx, KycOf, Locked},
};

/// A person. The address is shown to the person and to officers. Personal data: encrypted in the remote tier, and kept apart by tenant, viewer and role.
#[utoipa::path(get, path = "/people/{id}", tag = "people", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), ("Trueup-Token" = Option<String>, Header)),
    responses((status = 200, body = PersonView), (status = 304, description = "You have this version"), Problems))]
pub(super) async fn get(
    State(app): State<App>,
    Who(session): Who,
    headers: HeaderMap,
    At(id): At<Id>,
) -> Response {
    if !allowed(&session, Action::See, Some(id)) {
        return Problem::new(Kind::NotFound, "there is no such person").into_response();
    }
    let scope = (
        Tenant(session.tenant.clone()),
        Viewer(session.person.text()),
        ViewerRole(session.role.as_str().to_owned()),
    );
    match show(&app.shown.people, &Scoped::new(scope, id.text()), &headers).await {
        Ok((answer, evidence)) => match answer.value() {
            Some(person) => shown(&headers, evidence, person.version, PersonView::of(person)),
            None => Problem::new(Kind::NotFound, "there is no such person").into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// Whether a person's identity is known, for display.
#[utoipa::path(get, path = "/people/{id}/kyc", tag = "people", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), ("Trueup-Token" = Option<String>, Header)),
    responses((status = 200, body = KycView), (status = 304, description = "You have this version"), Problems))]
pub(super) async fn get_kyc(
    State(app): State<App>,
    Who(session): Who,
    headers: HeaderMap,
    At(id): At<Id>,
) -> Response {
    if !allowed(&session, Action::See, Some(id)) {
        return Problem::new(Kind::NotFound, "there is no such person").into_response();
    }
    let key = Scoped::new(Tenant(session.tenant.clone()), id.text());
    match show(&app.shown.kyc, &key, &headers).await {
        Ok((answer, evidence)) => match answer.value() {
            Some(kyc) => shown(&headers, evidence, kyc.version, KycView::of(kyc)),
            None => Problem::new(Kind::NotFound, "there is no such person").into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// The outcome of a check.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetKyc {
    /// `pending`, `verified` or `rejected`.
    #[schema(value_type = String)]
    status: KycStatus,
}

impl Names for SetKyc {
    fn id(&self) -> Option<Id> {
        None
    }
}

/// Sets whether a person's identity is known: under the version that the change is based on.
#[utoipa::path(patch, path = "/people/{id}/kyc", tag = "people", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"), ("Idempotency-Key" = String, Header), ("If-Match" = String, Header)),
    request_body = SetKyc,
    responses((status = 200, body = KycView),
        (status = 412, description = "The status has moved on", content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", content_type = "application/problem+json"), Problems))]
pub(super) async fn set_kyc(
    State(app): State<App>,
    who: Who,
    keyed: Keyed,
    headers: HeaderMap,
    At(id): At<Id>,
    Body(body): Body<SetKyc>,
) -> Response {
    if let Err(problem) = who.may(Action::SetKyc) {
        return problem.into_response();
    }
    let Who(session) = who;
    let wanted = Wanted {
        kind: "kyc",
        method: "PATCH",
        route: "/people/{id}/kyc",
        parameter: Some(("id", id.text())),
        location: format!("/people/{id}/kyc"),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let row = async {
        let tx = app.database().begin_read().await?;
        store::see_kyc(&tx, &session.tenant, id).await
    };
    let seen = match row.await {
        Ok(Some(row)) => row.version,
        Ok(None) => return Problem::new(Kind::NotFound, "there is no such person").into_response(),
        Err(error) => return failure(&app, error),
    };
    if let Some(answer) = precondition(&app, &headers, seen) {
        return answer;
    }
    let asked = Arc::new((session, body));
    let response = in_one_transaction(&app, &admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { apply(&asked.0, id, seen, asked.1.status, tx).await })
    })
    .await;
    with_token(&app, response).await
}

async fn apply(
    session: &crate::domain::Session,
    id: Id,
    seen: i64,
    status: KycStatus,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    let Some(version) = store::set_kyc(tx, id, seen, status).await? else {
        let now = locked.read(&KycOf { person: id, tenant: session.tenant.as_str().into() }).await?;
        let problem =
            Problem::new(Kind::Conflict, "the status changed while this was asked; look at it again");
        return Err(now.value().map_or(problem.clone(), |kyc| problem.version(kyc.version)).into());
    };
    let kyc = Kyc { person: id, tenant: session.tenant.clone(), status, version };
    Ok(StoredResponse::new(200, KycView::of(&kyc).json()?)?
        .header("content-type", b"application/json")?
        .header("etag", etag(version).as_bytes())?
        .header("cache-control", b"no-store")?)
}
