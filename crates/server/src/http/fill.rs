//! `POST /v1/lease/{class}/{key}` and `PUT /v1/{class}/{key}`: cache-aside.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use trueup::catalog::CatalogClass;
use trueup_core::{LeaseId, entry::Raw, error::FillError, read::Leased};

use super::{
    App, headers,
    limits::retry_after,
    problem::Problem,
    read::{class_of, found, key_of},
};

/// Under which lease a value is filled.
const LEASE: &str = "trueup-lease";
/// A client that has to wait is told to ask again after this long at most, in seconds: the other may be done long before
/// its lease lapses.
const WAIT_S: u64 = 1;

#[derive(Serialize)]
struct Granted {
    lease: String,
    life_ms: u64,
}

/// 200 with the value, 201 with a lease, or 409 with `Retry-After` while another client loads.
pub(super) async fn lease(State(app): State<App>, uri: Uri, asked: HeaderMap) -> Result<Response, Problem> {
    let class = class_of(&app.node, &uri)?;
    let key = key_of(class, &uri, &asked)?;
    match class.lease(&key).await? {
        Leased::Found(answer) => {
            let answer = answer.into();
            let evidence = headers::evidence(class, &answer, None);
            Ok(found(&asked, &answer, evidence))
        }
        Leased::Granted(lease) => {
            let body = Granted { lease: lease.id.to_string(), life_ms: lease.life.as_millis() as u64 };
            let no_store = [(header::CACHE_CONTROL, "no-store")];
            Ok((StatusCode::CREATED, no_store, Json(body)).into_response())
        }
        Leased::Wait { lapses_in } => {
            let detail = format!(
                "another client is loading it; ask again soon, its lease lapses in {} ms",
                lapses_in.as_millis()
            );
            let mut response = Problem::new(StatusCode::CONFLICT, "leased", detail).into_response();
            response.headers_mut().extend(retry_after(WAIT_S));
            Ok(response)
        }
    }
}

/// 204 once the value is kept. An empty body says that there is no such thing.
pub(super) fn fill(
    class: &CatalogClass,
    uri: &Uri,
    asked: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let key = key_of(class, uri, asked)?;
    let body =
        body.map_err(|error| Problem::new(error.status(), "bad-body", "the body could not be read"))?;
    let lease = asked.get(LEASE).ok_or_else(|| {
        Problem::bad_request(
            "no-lease",
            "send the header `Trueup-Lease` with the lease from POST /v1/lease/CLASS/KEY",
        )
    })?;
    let lease: LeaseId =
        lease.to_str().ok().and_then(|text| text.parse().ok()).ok_or(FillError::LeaseLost)?;
    class.fill(&key, lease, (!body.is_empty()).then_some(Raw(body)))?;
    Ok(StatusCode::NO_CONTENT)
}
