//! `POST /v1/invalidate`.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use serde::{Deserialize, Serialize};

use super::{App, batch::bad_body, problem::Problem};
use crate::node::{AskError, Target, check_count};

/// What is asked: each `class:key`, `class@scope:key`, or `class` for all of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invalidation {
    tags: Vec<String>,
}

/// What is answered.
#[derive(Serialize)]
pub(super) struct Done {
    /// Tags invalidated.
    invalidated: usize,
    /// A read with this token, on any node, sees nothing that was cached before.
    token: String,
}

pub(super) async fn invalidate(
    State(app): State<App>,
    body: Result<Json<Invalidation>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    let Json(asked) = body.map_err(|error| bad_body(&error))?;
    check_count(asked.tags.len())?;
    if asked.tags.is_empty() {
        return Err(Problem::bad_request("bad-body", "`tags` is empty: name what is to be invalidated"));
    }
    let targets = asked.tags.iter().map(|tag| Target::parse(&app.node, tag.as_bytes()));
    let targets = targets.collect::<Result<Vec<_>, AskError>>()?;
    let token = app.node.invalidate_here(&targets).await?;
    Ok(Json(Done { invalidated: targets.len(), token: token.to_string() }))
}
