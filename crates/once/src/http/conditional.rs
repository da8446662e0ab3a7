//! `If-Match`, and the version that answers carry.

use axum::http::{HeaderMap, header};

use super::problem::{Docs, Problem, ProblemKind};

/// The strong entity tag of a row's version.
#[must_use]
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// Checks that there is an `If-Match` at all, before anything is read.
///
/// **Safe to repeat: yes.** It looks at headers.
///
/// # Errors
/// [`ProblemKind::PreconditionRequired`].
pub fn if_match_present(headers: &HeaderMap, docs: &Docs) -> Result<(), Problem> {
    if headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let detail = "send If-Match with the ETag of the version that the change is based on";
    Err(Problem::new(ProblemKind::PreconditionRequired, docs, detail))
}

/// Compares `If-Match` with the current version, as read in the transaction that makes the change.
///
/// **Safe to repeat: yes.** It compares.
///
/// # Errors
/// [`ProblemKind::PreconditionRequired`] without the header, [`ProblemKind::PreconditionFailed`] with another version; both carry the current one.
pub fn if_match(headers: &HeaderMap, current: i64, docs: &Docs) -> Result<(), Problem> {
    let with_version =
        |problem: Problem| problem.header(header::ETAG, &etag(current)).member("version", current);
    if_match_present(headers, docs).map_err(with_version)?;
    let wanted = etag(current);
    let values = headers.get_all(header::IF_MATCH).iter();
    let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    // Compared strongly: a weak tag (W/"1") matches nothing.
    if tags.any(|tag| tag.trim() == "*" || tag.trim() == wanted) {
        return Ok(());
    }
    let detail = "the resource is no longer at the version that the change is based on; read it again";
    Err(with_version(Problem::new(ProblemKind::PreconditionFailed, docs, detail)))
}

/// The answer to a change whose row had another version by the time it was made: a lost race, where nothing was locked before.
#[must_use]
pub fn lost_race(current: i64, docs: &Docs) -> Problem {
    let detail = "another change was made meanwhile; read the resource again and decide anew";
    Problem::new(ProblemKind::Conflict, docs, detail)
        .header(header::ETAG, &etag(current))
        .member("version", current)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn status(value: Option<&'static str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
        }
        if_match(&headers, 7, &Docs::at("/docs")).err().map(|problem| problem.status().as_u16())
    }

    #[test]
    fn only_the_current_version_matches() {
        assert_eq!(status(Some("\"7\"")), None);
        assert_eq!(status(Some("\"6\", \"7\"")), None);
        assert_eq!(status(Some("*")), None);
        assert_eq!(status(Some("\"6\"")), Some(412));
        assert_eq!(status(Some("W/\"7\"")), Some(412));
        assert_eq!(status(Some("7")), Some(412));
        assert_eq!(status(None), Some(428));
    }
}
