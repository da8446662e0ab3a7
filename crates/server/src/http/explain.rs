//! `GET /v1/explain/{class}/{key}`: what memory and the remote tier hold under a key, and why it would or would not be served.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::IntoResponse,
};

use super::{App, problem::Problem, read};
use crate::node::explain;

pub(super) async fn explain(
    State(app): State<App>,
    uri: Uri,
    asked: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let class = read::class_of(&app.node, &uri)?;
    let key = read::key_of(class, &uri, &asked)?;
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(explain::explain(&app.node, class, &key).await)))
}
