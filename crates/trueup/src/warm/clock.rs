//! A time of the day, UTC, and the times of access logs.

use std::{fmt, str::FromStr, time::Duration};

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
const DAY_MS: u64 = DAY_MINUTES * MINUTE_MS;

/// Hour and minute, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    minutes: u16,
}

/// A text that is no time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no time of the day; write hour and minute, UTC, such as \"08:30\"")]
pub struct BadTimeOfDay;

impl TimeOfDay {
    /// How long it is from `now_unix_ms` (milliseconds since 1970, UTC) until it is this time next, at least `lead`: a time that
    /// is nearer is tomorrow's.
    #[must_use]
    pub fn after(self, now_unix_ms: u64, lead: Duration) -> Duration {
        let lead_ms = u64::try_from(lead.as_millis()).unwrap_or(u64::MAX) % DAY_MS;
        let earliest = now_unix_ms.saturating_add(lead_ms);
        let of_day = earliest % DAY_MS;
        let wait = (u64::from(self.minutes) * MINUTE_MS + DAY_MS - of_day) % DAY_MS;
        Duration::from_millis(lead_ms + wait)
    }
}

impl FromStr for TimeOfDay {
    type Err = BadTimeOfDay;

    fn from_str(text: &str) -> Result<Self, BadTimeOfDay> {
        let (hour, minute) = text.split_once(':').ok_or(BadTimeOfDay)?;
        let two_digits = |part: &str, most: u16| -> Result<u16, BadTimeOfDay> {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|number: &u16| digits && *number <= most).ok_or(BadTimeOfDay)
        };
        Ok(Self { minutes: two_digits(hour, 23)? * 60 + two_digits(minute, 59)? })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// Months as access logs write them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of a time as Common Log Format writes it, `26/Nov/2026:04:35:30 +0000`; none of any other text.
pub(super) fn unix_s(text: &str) -> Option<i64> {
    let (time, zone) = text.split_once(' ').unwrap_or((text, "+0000"));
    let mut parts = time.split(['/', ':']);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let number = |part: &str, most: i64| part.parse().ok().filter(|number| (0..=most).contains(number));
    let (day, year) = (number(day, 31)?, number(year, 9_999)?);
    let (hour, minute, second) =
        (number(parts.next()?, 23)?, number(parts.next()?, 59)?, number(parts.next()?, 60)?);
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("-", zone) => (-1, zone),
        (_, zone) => (1, zone),
    };
    let zone = number(zone, 2_359)?;
    let east_s = sign * (zone / 100 * 3_600 + zone % 100 * 60);
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - east_s)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years are counted from March, so that a leap day ends one.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month <= 2 { month + 9 } else { month - 3 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_are_no_time_are_refused() {
        for bad in ["", "8:30", "08:3", "24:00", "08:60", "0830", "08:30:00", "+8:30", "aa:bb"] {
            assert_eq!(bad.parse::<TimeOfDay>(), Err(BadTimeOfDay), "{bad}");
        }
        assert_eq!("08:30".parse::<TimeOfDay>().unwrap().to_string(), "08:30");
    }

    #[test]
    fn times_of_access_logs_are_read() {
        for (text, expected) in [
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("29/Feb/2024:23:59:59 +0000", Some(1_709_251_199)),
            ("01/Mar/2024:01:00:00 +0100", Some(1_709_251_200)),
            ("26/Nov/2026:04:35:30 +0000", Some(1_795_667_730)),
            ("26/Nov/2026:00:05:30 -0430", Some(1_795_667_730)),
            ("26/Nov/2026:04:35:30", Some(1_795_667_730)),
            ("26/Foo/2026:04:35:30 +0000", None),
            ("26/Nov/2026", None),
            ("t", None),
            ("", None),
        ] {
            assert_eq!(unix_s(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_next_time_is_that_time_and_within_a_day_after_the_lead(
            hour in 0..24_u64, minute in 0..60_u64, now in 0..4_000_000_000_000_u64, lead_s in 0..80_000_u64,
        ) {
            let time: TimeOfDay = format!("{hour:02}:{minute:02}").parse().unwrap();
            let lead = Duration::from_secs(lead_s);
            let wait = time.after(now, lead);
            prop_assert!(wait >= lead && wait < lead + Duration::from_millis(DAY_MS));
            let at = now + wait.as_millis() as u64;
            prop_assert_eq!(at % DAY_MS, (hour * 60 + minute) * MINUTE_MS);
        }
    }
}
