//! A gateway that speaks JSON over HTTP, or HTTPS.

use hyper::Method;
use serde::{Deserialize, Serialize};
use trueup::engine::env::BoxFuture;

use super::{
    Attempt, Gateway, GatewayAddress, Order, Outcome, Terms, Unanswered,
    client::{Call, call},
};
use crate::domain::Id;

/// Longest code of a decline that is taken over, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// The gateway at an address.
#[derive(Clone, Debug)]
pub struct HttpGateway {
    address: GatewayAddress,
    terms: Terms,
}

impl HttpGateway {
    /// The gateway at `address`.
    #[must_use]
    pub const fn new(address: GatewayAddress, terms: Terms) -> Self {
        Self { address, terms }
    }
}

/// An order as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) key: Id,
    pub(super) reference: Id,
    pub(super) minor: i64,
    pub(super) currency: String,
    #[serde(flatten)]
    pub(super) order: Order,
}

/// What the gateway says about an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) reference: Id,
    pub(super) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Done,
    Declined,
}

/// What an answer means for the operation `reference`: only a complete and fitting one means anything.
pub(crate) fn outcome(reference: Id, body: &[u8]) -> Result<Outcome, Unanswered> {
    let said: Said = serde_json::from_slice(body)
        .map_err(|_| Unanswered("the answer is not one of a gateway".to_owned()))?;
    if said.reference != reference {
        return Err(Unanswered("the answer is about another operation".to_owned()));
    }
    match (said.status, said.code) {
        (Status::Done, None) => Ok(Outcome::Done),
        (Status::Declined, Some(code)) if is_word(&code) => Ok(Outcome::Declined { code }),
        _ => Err(Unanswered("the answer contradicts itself".to_owned())),
    }
}

fn is_word(code: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !code.is_empty() && code.len() <= CODE_BYTES_MAX && code.bytes().all(allowed)
}

impl Gateway for HttpGateway {
    fn terms(&self) -> Terms {
        self.terms
    }

    fn send<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Outcome, Unanswered>> {
        Box::pin(async move {
            let written = Written {
                key: attempt.key,
                reference: attempt.reference,
                minor: attempt.money.minor(),
                currency: attempt.money.currency.code().to_owned(),
                order: attempt.order.clone(),
            };
            let body = serde_json::to_vec(&written).map_err(|why| Unanswered(why.to_string()))?;
            let (to, timeout) = (&self.address, self.terms.timeout);
            let answer =
                call(Call { to, method: Method::POST, path: "/v1/operations", headers: &[], body, timeout })
                    .await?;
            match answer {
                (200, body) => outcome(attempt.reference, &body),
                (status, _) => Err(Unanswered(format!("status {status}"))),
            }
        })
    }

    fn look_up(&self, reference: Id) -> BoxFuture<'_, Result<Option<Outcome>, Unanswered>> {
        Box::pin(async move {
            let path = format!("/v1/operations/{reference}");
            let (to, timeout) = (&self.address, self.terms.timeout);
            let body = Vec::new();
            let answer =
                call(Call { to, method: Method::GET, path: &path, headers: &[], body, timeout }).await?;
            match answer {
                (200, body) => outcome(reference, &body).map(Some),
                // Its own words, so that a wrong address is not taken for "never heard of it".
                (404, body) if &*body == super::fake::ABSENT.as_bytes() => Ok(None),
                (status, _) => Err(Unanswered(format!("status {status}"))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44";

    fn of(body: &str) -> Result<Outcome, Unanswered> {
        outcome(ID.parse().unwrap(), body.as_bytes())
    }

    #[test]
    fn only_a_clear_answer_is_an_outcome() {
        assert_eq!(of(&format!(r#"{{"reference":"{ID}","status":"done"}}"#)), Ok(Outcome::Done));
        let declined = of(&format!(r#"{{"reference":"{ID}","status":"declined","code":"card_declined"}}"#));
        assert_eq!(declined, Ok(Outcome::Declined { code: "card_declined".to_owned() }));
        let other = ID.replace("44", "45");
        for body in [
            String::new(),
            "done".to_owned(),
            "<html>502</html>".to_owned(),
            "null".to_owned(),
            format!(r#"{{"reference":"{ID}","status":"don"#),
            format!(r#"{{"reference":"{ID}","status":"maybe"}}"#),
            format!(r#"{{"reference":"{ID}","status":"declined"}}"#),
            format!(r#"{{"reference":"{ID}","status":"done","code":"declined"}}"#),
            format!(r#"{{"reference":"{ID}","status":"declined","code":"<script>"}}"#),
            format!(r#"{{"reference":"{other}","status":"done"}}"#),
        ] {
            assert!(of(&body).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_taken_for_an_outcome(body: Vec<u8>) {
            prop_assert!(outcome(ID.parse().unwrap(), &body).is_err());
        }
    }
}
