//! The first gates, in their order: who, how often, which key.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{Method, request::Parts},
    response::{IntoResponse as _, Response},
};
use tower::{Layer, Service};
use trueup_core::env::BoxFuture;

use super::{
    header::{HeaderError, key_of},
    problem::{Docs, Problem, ProblemKind},
};
use crate::{
    error::OnceError,
    key::{Key, Scope},
};

/// Whose request it is, as authenticated: tenant and user. An extension of the request behind a [`GateLayer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(pub Arc<str>);

type Authorize =
    Arc<dyn for<'a> Fn(&'a mut Parts) -> BoxFuture<'a, Result<Principal, Response>> + Send + Sync>;
type Limit =
    Arc<dyn for<'a> Fn(&'a Parts, &'a Principal) -> BoxFuture<'a, Result<(), Response>> + Send + Sync>;

/// Puts the first gates before a service, in the contract's order: [authorize](GateLayer::new) (401, 403),
/// [limit](GateLayer::limit) (429), and for methods that need one (POST and PATCH) the key's syntax (400).
///
/// Behind it a handler takes [`Keyed`] (or [`Principal`] alone), checks its body, and goes on with a [`Gate`](super::Gate).
#[derive(Clone)]
pub struct GateLayer {
    gates: Arc<Gates>,
}

#[derive(Clone)]
struct Gates {
    docs: Docs,
    authorize: Authorize,
    limit: Option<Limit>,
    methods: Vec<Method>,
}

impl GateLayer {
    /// The gates before a service. `authorize` says whose request it is, or answers (401, 403); what it adds to the extensions
    /// reaches the handler.
    #[must_use]
    pub fn new<A>(docs: Docs, authorize: A) -> Self
    where
        A: for<'a> Fn(&'a mut Parts) -> BoxFuture<'a, Result<Principal, Response>> + Send + Sync + 'static,
    {
        let methods = vec![Method::POST, Method::PATCH];
        Self { gates: Arc::new(Gates { docs, authorize: Arc::new(authorize), limit: None, methods }) }
    }

    /// Asks `limit` after `authorize`; it lets the request pass, or answers (429).
    #[must_use]
    pub fn limit<L>(mut self, limit: L) -> Self
    where
        L: for<'a> Fn(&'a Parts, &'a Principal) -> BoxFuture<'a, Result<(), Response>>
            + Send
            + Sync
            + 'static,
    {
        Arc::make_mut(&mut self.gates).limit = Some(Arc::new(limit));
        self
    }

    /// Which methods need a key, in place of POST and PATCH.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        Arc::make_mut(&mut self.gates).methods = methods.into_iter().collect();
        self
    }
}

impl std::fmt::Debug for GateLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateLayer").field("methods", &self.gates.methods).finish_non_exhaustive()
    }
}

impl Gates {
    async fn pass(&self, request: Request) -> Result<Request, Response> {
        let (mut parts, body) = request.into_parts();
        let principal = (self.authorize)(&mut parts).await?;
        if let Some(limit) = &self.limit {
            limit(&parts, &principal).await?;
        }
        if self.methods.contains(&parts.method) {
            let key = key_of(&parts.headers).map_err(|error| refused(error, &self.docs).into_response())?;
            parts.extensions.insert(key);
        }
        parts.extensions.insert(principal);
        Ok(Request::from_parts(parts, body))
    }
}

fn refused(error: HeaderError, docs: &Docs) -> Problem {
    let kind = match error {
        HeaderError::Missing => ProblemKind::KeyMissing,
        _ => ProblemKind::KeyMalformed,
    };
    Problem::new(kind, docs, error.to_string())
}

impl<I> Layer<I> for GateLayer {
    type Service = GateService<I>;

    fn layer(&self, inner: I) -> GateService<I> {
        GateService { inner, gates: Arc::clone(&self.gates) }
    }
}

/// A service behind a [`GateLayer`].
#[derive(Clone)]
pub struct GateService<I> {
    inner: I,
    gates: Arc<Gates>,
}

impl<I> std::fmt::Debug for GateService<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateService").finish_non_exhaustive()
    }
}

impl<I> Service<Request> for GateService<I>
where
    I: Service<Request, Response = Response> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
{
    type Response = Response;
    type Error = I::Error;
    type Future = BoxFuture<'static, Result<Response, I::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled ready is used, its clone stays for the next.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let gates = Arc::clone(&self.gates);
        Box::pin(async move {
            match gates.pass(request).await {
                Ok(request) => ready.call(request).await,
                Err(response) => Ok(response),
            }
        })
    }
}

/// The key of a request and whose it is, for a handler behind a [`GateLayer`].
#[derive(Clone, Debug)]
pub struct Keyed(pub Scope);

impl<T: Sync> FromRequestParts<T> for Keyed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Response> {
        let (principal, key) = (parts.extensions.get::<Principal>(), parts.extensions.get::<Key>());
        let scope = match (principal, key) {
            (Some(principal), Some(key)) => Scope::new(&principal.0, key.clone()),
            _ => Err(OnceError::invalid(
                "this route",
                "takes a key, but no GateLayer with its method stands before it",
            )),
        };
        scope.map(Self).map_err(|error| {
            tracing::error!(%error, "a request could not be scoped");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        })
    }
}

impl<T: Sync> FromRequestParts<T> for Principal {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!("a route takes a principal, but no GateLayer stands before it");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        })
    }
}
