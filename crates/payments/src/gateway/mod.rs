//! The card gateway, as this service sees it: it takes orders by key, and can be asked what became of a reference.
//!
//! A time-out is never an outcome. What is not a clear yes or no of the gateway is [`Unanswered`], and then nobody knows.

mod address;
mod client;
pub mod fake;
mod http;
mod signature;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trueup::engine::env::BoxFuture;

pub(crate) use self::http::outcome;
pub use self::{
    address::{GatewayAddress, GatewayError},
    http::HttpGateway,
    signature::WebhookKey,
};
use crate::domain::{Id, Money};

/// What is asked of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Order {
    /// To charge a card.
    Charge {
        /// The gateway's own name for the card.
        card: String,
    },
    /// To give (a part of) a charge back.
    Refund {
        /// Our reference of the charge.
        of: Id,
    },
}

/// An attempt at an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The same key within the gateway's window is the same attempt: it is made once.
    pub key: Id,
    /// Our name for the operation, the same for all attempts at it.
    pub reference: Id,
    /// How much.
    pub money: Money,
    /// What is asked.
    pub order: Order,
}

/// A clear answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was declined, and is not going to be done.
    Declined {
        /// Why, in the gateway's word.
        code: String,
    },
}

/// No clear answer: it may or may not have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway gave no clear answer: {0}")]
pub struct Unanswered(pub String);

/// What the gateway promises.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// For how long after its first use a key means the same attempt.
    pub key_window: Duration,
    /// Keys are not used again this long before their window ends: clocks differ, and a request takes its time.
    pub margin: Duration,
    /// A request that was sent longer ago is not going to be taken up any more.
    pub in_flight_max: Duration,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            key_window: Duration::from_secs(24 * 60 * 60),
            margin: Duration::from_secs(10 * 60),
            in_flight_max: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(10),
        }
    }
}

/// A card gateway.
pub trait Gateway: Send + Sync + 'static {
    /// What it promises.
    fn terms(&self) -> Terms;

    /// Makes an attempt. Safe to repeat with the same key, within the key's window.
    fn send<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Outcome, Unanswered>>;

    /// What became of a reference; `None` where the gateway has never heard of it. Safe to repeat.
    fn look_up(&self, reference: Id) -> BoxFuture<'_, Result<Option<Outcome>, Unanswered>>;
}
