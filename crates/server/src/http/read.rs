//! `GET /v1/{class}/{key}`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use trueup::catalog::{Answer, CatalogClass};
use trueup_core::{
    key::{Key, KeyBodyForm},
    receipt::ServedBy,
};

use super::{App, headers, problem::Problem};
use crate::node::{AskError, Node, fold_scope};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) async fn read(State(app): State<App>, uri: Uri, asked: HeaderMap) -> Result<Response, Problem> {
    let class = class_of(&app.node, &uri)?;
    let key = key_of(class, &uri, &asked)?;
    let demand = headers::demand(&asked)?;
    let answer = match class.peek(&key, demand) {
        Some(answer) => answer.into(),
        None => class.read(&key, demand).await?,
    };
    let evidence = headers::evidence(class, &answer, demand.token);
    Ok(found(&asked, &answer, evidence))
}

/// An answer with its evidence.
pub(super) fn found(asked: &HeaderMap, answer: &Answer, evidence: HeaderMap) -> Response {
    let Some(value) = answer.value() else {
        let mut absent =
            Problem::new(StatusCode::NOT_FOUND, "absent", "the source has no such row").into_response();
        absent.headers_mut().extend(evidence);
        return absent;
    };
    let stands_in = answer.served_by() == ServedBy::Fallback;
    if !stands_in && headers::reader_has(asked, &headers::etag(answer.version())) {
        return (StatusCode::NOT_MODIFIED, evidence).into_response();
    }
    // The representation is not the origin's (RFC 9110, 15.3.4), so that it shows to whoever looks at the status alone.
    let status = if stands_in { StatusCode::NON_AUTHORITATIVE_INFORMATION } else { StatusCode::OK };
    (status, evidence, [(header::CONTENT_TYPE, JSON)], value.0.clone()).into_response()
}

/// The class that the path names. No class has a name that would have to be percent-encoded.
pub(super) fn class_of<'n>(node: &'n Node, uri: &Uri) -> Result<&'n Arc<CatalogClass>, Problem> {
    let (name, _) = class_and_key(uri.path());
    Ok(node.catalog().class(name).map_err(AskError::from)?)
}

/// The key that path, query and scope name. The path is taken as it was sent, because a percent-encoded comma is part of
/// a value and a plain one parts two.
pub(super) fn key_of(class: &CatalogClass, uri: &Uri, asked: &HeaderMap) -> Result<Key, Problem> {
    let in_path = match class_and_key(uri.path()) {
        (_, key) if !key.is_empty() => Some(key),
        _ => None,
    };
    let text = match (class.form().body(), in_path, uri.query()) {
        (_, Some(key), None) => key,
        (KeyBodyForm::Parameters(_), None, query) => query.unwrap_or_default(),
        (KeyBodyForm::Parameters(_), Some(_), Some(_)) => {
            return Err(Problem::bad_request(
                "bad-key",
                "give the parameters in the query or in the path, not in both",
            ));
        }
        (KeyBodyForm::Columns(_), _, Some(_)) => {
            let detail = "this class takes no query string; demands stand in headers such as `Trueup-Token`";
            return Err(Problem::bad_request("bad-key", detail));
        }
        (KeyBodyForm::Columns(_), None, None) => "",
    };
    let text = fold_scope(headers::scope(asked)?, text);
    Ok(class.form().parse(&text).map_err(|why| AskError::key(class, why))?)
}

/// The last two parts of `/v1/{class}/{key}`, `/v1/explain/{class}/{key}` or `/v1/lease/{class}/{key}`, the key empty where there is none.
fn class_and_key(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix("/v1/").unwrap_or(path);
    let inner = rest.strip_prefix("explain/").or_else(|| rest.strip_prefix("lease/"));
    let rest = inner.filter(|inner| inner.contains('/')).unwrap_or(rest);
    rest.split_once('/').unwrap_or((rest, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_as_it_was_sent() {
        assert_eq!(class_and_key("/v1/user/a%2Cb"), ("user", "a%2Cb"));
        assert_eq!(class_and_key("/v1/explain/user/42"), ("user", "42"));
        assert_eq!(class_and_key("/v1/lease/rate/42"), ("rate", "42"));
        assert_eq!(class_and_key("/v1/explain/42"), ("explain", "42"));
        assert_eq!(class_and_key("/v1/search"), ("search", ""));
    }
}
