//! Answers that say what is wrong: RFC 9457, `application/problem+json`.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value as Json};

use crate::limits::RETRY_AFTER_S;

/// Where the contract is written down, for `Link` and for the types of problems.
#[derive(Clone, Debug)]
pub struct Docs {
    url: String,
}

impl Docs {
    /// The contract is at `url`; each kind of problem at its [name](ProblemKind::name) as a fragment of it.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }
}

/// What can be wrong about a request whose effect is to happen once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// 400: no `Idempotency-Key`.
    KeyMissing,
    /// 400: an `Idempotency-Key` that is none.
    KeyMalformed,
    /// 409: the first request with this key is under way.
    InFlight,
    /// 422: the key was used for another request.
    KeyReused,
    /// 409: what is asked for was begun under another key.
    AlreadyRequested,
    /// 422: the business id was used for another request.
    BusinessIdReused,
    /// 428: no `If-Match`.
    PreconditionRequired,
    /// 412: `If-Match` names another version than the current one.
    PreconditionFailed,
    /// 409: the version changed while the request was worked on.
    Conflict,
    /// 503: it cannot be known whether this was done before, so nothing is done.
    Unavailable,
}

impl ProblemKind {
    /// All of them, for a document that lists them.
    pub const ALL: [Self; 10] = [
        Self::KeyMissing,
        Self::KeyMalformed,
        Self::InFlight,
        Self::KeyReused,
        Self::AlreadyRequested,
        Self::BusinessIdReused,
        Self::PreconditionRequired,
        Self::PreconditionFailed,
        Self::Conflict,
        Self::Unavailable,
    ];

    /// Its name: the fragment of its type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyMissing => "idempotency-key-missing",
            Self::KeyMalformed => "idempotency-key-malformed",
            Self::InFlight => "request-in-flight",
            Self::KeyReused => "idempotency-key-reused",
            Self::AlreadyRequested => "already-requested",
            Self::BusinessIdReused => "business-id-reused",
            Self::PreconditionRequired => "precondition-required",
            Self::PreconditionFailed => "precondition-failed",
            Self::Conflict => "version-conflict",
            Self::Unavailable => "idempotency-store-unavailable",
        }
    }

    /// Its status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::KeyMissing | Self::KeyMalformed => StatusCode::BAD_REQUEST,
            Self::InFlight | Self::AlreadyRequested | Self::Conflict => StatusCode::CONFLICT,
            Self::KeyReused | Self::BusinessIdReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Its title, the same each time.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::KeyMissing => "Idempotency-Key is missing",
            Self::KeyMalformed => "Idempotency-Key is malformed",
            Self::InFlight => "A request with this Idempotency-Key is in flight",
            Self::KeyReused => "Idempotency-Key was used for another request",
            Self::AlreadyRequested => "This was requested before under another Idempotency-Key",
            Self::BusinessIdReused => "This business id was used for another request",
            Self::PreconditionRequired => "If-Match is required",
            Self::PreconditionFailed => "If-Match names another version",
            Self::Conflict => "The version changed meanwhile",
            Self::Unavailable => "Temporarily unavailable; nothing was done",
        }
    }
}

/// A problem, on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    members: Map<String, Json>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this kind. `detail` is for people and holds no key and no value.
    #[must_use]
    pub fn new(kind: ProblemKind, docs: &Docs, detail: impl Into<String>) -> Self {
        let mut problem = Self { status: kind.status(), members: Map::new(), headers: Vec::new() };
        let members = &mut problem.members;
        members.insert("type".to_owned(), format!("{}#{}", docs.url, kind.name()).into());
        members.insert("title".to_owned(), kind.title().into());
        members.insert("status".to_owned(), kind.status().as_u16().into());
        members.insert("detail".to_owned(), detail.into().into());
        problem.header(header::LINK, &format!("<{}>; rel=\"describedby\"", docs.url))
    }

    /// With a header, unless its value is none.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// With a member of its own in the body.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With `Retry-After`, from 1 to 60 s.
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        self.header(header::RETRY_AFTER, &retry_after_s(pause).to_string())
    }

    /// With `Location`, where there is one.
    #[must_use]
    pub fn location(self, path: Option<&str>) -> Self {
        match path {
            Some(path) => self.header(header::LOCATION, path),
            None => self,
        }
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        Json::Object(self.members.clone()).to_string().into_bytes()
    }

    /// Its headers, without those of its body.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}

pub(super) fn retry_after_s(pause: Duration) -> u64 {
    pause
        .as_millis()
        .div_ceil(1_000)
        .try_into()
        .unwrap_or(u64::MAX)
        .clamp(*RETRY_AFTER_S.start(), *RETRY_AFTER_S.end())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_types_of_their_own() {
        let names: std::collections::HashSet<_> = ProblemKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ProblemKind::ALL.len());
    }

    #[test]
    fn a_problem_says_where_the_contract_is() {
        let docs = Docs::at("https://docs.example/idempotency");
        let problem =
            Problem::new(ProblemKind::InFlight, &docs, "wait").retry_after(Duration::from_millis(1_200));
        let body: Json = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!(body["type"], "https://docs.example/idempotency#request-in-flight");
        assert_eq!(body["status"], 409);
        let response = problem.into_response();
        assert_eq!(response.headers()["link"], "<https://docs.example/idempotency>; rel=\"describedby\"");
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
