//! `POST /v1/warm`: reads keys before anybody asks for them.

use std::time::Duration;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use serde::{Deserialize, Serialize};
use trueup_core::{
    key::Key,
    read::WarmRules,
    stats::{Warmed, WarmedFrom},
};

use super::{
    App,
    batch::{KeyText, bad_body},
    problem::Problem,
};
use crate::node::{AskError, check_count};

/// How long the keys of one request may take: who asks with many asks several times.
const WITHIN: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    class: String,
    /// Keys as text, a scope in front, or as numbers.
    keys: Option<Vec<KeyText>>,
    /// Instead of keys: a part of those that the node has recorded, the hottest first.
    recorded: Option<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    from: usize,
    most: usize,
}

/// What became of the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Keys that were given, or are recorded.
    pub(crate) total: u64,
    /// Memory could answer already.
    pub(crate) hits: u64,
    /// Taken from the remote tier.
    pub(crate) l2: u64,
    /// Read from the source.
    pub(crate) source: u64,
    /// There was no place at the source in time.
    pub(crate) refused: u64,
    /// The source failed.
    pub(crate) failed: u64,
    /// What is no key of the class.
    pub(crate) unknown: u64,
}

impl Outcome {
    /// Adds what became of other keys of the class.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.hits += other.hits;
        self.l2 += other.l2;
        self.source += other.source;
        self.refused += other.refused;
        self.failed += other.failed;
        self.unknown += other.unknown;
    }

    fn of(warmed: &Warmed, total: usize, unknown: usize) -> Self {
        Self {
            total: total as u64,
            hits: warmed.of(WarmedFrom::Memory),
            l2: warmed.of(WarmedFrom::Remote),
            source: warmed.of(WarmedFrom::Source),
            refused: warmed.of(WarmedFrom::Refused),
            failed: warmed.of(WarmedFrom::Failed),
            unknown: unknown as u64,
        }
    }
}

pub(super) async fn warm(
    State(app): State<App>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Outcome>, Problem> {
    let Json(asked) = body.map_err(|error| bad_body(&error))?;
    let class = app.node.catalog().class(&asked.class).map_err(AskError::from)?;
    let Some(cached) = class.cached() else {
        let detail = format!("class `{}` is never cached: there is nothing to warm", class.name());
        return Err(Problem::bad_request("never-cached", detail));
    };
    let (keys, total, unknown) = match (asked.keys, asked.recorded) {
        (Some(texts), None) => {
            check_count(texts.len())?;
            let keys: Vec<Key> =
                texts.iter().filter_map(|text| class.form().parse(&text.text()).ok()).collect();
            let unknown = texts.len() - keys.len();
            (keys, texts.len(), unknown)
        }
        (None, Some(part)) => {
            check_count(part.most)?;
            let recorded = cached.hot_keys(usize::MAX);
            let total = recorded.len();
            (recorded.into_iter().skip(part.from).take(part.most).collect(), total, 0)
        }
        _ => return Err(Problem::bad_request("bad-body", "give either `keys` or `recorded`")),
    };
    if let Some(reason) = app.node.not_fresh() {
        // Nothing could be kept.
        return Err(Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "not-ready", reason));
    }
    let warmed = cached.warm_canonical(&keys, &WarmRules::within(WITHIN), |_| ()).await;
    Ok(Json(Outcome::of(&warmed, total, unknown)))
}
