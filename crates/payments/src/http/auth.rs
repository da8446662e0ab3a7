//! The first gates: who asks, and how often.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
    response::{IntoResponse as _, Response},
};
use once::http::{Docs, GateLayer, Principal};
use parking_lot::Mutex;
use trueup::engine::env::{Clock, Nanos, unix_ms};

use super::{Kind, Problem};
use crate::{
    domain::{Action, Session, session_digest},
    service::{App, DOCS},
};

/// Requests of one principal in a second, in the long run.
pub(super) const REQUESTS_PER_SECOND: u32 = 2_000;
/// How far a principal may run ahead of that.
const AHEAD_MAX: Duration = Duration::from_secs(2);
/// Principals that are remembered at once; those that have been quiet are forgotten first.
const PRINCIPALS_MAX: usize = 10_000;
/// Longest bearer token that is looked at, in bytes.
const BEARER_BYTES_MAX: usize = 256;

/// Puts authentication, the limit of requests, and the syntax of keys before a router.
pub(super) fn gates(app: &App) -> GateLayer {
    let limit = Arc::new(Limit::default());
    let app = app.clone();
    GateLayer::new(Docs::at(DOCS), move |parts: &mut Parts| {
        let app = app.clone();
        Box::pin(async move {
            let session = authenticate(&app, parts).await.map_err(|problem| problem.into_response())?;
            let principal = Principal(session.principal().into());
            parts.extensions.insert(session);
            Ok(principal)
        })
    })
    .limit(move |_: &Parts, principal: &Principal| {
        let passed = limit.pass(&principal.0);
        Box::pin(async move {
            if passed {
                return Ok(());
            }
            Err(Problem::new(Kind::TooMany, format!("at most {REQUESTS_PER_SECOND} requests in a second"))
                .into_response())
        })
    })
}

async fn authenticate(app: &App, parts: &Parts) -> Result<Session, Problem> {
    let refused = |why: &str| Problem::new(Kind::Unauthorized, why);
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| refused("send `Authorization: Bearer TOKEN`"))?;
    let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
    let bearer =
        bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, bearer)| bearer.trim());
    let bearer = bearer.filter(|bearer| !bearer.is_empty() && bearer.len() <= BEARER_BYTES_MAX);
    let bearer = bearer.ok_or_else(|| refused("send `Authorization: Bearer TOKEN`"))?;
    let shown = app.shown.sessions.get(&session_digest(bearer)).await;
    let shown = shown.map_err(|error| {
        tracing::warn!(%error, "sessions cannot be read");
        Problem::new(Kind::Unavailable, "it cannot be known now whose request this is")
    })?;
    let now_ms = i64::try_from(unix_ms()).unwrap_or(i64::MAX);
    let session = shown.value().filter(|session| session.is_live(now_ms));
    session.cloned().ok_or_else(|| refused("the bearer token is unknown, or its session has ended"))
}

/// Who asks, for a handler.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) Session);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let session = parts.extensions.get::<Session>().cloned();
        session.map(Self).ok_or_else(|| {
            Problem::new(Kind::Unauthorized, "send `Authorization: Bearer TOKEN`").into_response()
        })
    }
}

impl Who {
    /// Refuses what the role may do with nothing.
    pub(super) fn may(&self, action: Action) -> Result<(), Problem> {
        if self.0.role.may(action, false) {
            return Ok(());
        }
        Err(Problem::new(Kind::Forbidden, "your role does not allow this"))
    }
}

/// At which time each principal will be even with the rate: the generic cell rate algorithm.
#[derive(Debug, Default)]
struct Limit {
    even_at: Mutex<HashMap<Arc<str>, Nanos>>,
    clock: Clock,
}

impl Limit {
    fn pass(&self, principal: &Arc<str>) -> bool {
        let now = self.clock.now();
        let mut even_at = self.even_at.lock();
        if even_at.len() >= PRINCIPALS_MAX {
            even_at.retain(|_, at| *at > now);
        }
        let at = even_at.entry(Arc::clone(principal)).or_insert(now);
        if at.since(now) > AHEAD_MAX {
            return false;
        }
        *at = (*at).max(now).after(Duration::from_secs(1) / REQUESTS_PER_SECOND);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_waits_and_nobody_else() {
        let limit = Limit { clock: Clock::stepped(), ..Limit::default() };
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let passed = (0..10_000).filter(|_| limit.pass(&one)).count();
        let burst = REQUESTS_PER_SECOND as usize * 2;
        assert!((burst..=burst + 2).contains(&passed), "{passed}");
        assert!(limit.pass(&other));
        limit.clock.advance(Duration::from_secs(1));
        assert!(limit.pass(&one));
    }
}
