//! What stands in the headers: a reader's demands, and an answer's evidence.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use trueup::catalog::{Answer, CatalogClass, Demand};
use trueup_core::{
    class::{ClassPlan, units},
    proof::Token,
    receipt::{Miss, ServedBy},
};

use super::problem::Problem;
use crate::node::{AskError, parse_token};

/// A session's token, in and out.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("trueup-token");
/// The scope dimensions of a key, as `tenant=acme&role=admin`.
pub(super) const SCOPE: HeaderName = HeaderName::from_static("trueup-scope");
/// How old the answer may be, as `200ms`.
const MAX_STALENESS: HeaderName = HeaderName::from_static("trueup-max-staleness");
/// Where the answer came from, as in metrics: `fallback` is no data of the source.
const SERVED_BY: HeaderName = HeaderName::from_static("trueup-served-by");
/// How this cache handled the request (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the reader demands.
pub(super) fn demand(headers: &HeaderMap) -> Result<Demand, Problem> {
    let token = headers.get(TOKEN).map(|text| parse_token(text.as_bytes())).transpose();
    let max_staleness = headers.get(MAX_STALENESS).map(|text| {
        let text = text.to_str().unwrap_or_default();
        units::parse_duration(text).map_err(|_| {
            let detail = "`Trueup-Max-Staleness` is a span of time with its unit, such as `200ms`";
            Problem::bad_request("bad-header", detail)
        })
    });
    Ok(Demand { token: token.map_err(AskError::from)?, max_staleness: max_staleness.transpose()? })
}

/// The scope that the reader stated.
pub(super) fn scope(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let text = headers.get(SCOPE).map(|value| {
        let detail = "`Trueup-Scope` is `NAME=VALUE&NAME=VALUE`, percent-encoded where it is not ASCII";
        value.to_str().map_err(|_| Problem::bad_request("bad-header", detail))
    });
    text.transpose()
}

/// The strong validator of a value's version.
pub(super) fn etag(version: u64) -> String {
    format!("\"{version:016x}\"")
}

/// Whether the reader has this very value (RFC 9110, 13.1.2: weak comparison).
pub(super) fn reader_has(headers: &HeaderMap, etag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// The evidence of `answer`.
pub(super) fn evidence(class: &CatalogClass, answer: &Answer, session: Option<Token>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(CACHE_STATUS, cache_status(class, answer));
    let stands_in = answer.served_by() == ServedBy::Fallback;
    set(SERVED_BY, answer.served_by().to_string());
    if stands_in || answer.served_by() == ServedBy::Pending {
        // Neither a version of the data, nor an age, nor anything to be kept by anyone.
        set(header::CACHE_CONTROL, "no-store".to_owned());
    } else {
        set(header::CACHE_CONTROL, cache_control(class));
    }
    if answer.value().is_some() && !stands_in {
        set(header::ETAG, etag(answer.version()));
    }
    if class.cached().is_some() && !stands_in {
        // Rounded up: a cache further down must not take an answer for younger than it is.
        set(header::AGE, answer.age().as_millis().div_ceil(1_000).to_string());
    }
    if let Some(token) = seen(class, [answer], session) {
        set(TOKEN, token.to_string());
    }
    if !class.form().scope().is_empty() {
        set(header::VARY, SCOPE.to_string());
    }
    headers
}

/// The token that the session goes on with, when it has been given `answers`.
pub(super) fn seen<'a>(
    class: &CatalogClass,
    answers: impl IntoIterator<Item = &'a Answer>,
    session: Option<Token>,
) -> Option<Token> {
    let seen = answers.into_iter().filter_map(|answer| class.seen_token(answer)).reduce(Token::together);
    match (session, seen) {
        (Some(session), Some(seen)) => Some(session.merged(seen)),
        (session, seen) => seen.or(session),
    }
}

fn cache_status(class: &CatalogClass, answer: &Answer) -> String {
    if class.cached().is_none() {
        return "trueup; fwd=bypass; detail=never-cached".to_owned();
    }
    match (answer.served_by(), answer.miss()) {
        (ServedBy::Stale, _) => "trueup; hit; detail=stale".to_owned(),
        // Neither a hit nor an answer of the source (RFC 9211 has no word for it).
        (ServedBy::Fallback, _) => "trueup; fwd=miss; fwd-status=503; detail=fallback".to_owned(),
        (ServedBy::L2, _) => "trueup; hit; detail=l2".to_owned(),
        (ServedBy::Filter, _) => "trueup; hit; detail=filter".to_owned(),
        (ServedBy::Pending, _) => "trueup; hit; detail=pending".to_owned(),
        (ServedBy::L1, _) | (ServedBy::Source, None) => "trueup; hit".to_owned(),
        (ServedBy::Source, Some(miss)) => {
            let forward = match miss {
                Miss::Cold | Miss::Evicted => "miss",
                Miss::Expired | Miss::Invalidated | Miss::Unproven(_) => "stale",
                // The reader's token, not the state of the cache, sent the request on.
                Miss::Bypass => "request",
            };
            let detail = match miss {
                Miss::Unproven(why) => why.as_str(),
                other => other.as_str(),
            };
            format!("trueup; fwd={forward}; detail={detail}")
        }
    }
}

/// What caches further down may do: nothing with decisions, nothing without asking where the feed proves answers, and
/// only what the class allows where it is bounded by age.
fn cache_control(class: &CatalogClass) -> String {
    let ClassPlan::Cacheable(plan) = class.plan() else { return "no-store".to_owned() };
    let audience = if class.form().scope().is_empty() { "" } else { "private, " };
    let whole_seconds = |span: Duration| span.as_secs();
    if plan.is_provable() || whole_seconds(plan.max_staleness) == 0 {
        return format!("{audience}no-cache");
    }
    let mut control = format!("{audience}max-age={}", whole_seconds(plan.max_staleness));
    if let Some(stale) = plan.serve_stale.map(whole_seconds).filter(|stale| *stale > 0) {
        control.push_str(&format!(", stale-while-revalidate={stale}"));
    }
    control
}
