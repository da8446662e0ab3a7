//! All routes, and the document that is made of them.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Kind, Problem, accounts, auth::gates, challenges, fees, health, payments, people, sessions, standing,
    transfers, webhook,
};
use crate::service::App;

/// How long a request may take, the gateway's answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(OpenApi)]
#[openapi(
    info(title = "payments", description = "Wallets on a double-entry ledger. What is shown comes from a cache that proves how fresh it is; what is decided is read and locked in the database. Every POST and PATCH takes an `Idempotency-Key`."),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

fn gated() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(transfers::create))
        .routes(routes!(transfers::get))
        .routes(routes!(standing::create))
        .routes(routes!(standing::get, standing::change))
        .routes(routes!(standing::executions))
        .routes(routes!(payments::create))
        .routes(routes!(payments::get))
        .routes(routes!(payments::give_back))
        .routes(routes!(payments::get_refund))
        .routes(routes!(accounts::open))
        .routes(routes!(accounts::get, accounts::change))
        .routes(routes!(accounts::statement))
        .routes(routes!(people::get))
        .routes(routes!(people::get_kyc, people::set_kyc))
        .routes(routes!(fees::get, fees::set))
        .routes(routes!(sessions::create))
        .routes(routes!(sessions::current, sessions::end))
        .routes(routes!(challenges::create))
}

fn open() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(webhook::gateway))
}

/// The OpenAPI document: made of the handlers themselves.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    open().merge(gated()).to_openapi()
}

/// All routes.
pub fn router(app: &App) -> Router {
    let (gated, _) = gated().split_for_parts();
    let (open, _) = open().split_for_parts();
    let document = document();
    Router::new()
        .merge(gated.route_layer(gates(app)))
        .merge(open)
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/docs/problems", get(health::problems))
        .route("/openapi.json", get(move || std::future::ready(Json(document.clone()))))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(in_time))
        .with_state(app.clone())
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "there is no such route; see /openapi.json")
}

async fn wrong_method() -> Problem {
    Problem::new(Kind::WrongMethod, "this route takes other methods; see /openapi.json")
}

/// Cuts off what takes too long. Whatever it was doing is undone by the database, or finished by the completer.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "this took too long; repeat it with the same key to see what came of it";
            Problem::new(Kind::Unavailable, detail).into_response()
        }
    }
}
