//! `PUT /v1/{class}/{key}` and `DELETE /v1/{class}/{key}` of classes that are written through the cache or behind it.
//!
//! The body of a PUT is a JSON object with the columns that are to be written; what it does not name stays as it is.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use trueup::catalog::CatalogClass;
use trueup_core::{
    error::PutError,
    key::Key,
    source::LoadError,
    write::{Row, RowChange, Written},
};

use super::{
    App, fill, headers,
    problem::{Problem, of_load},
    read::{class_of, key_of},
};

/// What became of the committed row on its way into the tiers, as in metrics.
const PUBLISHED: HeaderName = HeaderName::from_static("trueup-published");
/// The number of an accepted write in this node's journal.
const ACCEPTED: HeaderName = HeaderName::from_static("trueup-accepted");

/// 204 with a token once the row is committed, 202 without one once it is accepted; of a class that its clients fill, 204 once
/// the value is kept.
pub(super) async fn put(
    State(app): State<App>,
    uri: Uri,
    asked: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let class = class_of(&app.node, &uri)?;
    if class.is_filled() {
        return Ok(fill::fill(class, &uri, &asked, body)?.into_response());
    }
    let key = key_of(class, &uri, &asked)?;
    let body =
        body.map_err(|error| Problem::new(error.status(), "bad-body", "the body could not be read"))?;
    let row = Row::parse(&body).map_err(|error| Problem::bad_request("bad-row", error.to_string()))?;
    write(class, &key, RowChange::Put(row)).await
}

/// The same for a row that is to be gone.
pub(super) async fn delete(State(app): State<App>, uri: Uri, asked: HeaderMap) -> Result<Response, Problem> {
    let class = class_of(&app.node, &uri)?;
    let key = key_of(class, &uri, &asked)?;
    write(class, &key, RowChange::Delete).await
}

async fn write(class: &CatalogClass, key: &Key, change: RowChange) -> Result<Response, Problem> {
    let mut evidence = HeaderMap::new();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            evidence.insert(name, value);
        }
    };
    let status = match class.write(key, change).await? {
        Written::Committed { token, published } => {
            set(headers::TOKEN, token.to_string());
            set(PUBLISHED, published.fate.as_str().to_owned());
            if let Some(version) = published.version {
                set(axum::http::header::ETAG, headers::etag(version));
            }
            StatusCode::NO_CONTENT
        }
        Written::Accepted { sequence } => {
            set(ACCEPTED, sequence.to_string());
            StatusCode::ACCEPTED
        }
    };
    Ok((status, evidence).into_response())
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Self {
        let detail = error.to_string();
        match error {
            PutError::NotWritten { .. } => Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail),
            PutError::Source(LoadError::Refused(_)) => Self::new(StatusCode::CONFLICT, "row-refused", detail),
            PutError::Source(error) => of_load(&error, detail),
            PutError::Journal(why) => {
                let kind = format!("journal-{}", why.as_str());
                Self::new(StatusCode::SERVICE_UNAVAILABLE, &kind, detail).retry_after_ms(why.retry_after_ms())
            }
            PutError::Key(_) => Self::bad_request("bad-key", detail),
            _ => Self::bad_request("bad-row", detail),
        }
    }
}
