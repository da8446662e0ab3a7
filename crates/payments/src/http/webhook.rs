//! News from the gateway.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{Kind, Problem, body::read, common::Problems};
use crate::{
    domain::Id,
    gateway,
    service::{App, Told, failure, take_in},
};

/// Which operation, and in which message.
#[derive(Deserialize)]
struct Event {
    event: Id,
    reference: Id,
}

/// Takes in what the gateway says of an operation, signed with the secret that it shares with this service.
#[utoipa::path(post, path = "/webhooks/gateway", tag = "webhooks",
    params(("Gateway-Signature" = String, Header, description = "HMAC-SHA256 of the body, in hex")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 204, description = "Taken in, now or before"), Problems))]
pub(super) async fn gateway(State(app): State<App>, request: Request) -> Response {
    let signature = request
        .headers()
        .get(gateway::fake::SIGNATURE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = match read(request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    if !signature.is_some_and(|signature| app.webhook_key.verifies(&body, &signature)) {
        return Problem::new(Kind::Unauthorized, "the signature is not that of this body").into_response();
    }
    let event: Event = match serde_json::from_slice(&body) {
        Ok(event) => event,
        Err(_) => return Problem::new(Kind::BadBody, "not a message of the gateway").into_response(),
    };
    let outcome = match gateway::outcome(event.reference, &body) {
        Ok(outcome) => outcome,
        Err(_) => return Problem::new(Kind::BadBody, "the message says no outcome").into_response(),
    };
    match take_in(&app, event.event, event.reference, &outcome).await {
        Ok(Told::Taken) => StatusCode::NO_CONTENT.into_response(),
        Ok(Told::Unknown) => Problem::new(Kind::NotFound, "there is no such operation").into_response(),
        Err(error) => failure(&app, error),
    }
}
