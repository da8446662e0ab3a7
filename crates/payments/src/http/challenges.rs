//! One-time passwords.

use axum::{extract::State, response::Response};
use once::http::Keyed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ChallengeView,
    auth::Who,
    body::Body,
    common::{Names, Problems, Wanted, look_up},
};
use crate::{
    domain::Id,
    service::{App, challenge},
};

/// A code is to be sent.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateChallenge {
    /// The client's own id of the challenge.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
}

impl Names for CreateChallenge {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

/// Sends a one-time password to the person of the session. It holds for five minutes, for one use and three attempts.
#[utoipa::path(post, path = "/challenges", tag = "challenges", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header)), request_body = CreateChallenge,
    responses((status = 201, body = ChallengeView), Problems))]
pub(super) async fn create(
    State(app): State<App>,
    Who(session): Who,
    keyed: Keyed,
    Body(body): Body<CreateChallenge>,
) -> Response {
    let wanted = Wanted {
        kind: "challenge",
        method: "POST",
        route: "/challenges",
        parameter: None,
        location: format!("/challenges/{}", body.id),
        tenant: &session.tenant,
        body: &body,
    };
    match look_up(&app, keyed, wanted).await {
        Ok(admitted) => challenge(&app, &session, &admitted, body.id).await,
        Err(answer) => answer,
    }
}
