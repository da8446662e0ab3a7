//! Amounts: whole minor units of one currency. There is no floating point in this crate.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Currency;

/// Largest single amount, in minor units: ten trillion of a currency with two decimals. The sum of nine thousand of them
/// still fits an `i64`.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000_000_000;

/// Why a number is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Zero.
    #[error("an amount is more than zero")]
    Zero,
    /// Below zero.
    #[error("an amount is never negative: swap the accounts instead")]
    Negative,
    /// Written with a fraction or an exponent.
    #[error("an amount is a whole number of minor units (cents), written without point and exponent")]
    Fractional,
    /// More than [`AMOUNT_MINOR_MAX`].
    #[error("an amount is at most {AMOUNT_MINOR_MAX} minor units")]
    TooLarge,
    /// Two amounts of different currencies.
    #[error("the currencies differ")]
    Currency,
}

/// A number of minor units from 1 to [`AMOUNT_MINOR_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Amount(i64);

impl Amount {
    /// The amount of this many minor units.
    ///
    /// # Errors
    /// [`AmountError`].
    pub const fn new(minor: i64) -> Result<Self, AmountError> {
        match minor {
            i64::MIN..=-1 => Err(AmountError::Negative),
            0 => Err(AmountError::Zero),
            1..=AMOUNT_MINOR_MAX => Ok(Self(minor)),
            _ => Err(AmountError::TooLarge),
        }
    }

    /// How many minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Whole;

        impl de::Visitor<'_> for Whole {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of minor units")
            }

            fn visit_i64<E: de::Error>(self, minor: i64) -> Result<Amount, E> {
                Amount::new(minor).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, minor: u64) -> Result<Amount, E> {
                i64::try_from(minor).map_or(Err(AmountError::TooLarge), Amount::new).map_err(E::custom)
            }

            // A number too long for 64 bits comes here as well.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                let too_large = number.abs() >= AMOUNT_MINOR_MAX as f64;
                Err(E::custom(if too_large { AmountError::TooLarge } else { AmountError::Fractional }))
            }
        }

        from.deserialize_any(Whole)
    }
}

/// An amount of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// `minor` units of `currency`.
    ///
    /// # Errors
    /// [`AmountError`].
    pub fn new(minor: i64, currency: Currency) -> Result<Self, AmountError> {
        Ok(Self { amount: Amount::new(minor)?, currency })
    }

    /// How many minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.amount.minor()
    }

    /// What is left when `other` is taken away.
    ///
    /// # Errors
    /// [`AmountError`] where the currencies differ, or nothing or less would be left.
    pub fn less(self, other: Self) -> Result<Self, AmountError> {
        if self.currency != other.currency {
            return Err(AmountError::Currency);
        }
        // Both are between 1 and 10^15.
        Self::new(self.minor() - other.minor(), self.currency)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = self.currency.decimals() as usize;
        let unit = 10_i64.pow(self.currency.decimals().into());
        let (whole, rest) = (self.minor() / unit, self.minor() % unit);
        if decimals == 0 {
            return write!(f, "{whole} {}", self.currency);
        }
        write!(f, "{whole}.{rest:0decimals$} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(json: &str) -> Result<Amount, String> {
        serde_json::from_str(json).map_err(|why| why.to_string())
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        for (json, reason) in [
            ("0", "more than zero"),
            ("-1", "never negative"),
            ("-9223372036854775808", "never negative"),
            ("1.5", "whole number"),
            ("1.0", "whole number"),
            ("1e2", "whole number"),
            ("1000000000000001", "at most"),
            ("9223372036854775808", "at most"),
            ("99999999999999999999999999", "at most"),
            ("1e300", "at most"),
            ("\"1\"", "whole number"),
            ("null", "whole number"),
            ("true", "whole number"),
        ] {
            let why = parsed(json).unwrap_err();
            assert!(why.contains(reason), "{json}: {why}");
        }
        assert_eq!(parsed("1").unwrap().minor(), 1);
        assert_eq!(parsed("1000000000000000").unwrap().minor(), AMOUNT_MINOR_MAX);
    }

    #[test]
    fn money_is_shown_with_its_decimals() {
        let shown = |minor, code: &str| Money::new(minor, code.parse().unwrap()).unwrap().to_string();
        assert_eq!(shown(1_005, "EUR"), "10.05 EUR");
        assert_eq!(shown(1_005, "JPY"), "1005 JPY");
        assert_eq!(shown(1_005, "KWD"), "1.005 KWD");
    }

    proptest! {
        #[test]
        fn only_whole_numbers_in_bounds_are_amounts(minor: i64) {
            let allowed = (1..=AMOUNT_MINOR_MAX).contains(&minor);
            prop_assert_eq!(parsed(&minor.to_string()).is_ok(), allowed);
            prop_assert_eq!(Amount::new(minor).is_ok(), allowed);
        }

        #[test]
        fn no_text_makes_parsing_panic(text: String) {
            let _ = parsed(&text);
        }

        #[test]
        fn what_is_left_and_what_was_taken_are_the_whole(a in 1..=AMOUNT_MINOR_MAX, b in 1..=AMOUNT_MINOR_MAX) {
            let money = |minor| Money::new(minor, Currency::EUR).unwrap();
            match money(a).less(money(b)) {
                Ok(left) => prop_assert_eq!(left.minor() + b, a),
                Err(_) => prop_assert!(b >= a),
            }
        }
    }
}
