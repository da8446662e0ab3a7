//! Bodies and path parameters: parsed into types that hold nothing impossible, within limits of size and time.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{Kind, Problem};

/// Largest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body.
#[derive(Clone, Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(Kind::NotJson, "send `Content-Type: application/json`"));
        }
        let bytes = read(request).await?;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Self).map_err(|why| Problem::new(Kind::BadBody, told(&why)))
    }
}

/// The bytes of a body.
pub(super) async fn read(request: Request) -> Result<bytes::Bytes, Problem> {
    let too_large = || Problem::new(Kind::BodyTooLarge, format!("a body has at most {BODY_BYTES_MAX} bytes"));
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: u64| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(
            Kind::SlowBody,
            format!("the body took longer than {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

/// What the parser says, without the place of what it read: our own messages say what is wrong.
fn told(why: &serde_json::Error) -> String {
    match why.classify() {
        serde_json::error::Category::Data => why.to_string(),
        _ => format!("not JSON: line {}, column {}", why.line(), why.column()),
    }
}

/// Parameters of the path.
#[derive(Clone, Debug)]
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(at)| Self(at))
            .map_err(|_| Problem::new(Kind::NotFound, "a part of the path is no id, kind or currency"))
    }
}

/// Parameters of the query.
#[derive(Clone, Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let wrong = |_| {
            Problem::new(
                Kind::BadParameter,
                "a parameter of the query is unknown, twice there, or not a number in bounds",
            )
        };
        query.map(|axum::extract::Query(asked)| Self(asked)).map_err(wrong)
    }
}
