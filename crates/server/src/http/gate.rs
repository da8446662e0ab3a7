//! Who may ask.

use std::{fmt, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use super::problem::Problem;

/// Names by which a page of this machine reaches the server.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The token that requests must carry as `Authorization: Bearer ...`.
#[derive(Clone)]
pub struct Bearer(Arc<str>);

impl Bearer {
    /// Requests must carry `secret`.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// Takes the same time for every wrong token of the right length.
    fn admits(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

/// Secrets are not for logs.
impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// Who may ask.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Programs of this machine. Web pages are kept out: a page that has its own name resolve to this machine sends that
    /// name as `Host`.
    Loopback,
    /// Whoever carries the token.
    Token(Bearer),
}

/// Lets the request in, or says what it lacks.
pub(super) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match refusal(&gate, &request) {
        None => next.run(request).await,
        Some(problem) => {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let bearer = HeaderValue::from_static("Bearer realm=\"trueup\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
            }
            response
        }
    }
}

fn refusal(gate: &Gate, request: &Request) -> Option<Problem> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    match gate {
        Gate::Loopback => {
            let host = request.uri().host().or_else(|| host_of(text(header::HOST)?))?;
            let own = LOOPBACK_NAMES.iter().any(|name| host.eq_ignore_ascii_case(name));
            (!own).then(|| {
                Problem::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "wrong-host",
                    "without a token only programs of this machine are served: ask 127.0.0.1 or localhost",
                )
            })
        }
        Gate::Token(bearer) => {
            let presented = text(header::AUTHORIZATION).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
            });
            let detail = match presented {
                Some(token) if bearer.admits(token) => return None,
                Some(_) => "the token is wrong",
                None => "send the token as `Authorization: Bearer TOKEN`",
            };
            Some(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
        }
    }
}

/// `Host` without the port.
fn host_of(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    host.get(..end)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn refused(gate: &Gate, name: header::HeaderName, value: &str) -> bool {
        let request = Request::builder().uri("/v1/user/1").header(name, value).body(Body::empty()).unwrap();
        refusal(gate, &request).is_some()
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_served() {
        for host in ["localhost", "LOCALHOST:7380", "127.0.0.1:7380", "[::1]:7380", "[::1]"] {
            assert!(!refused(&Gate::Loopback, header::HOST, host), "{host}");
        }
        for host in ["evil.example", "evil.example:7380", "127.0.0.1.evil.example", "localhost.evil.example"]
        {
            assert!(refused(&Gate::Loopback, header::HOST, host), "{host}");
        }
    }

    #[test]
    fn only_the_right_token_is_admitted() {
        let gate = Gate::Token(Bearer::new("secret"));
        assert!(!refused(&gate, header::AUTHORIZATION, "Bearer secret"));
        assert!(!refused(&gate, header::AUTHORIZATION, "bearer  secret "));
        for wrong in ["Bearer secre", "Bearer secres", "Bearer", "Basic secret", "secret", ""] {
            assert!(refused(&gate, header::AUTHORIZATION, wrong), "{wrong}");
        }
        assert!(refused(&gate, header::HOST, "localhost"));
        assert_eq!(format!("{gate:?}"), "Token(Bearer(..))");
    }
}
