//! The date that a run is about.

use crate::error::OnceError;

/// The date that a run is about, which need not be the one on which it runs: `2026-11-26`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BusinessDate {
    year: u16,
    month: u8,
    day: u8,
}

impl BusinessDate {
    /// The date of a year (1 to 9999), month and day.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where the calendar has no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, OnceError> {
        if !(1..=9999).contains(&year) || !(1..=days_of(year, month)).contains(&day) {
            return Err(OnceError::invalid(
                "the business date",
                format!("{year:04}-{month:02}-{day:02} is no day of the calendar"),
            ));
        }
        Ok(Self { year, month, day })
    }

    /// The date of a time in ms since 1970, in UTC. From the year 10000 on it is the last day before that.
    #[must_use]
    pub fn of_unix_ms(unix_ms: u64) -> Self {
        let (mut date, mut days) = (Self { year: 1970, month: 1, day: 1 }, unix_ms / DAY_MS);
        while let Some(rest) = days.checked_sub(days_of_year(date.year)) {
            if date.year == YEAR_MAX {
                return Self { year: YEAR_MAX, month: 12, day: 31 };
            }
            (date.year, days) = (date.year + 1, rest);
        }
        while let Some(rest) = days.checked_sub(days_of(date.year, date.month).into()) {
            (date.month, days) = (date.month + 1, rest);
        }
        // Less than a month is left.
        date.day += u8::try_from(days).unwrap_or_default();
        date
    }

    /// The year, 1 to 9999.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Whether the next day is of another month.
    #[must_use]
    pub const fn is_last_of_month(self) -> bool {
        self.day == days_of(self.year, self.month)
    }

    /// The first day of its month.
    #[must_use]
    pub const fn first_of_month(self) -> Self {
        Self { day: 1, ..self }
    }

    /// The day after; none after the last that there is.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        let Self { year, month, day } = self;
        Some(match (self.is_last_of_month(), month) {
            (false, _) => Self { year, month, day: day + 1 },
            (true, 12) if year == YEAR_MAX => return None,
            (true, 12) => Self { year: year + 1, month: 1, day: 1 },
            (true, _) => Self { year, month: month + 1, day: 1 },
        })
    }

    /// The day before; none before the first that there is.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        let Self { year, month, day } = self;
        Some(match (day, month) {
            (1, 1) if year == 1 => return None,
            (1, 1) => Self { year: year - 1, month: 12, day: 31 },
            (1, _) => Self { year, month: month - 1, day: days_of(year, month - 1) },
            _ => Self { year, month, day: day - 1 },
        })
    }
}

/// The last year whose dates are written with four digits.
const YEAR_MAX: u16 = 9999;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days of a month; none of what is no month.
const fn days_of(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

impl std::fmt::Display for BusinessDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl std::str::FromStr for BusinessDate {
    type Err = OnceError;

    fn from_str(text: &str) -> Result<Self, OnceError> {
        let wrong = || OnceError::invalid("the business date", "is not of the form 2026-11-26");
        let shape = text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
        if !shape {
            return Err(wrong());
        }
        let part = |range: std::ops::Range<usize>| text.get(range).ok_or_else(wrong);
        let year = part(0..4)?.parse().map_err(|_| wrong())?;
        let month = part(5..7)?.parse().map_err(|_| wrong())?;
        let day = part(8..10)?.parse().map_err(|_| wrong())?;
        Self::new(year, month, day)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_has_a_date() {
        for (unix_ms, date) in [
            (0, "1970-01-01"),
            (DAY_MS - 1, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (951_868_799_999, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_798_243_200_000, "2026-12-26"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(BusinessDate::of_unix_ms(unix_ms).to_string(), date, "{unix_ms}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other(day in 0u64..2_000_000) {
            let date = BusinessDate::of_unix_ms(day * DAY_MS);
            let next = BusinessDate::of_unix_ms((day + 1) * DAY_MS);
            prop_assert_eq!(date.next(), Some(next));
            prop_assert_eq!(next.previous(), Some(date));
            prop_assert!(date < next);
            prop_assert_eq!(date.is_last_of_month(), date.month() != next.month());
        }
    }

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        for text in ["2024-02-29", "2000-02-29", "2026-11-26", "0001-01-01", "9999-12-31"] {
            assert_eq!(text.parse::<BusinessDate>().unwrap().to_string(), text);
        }
        for text in [
            "2023-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-04-31",
            "2026-4-1",
            "20260401",
            "0000-01-01",
            "2026-01-0é",
        ] {
            assert!(text.parse::<BusinessDate>().is_err(), "{text}");
        }
    }
}
