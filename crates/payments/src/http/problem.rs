//! Errors as `application/problem+json` (RFC 9457), those that are kept with a key and those that are not.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use once::{OnceError, StoredResponse};
use serde_json::{Map, Value as Json};

use crate::service::DOCS;

const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $status:ident, $name:literal;)+) => {
        /// What can be wrong, besides what `once` has words for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[doc = $doc])* $kind),+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name: the fragment of its type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// Its status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status),+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn means(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),*)),+ }
            }
        }
    };
}

kinds! {
    /// No bearer token, or one that does not hold.
    Unauthorized = UNAUTHORIZED, "unauthorized";
    /// The role does not allow it.
    Forbidden = FORBIDDEN, "forbidden";
    /// The payer's identity is not known yet.
    KycRequired = FORBIDDEN, "kyc-required";
    /// The amount needs a one-time password: none was sent, or it was wrong, late or used.
    OtpRequired = FORBIDDEN, "otp-required";
    /// There is no such thing, or it is another tenant's.
    NotFound = NOT_FOUND, "not-found";
    /// There is no such account, or it is not yours.
    UnknownAccount = NOT_FOUND, "unknown-account";
    /// There is no such payment.
    UnknownPayment = NOT_FOUND, "unknown-payment";
    /// The route takes other methods.
    WrongMethod = METHOD_NOT_ALLOWED, "wrong-method";
    /// The body is not one that this route takes.
    BadBody = BAD_REQUEST, "invalid-body";
    /// A parameter of the path or the query is none.
    BadParameter = BAD_REQUEST, "invalid-parameter";
    /// A header is not what it should be.
    BadHeader = BAD_REQUEST, "invalid-header";
    /// The body did not arrive in time.
    SlowBody = REQUEST_TIMEOUT, "slow-body";
    /// The body is too large.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large";
    /// The body is not JSON.
    NotJson = UNSUPPORTED_MEDIA_TYPE, "not-json";
    /// The account has not enough to spend.
    InsufficientFunds = PAYMENT_REQUIRED, "insufficient-funds";
    /// The gateway declined.
    CardDeclined = PAYMENT_REQUIRED, "declined";
    /// The accounts and the amount are not of one currency.
    Currency = UNPROCESSABLE_ENTITY, "currency-mismatch";
    /// The account is frozen or closed.
    AccountNotOpen = UNPROCESSABLE_ENTITY, "account-not-open";
    /// A balance would leave the range of numbers.
    Range = UNPROCESSABLE_ENTITY, "out-of-range";
    /// More would be given back than was charged.
    RefundExceedsPayment = UNPROCESSABLE_ENTITY, "refund-exceeds-payment";
    /// The id is taken.
    IdTaken = UNPROCESSABLE_ENTITY, "id-taken";
    /// The version changed while the request was worked on.
    Conflict = CONFLICT, "version-conflict";
    /// Others are in the way; nothing was done.
    Busy = CONFLICT, "busy";
    /// Too many requests of one principal.
    TooMany = TOO_MANY_REQUESTS, "too-many-requests";
    /// The service cannot answer now; nothing was done.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable";
    /// The service is at fault; nothing was done.
    Broken = SERVICE_UNAVAILABLE, "broken";
}

/// A problem on its way to the client. It never repeats what was sent.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    members: Map<String, Json>,
    location: Option<String>,
    etag: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let mut members = Map::new();
        members.insert("type".to_owned(), format!("{DOCS}#{}", kind.name()).into());
        members.insert("title".to_owned(), kind.means().trim().into());
        members.insert("status".to_owned(), kind.status().as_u16().into());
        members.insert("detail".to_owned(), detail.into().into());
        Self { kind, members, location: None, etag: None }
    }

    /// With a member of its own.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With `Location`.
    #[must_use]
    pub fn location(mut self, path: &str) -> Self {
        self.location = Some(path.to_owned());
        self
    }

    /// With the current version, and its entity tag.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.etag = Some(once::http::etag(version));
        self.member("version", version)
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    fn body(&self) -> Vec<u8> {
        Json::Object(self.members.clone()).to_string().into_bytes()
    }

    /// As it is kept with a key: a decline is an outcome.
    ///
    /// # Errors
    /// [`OnceError`] where the kind is none to keep.
    pub fn stored(&self) -> Result<StoredResponse, OnceError> {
        let mut stored = StoredResponse::new(self.kind.status().as_u16(), self.body())?
            .header("content-type", PROBLEM_JSON.as_bytes())?
            .header("cache-control", b"no-store")?;
        if let Some(location) = &self.location {
            stored = stored.header("location", location.as_bytes())?;
        }
        Ok(stored)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.kind, Kind::Busy | Kind::TooMany | Kind::Unavailable | Kind::Broken) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        for (name, value) in [(header::LOCATION, self.location), (header::ETAG, self.etag)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Kind::ALL.iter().all(|kind| kind.status().as_u16() != 500), "nothing answers 500");
    }

    #[test]
    fn a_decline_is_kept_as_it_is_told() {
        let problem = Problem::new(Kind::InsufficientFunds, "not enough").location("/x");
        let stored = problem.stored().unwrap();
        assert_eq!(stored.status(), 402);
        let told = problem.into_response();
        assert_eq!(told.headers()["content-type"], PROBLEM_JSON);
        assert!(Problem::new(Kind::Unavailable, "").stored().is_err(), "what says nothing is not kept");
    }
}
