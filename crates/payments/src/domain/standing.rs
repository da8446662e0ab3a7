//! Standing orders: money that goes every month on a day, until it is ended.

use std::{fmt, str::FromStr};

use once::jobs::BusinessDate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Currency, Id, Money, Role, account::stored_as};

/// Whether a standing order is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StandingStatus {
    /// Every month.
    Active,
    /// Never again.
    Ended,
}

stored_as!(StandingStatus: Active = "active", Ended = "ended");

/// A month of a year: `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    month: u8,
}

/// Not a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a month is a year and a month, such as 2026-11")]
pub struct MonthError;

impl Month {
    /// The month of a date.
    #[must_use]
    pub const fn of(date: BusinessDate) -> Self {
        Self { year: date.year(), month: date.month() }
    }

    /// As it is stored: 202611.
    #[must_use]
    pub fn number(self) -> i64 {
        i64::from(self.year) * 100 + i64::from(self.month)
    }

    /// What is stored as `number`.
    #[must_use]
    pub fn stored(number: i64) -> Option<Self> {
        let date = (number / 100, number % 100);
        let date = BusinessDate::new(u16::try_from(date.0).ok()?, u8::try_from(date.1).ok()?, 1);
        date.ok().map(Self::of)
    }

    /// Its first day.
    ///
    /// # Errors
    /// None: every month has one. The calendar is asked all the same.
    pub fn first_day(self) -> Result<BusinessDate, once::OnceError> {
        BusinessDate::new(self.year, self.month, 1)
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let date: BusinessDate = format!("{text}-01").parse().map_err(|_| MonthError)?;
        Ok(Self::of(date))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A standing order, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingOrder {
    /// The client's id.
    pub id: Id,
    /// The tenant.
    pub tenant: String,
    /// Who ordered it.
    pub person: Id,
    /// What they might do then.
    pub role: Role,
    /// Who pays.
    pub from: Id,
    /// Who is paid.
    pub to: Id,
    /// How much, in minor units.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
    /// What the payer wrote.
    pub note: Option<String>,
    /// On which day of the month, 1 to 31; in a shorter month on its last.
    pub day: u8,
    /// From which month on.
    pub first_month: Month,
    /// Whether it is carried out.
    pub status: StandingStatus,
    /// Counts its changes.
    pub version: i64,
}

impl StandingOrder {
    /// How much.
    ///
    /// # Errors
    /// Where the row holds no amount, which it cannot.
    pub fn money(&self) -> Result<Money, super::AmountError> {
        Money::new(self.minor, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_one_of_the_calendar() {
        let month: Month = "1993-02".parse().unwrap();
        assert_eq!((month.to_string().as_str(), month.number()), ("1993-02", 199_302));
        assert_eq!(Month::stored(199_302), Some(month));
        assert_eq!(month.first_day().unwrap().to_string(), "1993-02-01");
        for text in ["", "1993-2", "1993-13", "1993-00", "93-02", "1993-02-01", "0000-01", "1993/02"] {
            assert_eq!(text.parse::<Month>(), Err(MonthError), "{text}");
        }
        for number in [0, 199_300, 199_313, -199_301, i64::MAX] {
            assert_eq!(Month::stored(number), None, "{number}");
        }
    }
}
