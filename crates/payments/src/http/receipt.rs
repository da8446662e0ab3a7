//! What comes with an answer from the cache: how fresh it is, and where it came from. And what a reader may demand.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use once::http::etag;
use serde::Serialize;
use trueup::{CacheKey, CacheValue, Cached, Class, Miss, ReadError, ServedBy, Token, engine::env::unix_ms};

use super::{Kind, Problem};
use crate::service::App;

/// A session's token, in and out.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("trueup-token");
/// The time for which the answer is known to be true, in ms since 1970.
const FETCHED_AT: HeaderName = HeaderName::from_static("fetched-at-ms");
/// Where the answer came from.
const SERVED_BY: HeaderName = HeaderName::from_static("trueup-served-by");
/// How the cache handled the request (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The reader's token, if one was sent.
pub(super) fn token_of(headers: &HeaderMap) -> Result<Option<Token>, Problem> {
    let wrong =
        || Problem::new(Kind::BadHeader, "`Trueup-Token` is not a token as a write or an answer returned it");
    headers
        .get(TOKEN)
        .map(|text| text.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(wrong))
        .transpose()
}

/// Reads what is shown under `key`, with the reader's token.
pub(super) async fn show<K, V>(
    class: &Class<K, V>,
    key: &K,
    headers: &HeaderMap,
) -> Result<(Cached<V>, HeaderMap), Problem>
where
    K: CacheKey + Clone + Send + Sync + 'static,
    V: CacheValue,
{
    let token = token_of(headers)?;
    let read = class.read(key);
    let read = match token {
        Some(token) => read.token(token),
        None => read,
    };
    let answer = read.run().await.map_err(|error| match error {
        ReadError::TokenUnknown => {
            Problem::new(Kind::BadHeader, "`Trueup-Token` lies beyond everything that was written")
        }
        other => {
            tracing::warn!(error = %other, "a display could not be read");
            Problem::new(Kind::Unavailable, "the database does not answer now")
        }
    })?;
    let seen = match (token, class.seen_token(&answer)) {
        (Some(token), Some(seen)) => Some(token.merged(seen)),
        (token, seen) => seen.or(token),
    };
    let evidence = evidence(&answer, seen);
    Ok((answer, evidence))
}

fn evidence<V>(answer: &Cached<V>, seen: Option<Token>) -> HeaderMap {
    let receipt = answer.receipt();
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    let age_ms = u64::try_from(receipt.age.as_millis()).unwrap_or(u64::MAX);
    // Rounded up: a cache further down must not take an answer for younger than it is.
    set(header::AGE, age_ms.div_ceil(1_000).to_string());
    set(FETCHED_AT, unix_ms().saturating_sub(age_ms).to_string());
    set(SERVED_BY, receipt.served_by.to_string());
    set(CACHE_STATUS, cache_status(receipt.served_by, receipt.miss));
    // Asked again each time: no cache further down may show what is no longer so.
    set(header::CACHE_CONTROL, "private, no-cache".to_owned());
    set(header::VARY, "authorization, trueup-token".to_owned());
    if let Some(seen) = seen {
        set(TOKEN, seen.to_string());
    }
    headers
}

/// Whether the reader wants no cache in between (RFC 9111, 5.2.1.4).
pub(super) fn demands_the_source(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case("no-cache"))
}

/// The evidence of what was read from the database just now.
pub(super) fn from_the_source() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AGE, HeaderValue::from_static("0"));
    headers.insert(FETCHED_AT, HeaderValue::from(unix_ms()));
    headers.insert(SERVED_BY, HeaderValue::from_static("source"));
    headers.insert(CACHE_STATUS, HeaderValue::from_static("trueup; fwd=request; detail=no-cache"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers
}

fn cache_status(served_by: ServedBy, miss: Option<Miss>) -> String {
    match (served_by, miss) {
        (ServedBy::Source, Some(miss)) => {
            let forward = match miss {
                Miss::Cold | Miss::Evicted => "miss",
                Miss::Expired | Miss::Invalidated | Miss::Unproven(_) => "stale",
                Miss::Bypass => "request",
            };
            format!("trueup; fwd={forward}; detail={}", miss.as_str())
        }
        (ServedBy::L1 | ServedBy::Source, _) => "trueup; hit".to_owned(),
        (other, _) => format!("trueup; hit; detail={other}"),
    }
}

/// An answer with its evidence and its version; 304 where the reader has it.
pub(super) fn shown(
    request: &HeaderMap,
    evidence: HeaderMap,
    version: i64,
    view: impl Serialize,
) -> Response {
    let tag = etag(version);
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut known = lists.flat_map(|list| list.split(',')).map(|one| one.trim());
    let has = known.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag);
    let mut response =
        if has { StatusCode::NOT_MODIFIED.into_response() } else { Json(view).into_response() };
    response.headers_mut().extend(evidence);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Adds a token for what was written.
pub(super) async fn with_token(app: &App, mut response: Response) -> Response {
    if response.status().is_success()
        && let Some(token) = app.shown.token().await
        && let Ok(token) = HeaderValue::try_from(token.to_string())
    {
        response.headers_mut().insert(TOKEN, token);
    }
    response
}
