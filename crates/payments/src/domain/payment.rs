//! Card charges and what is given back of them.

use serde::{Deserialize, Serialize};

use super::{Currency, Id, account::stored_as};

/// How far a charge has come. A time-out is no state: what is not known is still `Intent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentState {
    /// The gateway was or will be asked; the outcome is not known.
    Intent,
    /// The card was charged, and the money posted.
    Charged,
    /// The gateway declined. Nothing was charged.
    Declined,
}

/// How far a refund has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefundState {
    /// The gateway was or will be asked; the amount is held.
    Intent,
    /// The money was given back.
    Refunded,
    /// The gateway declined; the hold was released.
    Declined,
}

stored_as!(PaymentState: Intent = "intent", Charged = "charged", Declined = "declined");
stored_as!(RefundState: Intent = "intent", Refunded = "refunded", Declined = "declined");

/// A charge, as its row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The client's id, which is the gateway's reference, too.
    pub id: Id,
    /// The tenant.
    pub tenant: String,
    /// The wallet that is credited.
    pub account: Id,
    /// What the card is charged, in minor units.
    pub minor: i64,
    /// What the tenant keeps of it, in minor units.
    pub fee_minor: i64,
    /// The currency.
    pub currency: Currency,
    /// How far it has come.
    pub state: PaymentState,
    /// Why it was declined.
    pub decline_code: Option<String>,
    /// What was given back and what is being given back, in minor units: never above `minor`.
    pub refunded_minor: i64,
    /// The row of its idempotency key.
    pub key_id: i64,
    /// Counts its changes.
    pub version: i64,
}

impl Payment {
    /// Whether `minor` more may be given back.
    #[must_use]
    pub fn may_refund(&self, minor: i64) -> bool {
        self.state == PaymentState::Charged
            && minor > 0
            && self.refunded_minor.checked_add(minor).is_some_and(|sum| sum <= self.minor)
    }

    /// Whether its outcome is known.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state != PaymentState::Intent
    }
}

/// A refund, as its row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The client's id, which is the gateway's reference, too.
    pub id: Id,
    /// The charge.
    pub payment: Id,
    /// The tenant.
    pub tenant: String,
    /// The wallet that pays.
    pub account: Id,
    /// How much, in minor units.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
    /// How far it has come.
    pub state: RefundState,
    /// Why it was declined.
    pub decline_code: Option<String>,
    /// The row of its idempotency key.
    pub key_id: i64,
    /// Counts its changes.
    pub version: i64,
}

impl Refund {
    /// Whether its outcome is known.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state != RefundState::Intent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn charged(minor: i64, refunded_minor: i64, state: PaymentState) -> Payment {
        let id = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44".parse().unwrap();
        Payment {
            id,
            tenant: "t".to_owned(),
            account: id,
            minor,
            fee_minor: 0,
            currency: Currency::EUR,
            state,
            decline_code: None,
            refunded_minor,
            key_id: 1,
            version: 1,
        }
    }

    #[test]
    fn only_what_was_charged_is_given_back() {
        assert!(charged(100, 0, PaymentState::Charged).may_refund(100));
        assert!(!charged(100, 0, PaymentState::Charged).may_refund(101));
        assert!(!charged(100, 60, PaymentState::Charged).may_refund(60));
        assert!(!charged(100, 0, PaymentState::Intent).may_refund(1));
        assert!(!charged(100, 0, PaymentState::Declined).may_refund(1));
        assert!(!charged(100, 50, PaymentState::Charged).may_refund(i64::MAX));
    }

    proptest! {
        #[test]
        fn any_row_of_refunds_stays_within_what_was_charged(minor in 1i64..1_000, asked in prop::collection::vec(-10i64..500, 0..20)) {
            let mut payment = charged(minor, 0, PaymentState::Charged);
            for one in asked {
                if payment.may_refund(one) {
                    payment.refunded_minor += one;
                }
                prop_assert!(payment.refunded_minor <= payment.minor);
            }
        }
    }
}
