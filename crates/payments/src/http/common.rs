//! What several routes share: requests under a key, answers by location.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use once::{
    BusinessId, Fingerprint, OnceError, Request, StoredResponse,
    http::{Admitted, Keyed, etag},
    store::Store as _,
};
use serde::Serialize;
use utoipa::IntoResponses;

use super::{AccountView, PaymentView, RefundView, StandingOrderView, TransferView};
use crate::{
    domain::Id,
    error::Failed,
    service::{App, failure},
    store::{self, Database},
};

/// The version of the API that fingerprints are made for.
const API_VERSION: u32 = 1;
/// Members of bodies that do not decide what is done, and are not kept even as a digest.
const NOT_FINGERPRINTED: [&str; 1] = ["otp"];

/// What every route may answer besides its own outcomes.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "for the document alone")]
pub(super) enum Problems {
    /// The request is not one: key, body, header or parameter.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest,
    /// No bearer token, or one that does not hold.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized,
    /// The role does not allow it, or more is needed: a verified identity, a one-time password.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden,
    /// There is no such thing in your tenant.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound,
    /// The route takes other methods.
    #[response(status = 405, content_type = "application/problem+json")]
    WrongMethod,
    /// The body did not arrive in time.
    #[response(status = 408, content_type = "application/problem+json")]
    SlowBody,
    /// The first request with this key is under way, the version changed meanwhile, or others are in the way.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict,
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge,
    /// The body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson,
    /// The key or the id was used for something else, or the books do not allow it.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable,
    /// Too many requests.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany,
    /// The service cannot answer now; nothing was done.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable,
}

/// A body of a request under a key.
pub(super) trait Names: Serialize {
    /// The client's id of what is to be made, if something is.
    fn id(&self) -> Option<Id>;
}

/// What is asked for under a key: `kind` and `location` of what is to be made, for finding it by its id ever after.
pub(super) struct Wanted<'a, B> {
    pub(super) kind: &'a str,
    pub(super) method: &'a str,
    pub(super) route: &'a str,
    /// A parameter of the route that decides what is done.
    pub(super) parameter: Option<(&'a str, String)>,
    pub(super) location: String,
    pub(super) tenant: &'a str,
    pub(super) body: &'a B,
}

/// Looks the key up, after the body was checked: a repeat is answered here.
pub(super) async fn look_up<B: Names>(
    app: &App,
    Keyed(scope): Keyed,
    wanted: Wanted<'_, B>,
) -> Result<Admitted, Response> {
    let request = || {
        let mut print = Fingerprint::of(API_VERSION, wanted.method, wanted.route);
        if let Some((name, value)) = &wanted.parameter {
            print = print.parameter(name, value);
        }
        let print = print.body(wanted.body, &NOT_FINGERPRINTED)?;
        let request = Request::new(scope.clone(), print);
        let Some(id) = wanted.body.id() else { return Ok(request) };
        let namespace = format!("{}/{}", wanted.kind, wanted.tenant);
        Ok(request.business(BusinessId::new(&namespace, &id.text(), &wanted.location)?))
    };
    let request = request().map_err(|error: OnceError| failure(app, error.into()))?;
    match app.gate.look_up(request).await {
        Ok(admitted) => Ok(admitted),
        Err(answer) => Err(app.gate.tell(scope.principal(), answer).await),
    }
}

/// 201 with the place of what was made, as it is kept.
pub(crate) fn created(location: &str, body: Vec<u8>) -> Result<StoredResponse, OnceError> {
    StoredResponse::new(StatusCode::CREATED.as_u16(), body)?
        .header("content-type", b"application/json")?
        .header("location", location.as_bytes())?
        .header("cache-control", b"no-store")
}

/// How what is at `location` stands now, by the database: 202 while its outcome is not known.
pub(crate) async fn state_of(
    database: &Database,
    tenant: &str,
    location: &str,
) -> Result<Option<Response>, Failed> {
    let Some((kind, id)) = location.trim_start_matches('/').split_once('/') else { return Ok(None) };
    let Ok(id) = id.parse::<Id>() else { return Ok(None) };
    let tx = database.begin_read().await?;
    let response = match kind {
        "payments" => {
            store::see_payment(&tx, tenant, id).await?.map(|row| payment_state(&row, StatusCode::ACCEPTED))
        }
        "refunds" => {
            store::see_refund(&tx, tenant, id).await?.map(|row| refund_state(&row, StatusCode::ACCEPTED))
        }
        "transfers" => store::see_transfer(&tx, tenant, id)
            .await?
            .map(|row| Json(TransferView::of(&row)).into_response()),
        "standing-orders" => store::see_standing_order(&tx, tenant, id)
            .await?
            .map(|row| state(true, row.version, StandingOrderView::of(&row), StatusCode::OK)),
        "accounts" => store::see_account(&tx, tenant, id)
            .await?
            .map(|row| state(true, row.version, AccountView::of(&row), StatusCode::OK)),
        _ => None,
    };
    Ok(response.map(|mut response| {
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::from_str(location) {
            headers.insert(header::LOCATION, location);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }))
}

pub(super) fn payment_state(row: &crate::domain::Payment, unfinished: StatusCode) -> Response {
    state(row.is_finished(), row.version, PaymentView::of(row), unfinished)
}

pub(super) fn refund_state(row: &crate::domain::Refund, unfinished: StatusCode) -> Response {
    state(row.is_finished(), row.version, RefundView::of(row), unfinished)
}

/// The state of an operation, read from the database: no cache keeps it, ours or another's.
fn state(is_finished: bool, version: i64, view: impl Serialize, unfinished: StatusCode) -> Response {
    let mut response = Json(view).into_response();
    if !is_finished {
        *response.status_mut() = unfinished;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(tag) = HeaderValue::try_from(etag(version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Checks `If-Match` against the current version before the claim; the answer where it does not hold: 428, or 412 with the version that
/// there is.
pub(super) fn precondition(app: &App, headers: &axum::http::HeaderMap, current: i64) -> Option<Response> {
    let checked = once::http::if_match(headers, current, app.gate.docs());
    checked.err().map(|problem| problem.into_response())
}
