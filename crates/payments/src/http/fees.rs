//! The fee table.

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
    FeeView, Kind, Problem,
    auth::Who,
    body::{At, Body},
    common::{Names, Problems, Wanted, look_up, precondition},
    receipt::{show, shown, with_token},
};
use crate::{
    cache::Tenant,
    domain::{AMOUNT_MINOR_MAX, Action, Currency, Fee, Id},
    service::{App, Undone, failure, in_one_transaction, session_holds},
    store::{self, DatabaseTx, Locked},
};

/// A line of the fee table, for display.
#[utoipa::path(get, path = "/fees/{kind}/{currency}", tag = "fees", security(("bearer" = [])),
    params(("kind" = String, Path), ("currency" = String, Path), ("Trueup-Token" = Option<String>, Header)),
    responses((status = 200, body = FeeView), (status = 304, description = "You have this version"), Problems))]
pub(super) async fn get(
    State(app): State<App>,
    Who(session): Who,
    headers: HeaderMap,
    At((kind, currency)): At<(String, Currency)>,
) -> Response {
    let key = Scoped::new(Tenant(session.tenant.clone()), (kind, currency.code().to_owned()));
    match show(&app.shown.fees, &key, &headers).await {
        Ok((answer, evidence)) => match answer.value() {
            Some(fee) => shown(&headers, evidence, fee.version, FeeView::of(fee)),
            None => Problem::new(Kind::NotFound, "there is no such fee").into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

/// What a service is to cost.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetFee {
    /// The fixed part, in minor units.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000i64)]
    fixed: i64,
    /// The part that grows with the amount, in millionths of it.
    #[schema(minimum = 0, maximum = 1_000_000)]
    rate_ppm: i64,
}

impl Names for SetFee {
    fn id(&self) -> Option<Id> {
        None
    }
}

/// Sets a line of the fee table: under the version that the change is based on.
#[utoipa::path(patch, path = "/fees/{kind}/{currency}", tag = "fees", security(("bearer" = [])),
    params(("kind" = String, Path), ("currency" = String, Path), ("Idempotency-Key" = String, Header), ("If-Match" = String, Header)),
    request_body = SetFee,
    responses((status = 200, body = FeeView),
        (status = 412, description = "The fee has moved on", content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing", content_type = "application/problem+json"), Problems))]
pub(super) async fn set(
    State(app): State<App>,
    who: Who,
    keyed: Keyed,
    headers: HeaderMap,
    At((kind, currency)): At<(String, Currency)>,
    Body(body): Body<SetFee>,
) -> Response {
    if let Err(problem) = who.may(Action::SetFees) {
        return problem.into_response();
    }
    if !(0..=AMOUNT_MINOR_MAX).contains(&body.fixed) || !(0..=Fee::RATE_PPM_MAX).contains(&body.rate_ppm) {
        return Problem::new(Kind::BadBody, "`fixed` or `rate_ppm` is out of bounds").into_response();
    }
    let Who(session) = who;
    let wanted = Wanted {
        kind: "fee",
        method: "PATCH",
        route: "/fees/{kind}/{currency}",
        parameter: Some(("fee", format!("{kind}/{currency}"))),
        location: format!("/fees/{kind}/{currency}"),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let row = async {
        let tx = app.database().begin_read().await?;
        store::see_fee(&tx, &session.tenant, &kind, currency).await
    };
    let seen = match row.await {
        Ok(Some(row)) => row,
        Ok(None) => return Problem::new(Kind::NotFound, "there is no such fee").into_response(),
        Err(error) => return failure(&app, error),
    };
    if let Some(answer) = precondition(&app, &headers, seen.version) {
        return answer;
    }
    let fee = Fee { fixed_minor: body.fixed, rate_ppm: body.rate_ppm, ..seen };
    let asked = Arc::new((session, fee));
    let response = in_one_transaction(&app, &admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { apply(&asked.0, &asked.1, tx).await })
    })
    .await;
    with_token(&app, response).await
}

async fn apply(
    session: &crate::domain::Session,
    fee: &Fee,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    session_holds(&Locked::new(tx), tx, session).await?;
    let Some(version) = store::set_fee(tx, fee).await? else {
        let now = store::see_fee(tx, &fee.tenant, &fee.kind, fee.currency).await?;
        let problem = Problem::new(Kind::Conflict, "the fee changed while this was asked; look at it again");
        return Err(now.map_or(problem.clone(), |fee| problem.version(fee.version)).into());
    };
    let fee = Fee { version, ..fee.clone() };
    Ok(StoredResponse::new(200, FeeView::of(&fee).json()?)?
        .header("content-type", b"application/json")?
        .header("etag", etag(version).as_bytes())?
        .header("cache-control", b"no-store")?)
}
