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
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        if !(1..=9999).contains(&year) || !(1..=days).contains(&day) {
            return Err(OnceError::invalid(
                "the business date",
                format!("{year:04}-{month:02}-{day:02} is no day of the calendar"),
            ));
        }
        Ok(Self { year, month, day })
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
    use super::*;

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
