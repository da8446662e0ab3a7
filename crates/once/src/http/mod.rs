//! The contract over HTTP: draft-ietf-httpapi-idempotency-key-header, with Stripe's semantics where it is silent.
//!
//! | case | answer |
//! |---|---|
//! | key missing | 400, `Link: <docs>; rel="describedby"` |
//! | key malformed | 400, a type of its own |
//! | in flight | 409, `Retry-After`, `Location` once there is one |
//! | same key, other request | 422, a type of its own |
//! | answered before | the same answer byte for byte, with `Idempotent-Replayed: true` |
//! | accepted before | 202, `Location`, `Retry-After`: read the state anew |
//! | same business id, other key (the first may be long forgotten) | the present state, by [`Gate::present`], else 409 with its place |
//! | `If-Match` missing, stale | 428, 412, with the current version |
//! | a race that was lost | 409, with the current version |
//! | the store is down | 503, `Retry-After`: nothing was done |
//!
//! The order of the gates, so that a repeat of what has succeeded is not refused by anything that the success has changed: who (401, 403), how often (429),
//! key, body, [look-up](Gate::look_up), `If-Match`, [claim](Gate::claim). [`GateLayer`] keeps the order of the first three; for the others the types do:
//! a claim takes what only a look-up gives.

mod conditional;
mod gate;
mod header;
mod layer;
mod problem;
mod stored;

pub use self::{
    conditional::{etag, if_match, if_match_present, lost_race},
    gate::{Admitted, Answer, Begun, Found, Gate},
    header::{HeaderError, IDEMPOTENCY_KEY, key_of},
    layer::{GateLayer, GateService, Keyed, Principal},
    problem::{Docs, Problem, ProblemKind},
    stored::{REPLAYED, collect, replay, respond},
};
