//! Points in time: ISO 8601 with an offset, written in UTC to the microsecond.

use std::fmt::Write;

use super::{Escaped, MalformedValue, Place, SqlValue, number::trim};

const NOT_A_TIME: MalformedValue = MalformedValue::type_error(
    "a time with its offset, such as `2024-05-01T12:00:00Z`, from year 1 to 294246",
);
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The last whole year that 64 bits of microseconds reach.
const YEAR_MAX: i64 = 294_246;

pub(super) fn write(value: SqlValue<'_>, place: Place, out: &mut impl Write) -> Result<(), MalformedValue> {
    let micros = match value {
        SqlValue::Int(micros) => micros,
        SqlValue::Text(text) => {
            let text = trim(text).to_ascii_lowercase();
            if let Some(name) = ["infinity", "-infinity"].into_iter().find(|name| *name == text) {
                return Ok(out.write_str(name)?);
            }
            parse(&text).ok_or(NOT_A_TIME)?
        }
        _ => return Err(NOT_A_TIME),
    };
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    if !(1..=YEAR_MAX).contains(&year) {
        return Err(NOT_A_TIME);
    }
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let mut out = Escaped::new(out, place);
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )?;
    if fraction != 0 {
        let digits = format_micros(fraction);
        out.write_str(digits.trim_end_matches('0'))?;
    }
    Ok(out.write_str("Z")?)
}

fn format_micros(fraction: i64) -> compact_str::CompactString {
    compact_str::format_compact!(".{fraction:06}")
}

/// Reads the digits and separators of a time from the left.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    }

    fn in_range(&mut self, low: i64, high: i64) -> Option<i64> {
        self.number(2).filter(|number| (low..=high).contains(number))
    }

    fn skip(&mut self, any_of: &[u8]) -> bool {
        let found = self.0.first().is_some_and(|byte| any_of.contains(byte));
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn digits_ahead(&self) -> usize {
        self.0.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }
}

/// Microseconds since 1970 of `YYYY-MM-DD(T| )HH:MM[:SS[.F]](Z|±HH[[:]MM[[:]SS]])`, in lower case.
fn parse(text: &str) -> Option<i64> {
    let mut scan = Scan(text.as_bytes());
    let year_digits = scan.digits_ahead();
    let year = if (4..=6).contains(&year_digits) { scan.number(year_digits)? } else { return None };
    let month = scan.skip(b"-").then(|| scan.in_range(1, 12))??;
    let day = scan.skip(b"-").then(|| scan.in_range(1, days_in_month(year, month)))??;
    let hour = scan.skip(b"t ").then(|| scan.in_range(0, 23))??;
    let minute = scan.skip(b":").then(|| scan.in_range(0, 59))??;
    let second = if scan.skip(b":") { scan.in_range(0, 59)? } else { 0 };
    let micros = if scan.skip(b".") { fraction(&mut scan)? } else { 0 };
    scan.skip(b" ");
    let offset = offset_seconds(&mut scan)?;
    if !scan.0.is_empty() || !(1..=YEAR_MAX).contains(&year) {
        return None;
    }
    let seconds =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    Some(seconds * MICROS_PER_SECOND + micros)
}

/// Microseconds of a fraction of any length, rounded half to even as the server rounds the float it reads.
fn fraction(scan: &mut Scan<'_>) -> Option<i64> {
    let digits = scan.digits_ahead();
    let (text, rest) = scan.0.split_at(digits);
    scan.0 = rest;
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    let fraction: f64 = compact_str::format_compact!("0.{text}").parse().ok()?;
    Some((fraction * MICROS_PER_SECOND as f64).round_ties_even() as i64)
}

fn offset_seconds(scan: &mut Scan<'_>) -> Option<i64> {
    if scan.skip(b"z") {
        return Some(0);
    }
    let negative = scan.skip(b"-");
    if !negative && !scan.skip(b"+") {
        return None;
    }
    /// The largest displacement that PostgreSQL reads.
    const OFFSET_HOURS_MAX: i64 = 15;
    let mut seconds = scan.in_range(0, OFFSET_HOURS_MAX)? * 3600;
    for unit in [60, 1] {
        if scan.skip(b":") || scan.digits_ahead() > 0 {
            seconds += scan.in_range(0, 59)? * unit;
        }
    }
    Some(if negative { -seconds } else { seconds })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that a leap day is the
/// last day of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
    days - DAYS_TO_1970
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
const DAYS_PER_400_YEARS: i64 = 146_097;

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let era = days.div_euclid(DAYS_PER_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_PER_400_YEARS);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / (DAYS_PER_400_YEARS - 1);
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(value: SqlValue<'_>) -> Option<String> {
        let mut out = String::new();
        write(value, Place::Body, &mut out).ok().map(|()| out)
    }

    #[test]
    fn one_moment_has_one_text() {
        for text in [
            "2024-05-01T12:00:00Z",
            "2024-05-01 12:00:00+00",
            "2024-05-01t14:00:00.000+02:00",
            "2024-05-01 07:00-0500",
            "2024-05-01 12:00:00.0000004Z",
            " 2024-05-02 02:29:30+14:29:30 ",
        ] {
            assert_eq!(canonical(SqlValue::Text(text)).as_deref(), Some("2024-05-01T12:00:00Z"), "{text}");
        }
        let micros = canonical(SqlValue::Text("2024-02-29T23:59:59.9999996Z"));
        assert_eq!(micros.as_deref(), Some("2024-03-01T00:00:00Z"));
        assert_eq!(canonical(SqlValue::Int(-1)).as_deref(), Some("1969-12-31T23:59:59.999999Z"));
        assert_eq!(canonical(SqlValue::Text("Infinity")).as_deref(), Some("infinity"));
    }

    #[test]
    fn what_depends_on_a_session_or_a_calendar_is_refused() {
        for text in [
            "2024-05-01T12:00:00",
            "2024-05-01",
            "2023-02-29T00:00Z",
            "2024-05-01T24:00Z",
            "2024-05-01T12:00 CET",
            "0000-01-01T00:00Z",
            "24-05-01T00:00Z",
            "2024-05-01T12:00:00.Z",
            "2024-05-01T12:00:60Z",
            "2024-05-01T12:00+99",
            "now",
            "",
        ] {
            assert_eq!(canonical(SqlValue::Text(text)), None, "{text}");
        }
        assert_eq!(canonical(SqlValue::Int(i64::MAX)), None);
        assert_eq!(canonical(SqlValue::Int(i64::MIN)), None);
    }

    proptest! {
        #[test]
        fn text_and_microseconds_agree(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let text = canonical(SqlValue::Int(micros)).unwrap();
            prop_assert_eq!(parse(&text.to_ascii_lowercase()), Some(micros));
            prop_assert_eq!(canonical(SqlValue::Text(&text)), Some(text));
        }
    }
}
