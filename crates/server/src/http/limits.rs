//! What one request may take, and how many there may be.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;

use super::problem::Problem;

/// Connections open at once.
pub const CONNECTIONS_MAX_DEFAULT: usize = 10_000;
/// Requests worked on at once; one more is told to come back.
pub const REQUESTS_MAX_DEFAULT: usize = 1_024;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX_DEFAULT: usize = 2 << 20;
/// Bytes of a request's line and headers together.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of one request.
pub const HEADERS_MAX: usize = 64;
/// Bytes of the path and query of a request: a key percent-encoded, and room.
pub const URI_BYTES_MAX: usize = 32 << 10;
/// Time in which the head of a request must be whole.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which a request is answered: longer than any class waits for its source.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Time in which requests in flight may finish once the server is asked to stop.
pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Limits of the HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Requests worked on at once.
    pub requests_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Time in which a request is answered.
    pub request_timeout: Duration,
    /// Time in which requests in flight may finish once the server is asked to stop.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX_DEFAULT,
            requests_max: REQUESTS_MAX_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX_DEFAULT,
            request_timeout: REQUEST_TIMEOUT_DEFAULT,
            stop_timeout: STOP_TIMEOUT_DEFAULT,
        }
    }
}

/// Holds every request to the limits.
#[derive(Clone)]
pub(super) struct Guard {
    places: Arc<Semaphore>,
    timeout: Duration,
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { places: Arc::new(Semaphore::new(limits.requests_max)), timeout: limits.request_timeout }
    }
}

/// Answers within the limits, or says which one was met.
pub(super) async fn bound(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if length > URI_BYTES_MAX {
        let detail = format!("the path and query have {length} bytes, at most {URI_BYTES_MAX}");
        return Problem::new(StatusCode::URI_TOO_LONG, "uri-too-long", detail).into_response();
    }
    let Ok(_place) = guard.places.try_acquire() else {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many requests are being worked on; come back in a second",
        );
        return (retry_after(1), problem).into_response();
    };
    match tokio::time::timeout(guard.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("there was no answer within {} ms", guard.timeout.as_millis());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", detail).into_response()
        }
    }
}

/// The header that says when to come back.
pub(super) fn retry_after(seconds: u64) -> [(header::HeaderName, HeaderValue); 1] {
    [(header::RETRY_AFTER, HeaderValue::from(seconds))]
}
