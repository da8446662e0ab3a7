//! Between responses as they are sent and as they are kept.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use http_body_util::{BodyExt as _, Limited};

use crate::{error::OnceError, key::StoredResponse, limits::RESPONSE_BODY_BYTES_MAX};

/// The header that says that an answer was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Headers that belong to one connection, one moment or one client, and are not kept.
const NOT_KEPT: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
    header::DATE,
    header::CONTENT_LENGTH,
    header::SET_COOKIE,
    REPLAYED,
];

/// A response as it is kept: status, headers but those of the connection and the moment, the whole body.
///
/// **Safe to repeat: yes.** It reads the response into memory.
///
/// # Errors
/// [`OnceError::Invalid`] where the body is too large or breaks off, or the status is no outcome.
pub async fn collect(response: Response) -> Result<StoredResponse, OnceError> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, RESPONSE_BODY_BYTES_MAX).collect().await;
    let body =
        body.map_err(|why| OnceError::invalid("the body of a response", format!("cannot be kept: {why}")))?;
    let mut stored = StoredResponse::new(parts.status.as_u16(), body.to_bytes())?;
    for (name, value) in &parts.headers {
        if !NOT_KEPT.contains(name) {
            stored = stored.header(name.as_str(), value.as_bytes())?;
        }
    }
    Ok(stored)
}

/// A kept response as it is sent the first time.
#[must_use]
pub fn respond(stored: &StoredResponse) -> Response {
    let mut response = Response::new(Body::from(stored.body().clone()));
    *response.status_mut() =
        StatusCode::from_u16(stored.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in stored.headers() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A kept response as it is given again: the same, with `Idempotent-Replayed: true`.
#[must_use]
pub fn replay(stored: &StoredResponse) -> Response {
    let mut response = respond(stored);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
