//! Accounts: customers' wallets, and the tenant's own.

use serde::{Deserialize, Serialize};

use super::{Currency, Id};

/// Whose money an account counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// A customer's: its balance is kept in its row, and guarded.
    Wallet,
    /// What cards were charged and the gateway owes.
    Clearing,
    /// What the tenant earns.
    Fees,
    /// The world outside: what came in and went out by other ways.
    Outside,
}

/// Whether an account takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// It pays and is paid.
    Open,
    /// It is paid and does not pay.
    Frozen,
    /// Neither.
    Closed,
}

macro_rules! stored_as {
    ($type:ident: $($variant:ident = $text:literal),+) => {
        impl $type {
            /// As it is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What is stored as `text`.
            #[must_use]
            pub fn stored(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(super) use stored_as;

stored_as!(AccountKind: Wallet = "wallet", Clearing = "clearing", Fees = "fees", Outside = "outside");
stored_as!(AccountStatus: Open = "open", Frozen = "frozen", Closed = "closed");

/// An account, as one moment shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: Id,
    /// The tenant it belongs to.
    pub tenant: String,
    /// The person it belongs to; none for the tenant's own.
    pub owner: Option<Id>,
    /// Whose money it counts.
    pub kind: AccountKind,
    /// Its currency.
    pub currency: Currency,
    /// What was posted, in minor units.
    pub balance: i64,
    /// What is promised to payments under way, in minor units.
    pub held: i64,
    /// How far below zero it may go, in minor units.
    pub overdraft: i64,
    /// Whether it takes part.
    pub status: AccountStatus,
    /// Counts its changes.
    pub version: i64,
}

impl Account {
    /// What it may spend, in minor units.
    #[must_use]
    pub fn available(&self) -> i128 {
        i128::from(self.balance) - i128::from(self.held) + i128::from(self.overdraft)
    }
}
