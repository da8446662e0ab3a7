//! Double entry: what leaves one account arrives in others.

use std::collections::BTreeMap;

use super::{Currency, Id};

/// Why a posting was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PostingKind {
    /// From one account to another.
    Transfer,
    /// A card was charged.
    Charge,
    /// A charge was given back.
    Refund,
    /// The nightly job.
    Settlement,
    /// A standing order, in a month.
    StandingOrder,
}

impl PostingKind {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Settlement => "settlement",
            Self::StandingOrder => "standing-order",
        }
    }
}

/// What one account gains (above zero) or loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The account.
    pub account: Id,
    /// In which currency.
    pub currency: Currency,
    /// Minor units.
    pub minor: i64,
}

/// Not a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbalanced {
    /// Fewer than two legs.
    #[error("a posting has two legs at least")]
    Legs,
    /// A leg of nothing.
    #[error("a leg of a posting moves something")]
    Nothing,
    /// An account twice.
    #[error("a posting names an account once")]
    Twice,
    /// What leaves is not what arrives.
    #[error("the legs of a posting sum to {sum} in {currency}, not to zero")]
    Sum {
        /// The currency.
        currency: Currency,
        /// The sum, in minor units.
        sum: i128,
    },
}

/// Legs that sum to zero in each currency. There is no other way to make one than [`Posting::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    id: Id,
    kind: PostingKind,
    legs: Vec<Leg>,
}

impl Posting {
    /// A posting of `legs`, which are sorted by account: rows are always locked and changed in that order.
    ///
    /// # Errors
    /// [`Unbalanced`].
    pub fn new(id: Id, kind: PostingKind, mut legs: Vec<Leg>) -> Result<Self, Unbalanced> {
        if legs.len() < 2 {
            return Err(Unbalanced::Legs);
        }
        if legs.iter().any(|leg| leg.minor == 0) {
            return Err(Unbalanced::Nothing);
        }
        legs.sort_unstable_by_key(|leg| leg.account);
        if legs.windows(2).any(|pair| pair[0].account == pair[1].account) {
            return Err(Unbalanced::Twice);
        }
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for leg in &legs {
            *sums.entry(leg.currency).or_default() += i128::from(leg.minor);
        }
        match sums.into_iter().find(|(_, sum)| *sum != 0) {
            Some((currency, sum)) => Err(Unbalanced::Sum { currency, sum }),
            None => Ok(Self { id, kind, legs }),
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> Id {
        self.id
    }

    /// Why it was made.
    #[must_use]
    pub const fn kind(&self) -> PostingKind {
        self.kind
    }

    /// Its legs, by account.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn posting(legs: &[(u8, Currency, i64)]) -> Result<Posting, Unbalanced> {
        let legs = legs.iter().map(|(n, currency, minor)| Leg {
            account: id(*n),
            currency: *currency,
            minor: *minor,
        });
        Posting::new(id(0), PostingKind::Transfer, legs.collect())
    }

    fn id(n: u8) -> Id {
        format!("00000000-0000-4000-8000-0000000000{:02x}", n.max(1)).parse().unwrap()
    }

    #[test]
    fn what_does_not_balance_is_no_posting() {
        let eur = Currency::EUR;
        assert!(posting(&[(1, eur, -5), (2, eur, 5)]).is_ok());
        assert_eq!(posting(&[]), Err(Unbalanced::Legs));
        assert_eq!(posting(&[(1, eur, 5)]), Err(Unbalanced::Legs));
        assert_eq!(posting(&[(1, eur, -5), (2, eur, 5), (3, eur, 0)]), Err(Unbalanced::Nothing));
        assert_eq!(posting(&[(1, eur, -5), (1, eur, 5)]), Err(Unbalanced::Twice));
        assert_eq!(posting(&[(1, eur, -5), (2, eur, 4)]), Err(Unbalanced::Sum { currency: eur, sum: -1 }));
        let both = posting(&[(1, eur, -5), (2, Currency::CZK, 5)]);
        assert!(matches!(both, Err(Unbalanced::Sum { .. })), "currencies are not mixed");
    }

    #[test]
    fn the_largest_numbers_do_not_wrap_around() {
        let eur = Currency::EUR;
        let wraps = posting(&[(1, eur, i64::MAX), (2, eur, i64::MAX), (3, eur, 2)]);
        assert!(matches!(wraps, Err(Unbalanced::Sum { .. })), "the sum is 0 only in 64 bits");
    }

    proptest! {
        #[test]
        fn every_posting_sums_to_zero_in_each_currency(
            legs in prop::collection::vec((1u8..6, prop::sample::select(vec![Currency::EUR, Currency::CZK]), -3i64..4), 0..6)
        ) {
            if let Ok(posting) = posting(&legs) {
                for currency in [Currency::EUR, Currency::CZK] {
                    let of = posting.legs().iter().filter(|leg| leg.currency == currency);
                    prop_assert_eq!(of.map(|leg| leg.minor).sum::<i64>(), 0);
                }
                prop_assert!(posting.legs().is_sorted_by_key(|leg| leg.account));
            }
        }
    }
}
