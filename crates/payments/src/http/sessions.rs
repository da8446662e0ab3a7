//! Sessions: made for a person by whoever has checked who that is, and ended by hand or by their time.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::to_bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use once::{
    StoredResponse,
    http::Keyed,
    store::{Owned as _, Store as _},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Kind, Problem, SessionView,
    auth::Who,
    body::Body,
    common::{Names, Problems, Wanted, created, look_up},
    receipt::with_token,
};
use crate::{
    domain::{Action, Id, Role, session_digest},
    error::Failed,
    secret::Secret,
    service::{App, SESSION_LIFE_MAX, Undone, failure, in_one_transaction, session_holds},
    store::{self, DatabaseTx, Locked},
};

/// Largest answer that a bearer token is put into, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A session is to be made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateSession {
    /// The client's own id of the session.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
    /// For whom.
    #[schema(value_type = String, format = "uuid")]
    person: Id,
    /// `customer`, or the maker's own role.
    #[schema(value_type = String)]
    role: Role,
    /// For how long, in seconds: half an hour at most.
    #[schema(minimum = 1, maximum = 1800)]
    life_s: u32,
}

impl Names for CreateSession {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

/// The bearer token of a session: made of its id and the service's secret, so that it is stored nowhere, not even in the answer that is
/// kept for repeats.
#[must_use]
pub(crate) fn bearer_of(secret: &Secret, session: Id) -> String {
    let bytes = secret.derive(&format!("session {session}"));
    bytes.iter().fold("pay_".to_owned(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// A session that was made, with its token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct NewSessionView {
    /// Its id.
    id: String,
    /// The tenant.
    tenant: String,
    /// The person.
    person: String,
    /// What the person may do.
    role: String,
    /// When it ends, in ms since 1970.
    expires_ms: i64,
    /// To be sent as `Authorization: Bearer`.
    #[serde(default)]
    bearer: String,
}

/// Makes a session for a person of the tenant.
#[utoipa::path(post, path = "/sessions", tag = "sessions", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header)), request_body = CreateSession,
    responses((status = 201, body = NewSessionView), Problems))]
pub(super) async fn create(
    State(app): State<App>,
    who: Who,
    keyed: Keyed,
    Body(body): Body<CreateSession>,
) -> Response {
    if let Err(problem) = who.may(Action::KeepAccounts) {
        return problem.into_response();
    }
    let Who(session) = who;
    if body.role != Role::Customer && body.role != session.role {
        return Problem::new(Kind::Forbidden, "a session is made for a customer, or for your own role")
            .into_response();
    }
    let life = Duration::from_secs(body.life_s.into());
    if life.is_zero() || life > SESSION_LIFE_MAX {
        let detail = format!("`life_s` is from 1 to {}", SESSION_LIFE_MAX.as_secs());
        return Problem::new(Kind::BadBody, detail).into_response();
    }
    let wanted = Wanted {
        kind: "session",
        method: "POST",
        route: "/sessions",
        parameter: None,
        location: format!("/sessions/{}", body.id),
        tenant: &session.tenant,
        body: &body,
    };
    let response = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => {
            let digest = session_digest(&bearer_of(&app.secret, body.id));
            let asked = Arc::new((session, body.clone(), digest));
            in_one_transaction(&app, &admitted, |tx| {
                let asked = Arc::clone(&asked);
                Box::pin(async move { record(&asked.0, &asked.1, &asked.2, life, tx).await })
            })
            .await
        }
        Err(answer) => answer,
    };
    with_token(&app, with_bearer(&app, body.id, response).await).await
}

async fn record(
    session: &crate::domain::Session,
    body: &CreateSession,
    digest: &str,
    life: Duration,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    session_holds(&Locked::new(tx), tx, session).await?;
    if !store::has_person(tx, &session.tenant, body.person).await? {
        return Ok(Problem::new(Kind::NotFound, "there is no such person").stored()?);
    }
    let whose = (session.tenant.as_str(), body.person, body.role);
    let expires_ms = match store::record_session(tx, body.id, digest, whose, life).await {
        Err(error) if error.is_duplicate() => {
            return Err(Problem::new(Kind::IdTaken, "this id is taken; choose another").into());
        }
        other => other?,
    };
    let view = SessionView {
        id: body.id.text(),
        tenant: session.tenant.clone(),
        person: body.person.text(),
        role: body.role.as_str().to_owned(),
        expires_ms,
    };
    Ok(created(&format!("/sessions/{}", body.id), view.json()?)?)
}

/// Puts the bearer token into the answer that made the session, now or in a repeat.
async fn with_bearer(app: &App, id: Id, response: Response) -> Response {
    if response.status() != StatusCode::CREATED {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let broken = |why: String| failure(app, Failed::Broken(why));
    let bytes = match to_bytes(body, ANSWER_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(why) => return broken(why.to_string()),
    };
    let mut view: NewSessionView = match serde_json::from_slice(&bytes) {
        Ok(view) => view,
        Err(why) => return broken(why.to_string()),
    };
    view.bearer = bearer_of(&app.secret, id);
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    (parts.status, parts.headers, Json(view)).into_response()
}

/// The session of this request.
#[utoipa::path(get, path = "/sessions/current", tag = "sessions", security(("bearer" = [])),
    responses((status = 200, body = SessionView), Problems))]
pub(super) async fn current(Who(session): Who) -> Response {
    let view = SessionView {
        id: session.id.text(),
        tenant: session.tenant.clone(),
        person: session.person.text(),
        role: session.role.as_str().to_owned(),
        expires_ms: session.expires_ms,
    };
    ([(axum::http::header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

/// Ends the session of this request. It moves no money from now on, and within a second nobody comes in with it.
#[utoipa::path(delete, path = "/sessions/current", tag = "sessions", security(("bearer" = [])),
    responses((status = 204, description = "It has ended"), Problems))]
pub(super) async fn end(State(app): State<App>, Who(session): Who) -> Response {
    let ended = async {
        let tx = app.database().begin().await?;
        store::end_session(&tx, session.id).await?;
        tx.commit().await?;
        Ok::<_, Failed>(())
    };
    match ended.await {
        Ok(()) => with_token(&app, StatusCode::NO_CONTENT.into_response()).await,
        Err(error) => failure(&app, error),
    }
}
