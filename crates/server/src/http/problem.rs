//! Errors as `application/problem+json` (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use trueup_core::{
    error::{FillError, ReadError},
    key::KeyError,
    source::LoadError,
};

use super::limits::retry_after;
use crate::node::{AskError, InvalidateError};

/// What kinds of problem are named by.
const TYPE_PREFIX: &str = "urn:trueup:problem:";
/// When it is worth trying again after the source was asked and failed, in milliseconds.
const RETRY_AFTER_FAILURE_MS: u64 = 1_000;

/// One problem, as its client sees it. Never holds what the client sent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    /// Why a load was refused without asking the source, as in metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// `Retry-After` counts in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("{TYPE_PREFIX}{kind}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            reason: None,
            retry_after_ms: None,
        }
    }

    /// The same, with when it is worth trying again.
    pub(super) const fn retry_after_ms(mut self, wait_ms: u64) -> Self {
        self.retry_after_ms = Some(wait_ms);
        self
    }

    /// A request that says what makes no sense.
    pub(super) fn bad_request(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.retry_after_ms.map(|wait_ms| retry_after(wait_ms.div_ceil(1_000).max(1)));
        let mut response = (status, Json(self)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        // A cache further down must not keep an error for the value.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry) = retry {
            response.headers_mut().extend(retry);
        }
        response
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let detail = error.to_string();
        match error {
            AskError::UnknownClass(_) => Self::new(StatusCode::NOT_FOUND, "unknown-class", detail),
            AskError::Key { why: KeyError::MissingScope { .. }, class } => {
                let detail = format!(
                    "class `{class}`: {detail}, or send the header `Trueup-Scope: NAME=VALUE`",
                    detail = detail.trim_start_matches(&format!("class `{class}`: "))
                );
                Self::bad_request("missing-scope", detail)
            }
            AskError::Key { .. } | AskError::NoClass | AskError::NotText => {
                Self::bad_request("bad-key", detail)
            }
            AskError::TooManyKeys { .. } => Self::bad_request("too-many-keys", detail),
            AskError::Token(_) | AskError::Read(ReadError::TokenUnknown) => {
                Self::bad_request("bad-token", detail)
            }
            AskError::Read(ReadError::Load(error)) => of_load(&error, detail),
            AskError::Read(_) => Self::bad_request("bad-key", detail),
        }
    }
}

pub(super) fn of_load(error: &LoadError, detail: String) -> Problem {
    let (status, kind) = match error {
        LoadError::Unavailable(_) | LoadError::Lost => {
            (StatusCode::SERVICE_UNAVAILABLE, "source-unavailable")
        }
        LoadError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "source-timed-out"),
        LoadError::Refused(_) => (StatusCode::BAD_GATEWAY, "source-refused"),
        LoadError::TooLarge { .. } => (StatusCode::BAD_GATEWAY, "value-too-large"),
        LoadError::Shed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too-many-loads"),
        LoadError::Unfilled => (StatusCode::NOT_FOUND, "unfilled"),
        LoadError::LeftAlone { .. } => (StatusCode::SERVICE_UNAVAILABLE, "source-left-alone"),
    };
    let mut problem = Problem::new(status, kind, detail);
    problem.reason = match error {
        LoadError::Shed { why, .. } => Some(why.as_str()),
        other => Some(other.as_str()),
    };
    // Where the source was asked and failed nobody knows when it will be well.
    let worth_retrying = status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::GATEWAY_TIMEOUT;
    problem.retry_after_ms = error.retry_after_ms().or(worth_retrying.then_some(RETRY_AFTER_FAILURE_MS));
    problem
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        AskError::from(error).into()
    }
}

impl From<InvalidateError> for Problem {
    fn from(error: InvalidateError) -> Self {
        match error {
            InvalidateError::Ask(error) => error.into(),
            other => Self::new(StatusCode::CONFLICT, "not-invalidated", other.to_string()),
        }
    }
}

impl From<FillError> for Problem {
    fn from(error: FillError) -> Self {
        let kind = match error {
            FillError::Invalidated => "invalidated",
            FillError::NotKept => "not-kept",
            _ => "lease-lost",
        };
        Self::new(StatusCode::CONFLICT, kind, error.to_string())
    }
}

/// No such route.
pub(super) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-route",
        "there is no such route; read a value with GET /v1/CLASS/KEY (a `/` within a key is `%2F`)",
    )
}

/// A route that is there for other methods.
pub(super) async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "this route does not take this method; values are written to the database of record, never here",
    )
}
