//! The same answers over HTTP.
//!
//! | route | answer |
//! |---|---|
//! | `GET /v1/{class}/{key}` | the value, with its evidence in headers |
//! | `GET /v1/{class}?name=value` | the value of a class of free parameters |
//! | `POST /v1/{class}/batch` | several values, on demand from one state of the database |
//! | `POST /v1/lease/{class}/{key}` | the value of a class that its clients fill, or the right to fill it |
//! | `PUT /v1/{class}/{key}` | fills it, under the lease in the header `Trueup-Lease`; or writes a row, through the cache or behind it |
//! | `DELETE /v1/{class}/{key}` | deletes a row, through the cache or behind it |
//! | `POST /v1/warm` | reads keys before anybody asks for them |
//! | `POST /v1/invalidate` | invalidates by way of the source |
//! | `GET /v1/explain/{class}/{key}` | what memory holds under the key, and why it would or would not be served |
//! | `GET /v1/status` | how the node is |
//! | `GET /livez`, `/readyz` | whether it runs; whether it should be sent requests |
//! | `GET /metrics` | counters for Prometheus |
//! | `GET /` | the dashboard |
//!
//! What a reader demands stands in headers, because a query string belongs to the key: `Trueup-Token` (reflect this
//! write), `Trueup-Max-Staleness` (such as `200ms`; tightens the class's bound), `Trueup-Scope` (`tenant=acme&role=admin`).
//! Errors are `application/problem+json` (RFC 9457).

mod batch;
mod explain;
mod feed;
mod fill;
mod gate;
mod headers;
mod health;
mod invalidate;
pub mod limits;
mod page;
mod problem;
mod read;
mod server;
mod warm;
mod write;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

pub(crate) use self::warm::Outcome as WarmOutcome;
pub use self::{
    gate::{Bearer, Gate},
    limits::Limits,
    server::serve,
};
use trueup::postgres::fleet::Fleet;

use crate::{metrics::Metrics, node::Node};

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct App {
    node: Node,
    metrics: Arc<Metrics>,
}

/// All routes in front of `node`, behind `gate`.
///
/// `fleet` is what this node tells the others of its fleet; without one there is no such route.
pub fn router(node: Node, gate: Gate, limits: &Limits, fleet: Option<Fleet>) -> Router {
    let app = App { metrics: Arc::new(Metrics::new(node.clone())), node };
    let guarded = Router::new()
        .route("/v1/status", get(health::status))
        .route("/v1/invalidate", post(invalidate::invalidate))
        .route("/v1/explain/{class}/{key}", get(explain::explain))
        // A class may be called so, too.
        .route("/v1/warm", get(read::read).post(warm::warm))
        .route("/v1/{class}", get(read::read))
        .route("/v1/{class}/batch", get(read::read).post(batch::batch))
        .route("/v1/lease/{class}/{key}", post(fill::lease))
        .route("/v1/{class}/{key}", get(read::read).put(write::put).delete(write::delete))
        .route("/metrics", get(health::metrics))
        .layer(middleware::from_fn_with_state(limits::Guard::new(limits), limits::bound))
        // Not bounded in time nor counted among the requests: a follower stays for as long as it lives.
        .merge(fleet.map(feed::routes).unwrap_or_default())
        // Outermost, so that who may not ask takes nobody's place.
        .layer(middleware::from_fn_with_state(gate, gate::admit));
    // Not counted among the requests: a server that is busy is alive all the same.
    let open = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/", get(page::index));
    guarded
        .merge(open)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .with_state(app)
}
