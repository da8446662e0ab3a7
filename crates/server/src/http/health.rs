//! `/livez`, `/readyz`, `/metrics`, `/v1/status`.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{App, limits::retry_after, problem::Problem};
use crate::metrics;

const NO_STORE: [(header::HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];

pub(super) async fn livez() -> impl IntoResponse {
    (NO_STORE, "ok\n")
}

pub(super) async fn readyz(State(app): State<App>) -> Response {
    match app.node.not_ready() {
        None => (NO_STORE, format!("ready\n{}", app.node.filters_in_the_making())).into_response(),
        Some(reason) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", reason);
            (retry_after(1), problem).into_response()
        }
    }
}

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let text = app.metrics.render().map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "the metrics could not be written")
    })?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

pub(super) async fn status(State(app): State<App>) -> impl IntoResponse {
    (NO_STORE, Json(app.node.status()))
}
