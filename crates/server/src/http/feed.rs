//! What a node tells the others of its fleet.

use axum::{Router, extract::State, http::Uri, response::IntoResponse, routing::get};
use trueup::postgres::fleet::{Fleet, LEDGER_PATH, STREAM_PATH, respond};

use super::App;

/// The stream of messages, and what a new node begins with.
pub(super) fn routes(fleet: Fleet) -> Router<App> {
    Router::new().route(STREAM_PATH, get(tell)).route(LEDGER_PATH, get(tell)).layer(axum::Extension(fleet))
}

async fn tell(
    State(_): State<App>,
    axum::Extension(fleet): axum::Extension<Fleet>,
    uri: Uri,
) -> impl IntoResponse {
    respond(&fleet, &uri).await.map(axum::body::Body::new)
}
