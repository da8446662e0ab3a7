//! Which URLs are keys of which class.

use std::{fmt, str::FromStr};

use compact_str::CompactString;

/// Stands for the key in a route's path.
const KEY: &str = "{key}";
/// Stands for the parameters of the key, behind a route's path.
const QUERY: &str = "?{query}";
/// Under these a server's own URLs stand.
const OWN: &str = "/v1/";

/// URLs of one shape, whose keys are of one class: `CLASS=/path/{key}/rest`, or `CLASS=/path?{query}` for a class of
/// parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    class: CompactString,
    before: String,
    /// What follows the key in the path; none: the query is the key.
    after: Option<String>,
}

/// A text that is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no route; write \"CLASS=/path/{{key}}\", or \"CLASS=/path?{{query}}\" where the parameters are the key"
)]
pub struct BadRoute;

impl FromStr for Route {
    type Err = BadRoute;

    fn from_str(text: &str) -> Result<Self, BadRoute> {
        let (class, shape) = text.split_once('=').ok_or(BadRoute)?;
        let (class, shape) = (class.trim(), shape.trim());
        let route = match (shape.split_once(KEY), shape.strip_suffix(QUERY)) {
            (Some((before, after)), None) => {
                Self { class: class.into(), before: before.to_owned(), after: Some(after.to_owned()) }
            }
            (None, Some(path)) => Self { class: class.into(), before: path.to_owned(), after: None },
            _ => return Err(BadRoute),
        };
        let all = || [&route.before].into_iter().chain(&route.after);
        let plain = all().all(|part| !part.contains(['{', '}', '?', ' ']));
        if class.is_empty() || !route.before.starts_with('/') || !plain { Err(BadRoute) } else { Ok(route) }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            Some(after) => write!(f, "{}={}{KEY}{after}", self.class, self.before),
            None => write!(f, "{}={}{QUERY}", self.class, self.before),
        }
    }
}

impl Route {
    fn key_of<'u>(&self, path: &'u str, query: Option<&'u str>) -> Option<&'u str> {
        let Some(after) = &self.after else { return query.filter(|_| path == self.before) };
        let key = path.strip_prefix(self.before.as_str())?.strip_suffix(after.as_str())?;
        (!key.is_empty() && !key.contains('/')).then_some(key)
    }
}

/// All routes, besides a server's own `/v1/CLASS/KEY` and `/v1/CLASS?PARAMETERS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<Route>);

impl Routes {
    /// The class and the key that `url` asks for; none if it is no read of any.
    #[must_use]
    pub fn find<'r>(&'r self, url: &'r str) -> Option<(&'r str, &'r str)> {
        let target = path_of(url);
        let target = target.split_once('#').map_or(target, |(target, _)| target);
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        for route in &self.0 {
            if let Some(key) = route.key_of(path, query) {
                return Some((&route.class, key));
            }
        }
        let rest = path.strip_prefix(OWN)?;
        match (rest.split_once('/'), query) {
            (Some((class, key)), None) if !key.is_empty() && !key.contains('/') => Some((class, key)),
            (None, Some(query)) => Some((rest, query)),
            _ => None,
        }
    }
}

/// A URL without scheme and host.
fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(texts: &[&str]) -> Routes {
        Routes(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn urls_are_told_apart_by_their_shape() {
        let routes = routes(&["product=/products/{key}/page.html", "search=/search?{query}"]);
        for (url, found) in [
            ("/products/42/page.html", Some(("product", "42"))),
            ("/products/42/page.html?utm_source=x", Some(("product", "42"))),
            ("https://shop.example/products/a%2Cb/page.html#top", Some(("product", "a%2Cb"))),
            ("/products//page.html", None),
            ("/products/1/2/page.html", None),
            ("/search?q=shoes&page=2", Some(("search", "q=shoes&page=2"))),
            ("/search", None),
            ("/searching?q=1", None),
            ("/v1/user/42", Some(("user", "42"))),
            ("/v1/shelf?category=1", Some(("shelf", "category=1"))),
            ("/v1/explain/user/42", None),
            ("/v1/status", None),
            ("/v1/user/", None),
            ("http://h", None),
            ("", None),
        ] {
            assert_eq!(routes.find(url), found, "{url}");
        }
    }

    #[test]
    fn a_route_reads_back_and_anything_else_is_refused() {
        for text in ["product=/products/{key}", "a=/x/{key}/y", "search=/search?{query}"] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        for bad in
            ["", "product", "=/p/{key}", "p=p/{key}", "p=/p", "p=/{key}/{key}", "p=/{key}?{query}", "p=/{id}"]
        {
            assert_eq!(bad.parse::<Route>(), Err(BadRoute), "{bad}");
        }
    }
}
