//! A time of the day, UTC.

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
