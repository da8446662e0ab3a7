//! What a service costs.

use serde::{Deserialize, Serialize};

use super::{Currency, Money};

const PARTS_PER_MILLION: i128 = 1_000_000;

/// A line of the fee table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// The tenant.
    pub tenant: String,
    /// What it is for: `charge`.
    pub kind: String,
    /// In which currency.
    pub currency: Currency,
    /// The fixed part, in minor units.
    pub fixed_minor: i64,
    /// The part that grows with the amount, in millionths of it.
    pub rate_ppm: i64,
    /// Counts its changes.
    pub version: i64,
}

impl Fee {
    /// Largest rate: all of it.
    pub const RATE_PPM_MAX: i64 = 1_000_000;

    /// What is kept of `money`, in minor units: rounded down, and less than `money`, so that something arrives.
    #[must_use]
    pub fn of(&self, money: Money) -> i64 {
        let rate = i128::from(money.minor()) * i128::from(self.rate_ppm) / PARTS_PER_MILLION;
        let fee = (rate + i128::from(self.fixed_minor)).clamp(0, i128::from(money.minor()) - 1);
        // At most an amount, which fits.
        i64::try_from(fee).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::AMOUNT_MINOR_MAX;

    fn fee(fixed_minor: i64, rate_ppm: i64) -> Fee {
        let (tenant, kind, currency) = ("t".to_owned(), "charge".to_owned(), Currency::EUR);
        Fee { tenant, kind, currency, fixed_minor, rate_ppm, version: 1 }
    }

    #[test]
    fn a_fee_is_a_fixed_part_and_a_share() {
        let of = |minor| fee(25, 14_000).of(Money::new(minor, Currency::EUR).unwrap());
        assert_eq!(of(10_000), 25 + 140);
        assert_eq!(of(10), 9, "something arrives");
        assert_eq!(of(1), 0);
    }

    proptest! {
        #[test]
        fn a_fee_is_never_negative_and_never_all(fixed in 0..=AMOUNT_MINOR_MAX, ppm in 0..=Fee::RATE_PPM_MAX, minor in 1..=AMOUNT_MINOR_MAX) {
            let kept = fee(fixed, ppm).of(Money::new(minor, Currency::EUR).unwrap());
            prop_assert!(kept >= 0 && kept < minor);
        }
    }
}
