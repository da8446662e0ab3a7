//! Points in time against a calendar that counts day after day.

use trueup_core::key::{ColumnForm, MalformedValue, SqlValue};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Microseconds from 1970 to the first moment of the year 1, as PostgreSQL has it: `extract(epoch from ..) * 1000000`.
const YEAR_1: i64 = -62_135_596_800_000_000;
/// The first moment of the last whole year that 64 bits reach.
const YEAR_LAST: i64 = 9_223_339_708_800_000_000;

fn canonical(value: SqlValue<'_>) -> Result<String, MalformedValue> {
    let mut out = String::new();
    ColumnForm::TimestampTz.canonical(value, &mut out).map(|()| out)
}

fn moment(micros: i64) -> Option<String> {
    canonical(SqlValue::Int(micros)).ok()
}

fn spelled(text: &str) -> Option<String> {
    canonical(SqlValue::Text(text)).ok()
}

fn is_leap(year: i64) -> bool {
    if year % 400 == 0 { true } else { year % 4 == 0 && year % 100 != 0 }
}

fn months(year: i64) -> [i64; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Every day of the first four centuries and a day, and of years around each turn of a later one.
#[test]
fn a_day_has_the_date_that_a_calendar_gives_it() {
    let mut day = YEAR_1 / MICROS_PER_DAY;
    for year in 1..=2_405_i64 {
        let looked_at = year <= 401 || (year % 100 <= 4 || year % 100 >= 96) || (1965..2035).contains(&year);
        for (month, days) in (1_i64..).zip(months(year)) {
            if looked_at {
                // Neighbours of a month's ends, and something between.
                for date in [1, 2, 15, 27, 28, 29, 30, 31].into_iter().filter(|date| *date <= days) {
                    let micros = (day + date - 1) * MICROS_PER_DAY;
                    let text = format!("{year:04}-{month:02}-{date:02}T00:00:00Z");
                    assert_eq!(moment(micros).as_deref(), Some(text.as_str()));
                    assert_eq!(spelled(&text).as_deref(), Some(text.as_str()));
                }
                let too_late = format!("{year:04}-{month:02}-{:02}T00:00:00Z", days + 1);
                assert_eq!(spelled(&too_late), None, "{too_late}");
            }
            day += days;
        }
    }
}

#[test]
fn every_spelling_of_a_moment_is_the_number_of_its_microseconds() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00z", 0),
        ("1970-01-01 00:00 Z", 0),
        ("  1970-01-01 00:00:00+00\n", 0),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:02:00Z", 120_000_000),
        ("1970-01-01T03:00:00Z", 10_800_000_000),
        ("1970-01-01T23:59:59.999999Z", 86_399_999_999),
        ("1970-01-02T00:00:00.5Z", 86_400_500_000),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.0000015Z", 2),
        ("1970-01-01T00:00:00.12Z", 120_000),
        ("1970-01-01T00:00:00.123456789Z", 123_457),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1969-12-31T23:59:58Z", -2_000_000),
        ("1970-01-01T01:00:00+01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:30:00+0130", 0),
        ("1970-01-01T01:30:20+01:30:20", 0),
        ("1970-01-01T01:30:20+013020", 0),
        ("1970-01-01T00:00:00-15:59:59", 57_599_000_000),
        ("1970-01-01T00:00:00+15:59:59", -57_599_000_000),
        ("1969-12-31T22:29:40-01:30:20", 0),
        ("2024-02-29T12:34:56.789012Z", 1_709_210_096_789_012),
        ("0001-01-01T00:00:00Z", YEAR_1),
        ("000001-01-01T00:00:00Z", YEAR_1),
        ("10000-01-01T00:00:00Z", 253_402_300_800_000_000),
        ("294246-01-01T00:00:00Z", YEAR_LAST),
        ("294246-12-31T23:59:59.999999Z", YEAR_LAST + 365 * MICROS_PER_DAY - 1),
    ] {
        let expected = moment(micros);
        assert!(expected.is_some() && spelled(text) == expected, "{text}: {:?}, {expected:?}", spelled(text));
    }
}

#[test]
fn a_moment_is_written_in_utc_and_no_longer_than_it_must_be() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (500_000, "1970-01-01T00:00:00.5Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (86_399_000_000, "1970-01-01T23:59:59Z"),
        (45_296_000_000, "1970-01-01T12:34:56Z"),
        (1_709_210_096_789_000, "2024-02-29T12:34:56.789Z"),
        (YEAR_1, "0001-01-01T00:00:00Z"),
        (253_402_300_800_000_000, "10000-01-01T00:00:00Z"),
        (YEAR_LAST + 365 * MICROS_PER_DAY - 1, "294246-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(moment(micros).as_deref(), Some(text));
    }
    for (text, name) in [("Infinity", "infinity"), (" -INFINITY ", "-infinity")] {
        assert_eq!(spelled(text).as_deref(), Some(name));
    }
}

#[test]
fn what_no_calendar_or_no_64_bits_hold_is_refused() {
    for text in [
        "",
        "now",
        "-",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00",
        "1970-01-01T00:00:00",
        "1970-01-01T00Z",
        "1970/01/01T00:00Z",
        "1970-01/01T00:00Z",
        "1970-01-01x00:00Z",
        "1970-01-01T00-00Z",
        "70-01-01T00:00Z",
        "970-01-01T00:00Z",
        "0001970-01-01T00:00Z",
        "1970-1-01T00:00Z",
        "1970-01-1T00:00Z",
        "1970-00-01T00:00Z",
        "1970-13-01T00:00Z",
        "1970-01-00T00:00Z",
        "1970-01-32T00:00Z",
        "1970-01-01T24:00Z",
        "1970-01-01T00:60Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00Zx",
        "1970-01-01T00:00ZZ",
        "1970-01-01T00:00 CET",
        "1970-01-01T00:00+",
        "1970-01-01T00:00+1",
        "1970-01-01T00:00+16",
        "1970-01-01T00:00-16",
        "1970-01-01T00:00+01:60",
        "1970-01-01T00:00+01:00:60",
        "1970-01-01T00:00+01:0",
        "1970-01-01T00:00+01:00:00:00",
        "1970-01-01T00:00+-1",
        "1970-01-01T0a:00Z",
        "1970-01-01T00:00:0/Z",
        "0000-01-01T00:00Z",
        "000000-12-31T00:00Z",
        "0001-01-01T00:00+00:01",
        "294247-01-01T00:00Z",
        "294246-12-31T23:59-00:01",
        "999999-01-01T00:00Z",
        "+infinity",
        "infinit",
    ] {
        assert_eq!(spelled(text), None, "{text}");
    }
    assert_eq!(moment(YEAR_1 - 1), None, "the year 0");
    assert_eq!(moment(YEAR_LAST + 365 * MICROS_PER_DAY), None, "the year 294247");
    assert_eq!((moment(i64::MIN), moment(i64::MAX)), (None, None));
    for value in [SqlValue::Uint(0), SqlValue::Real(0.0), SqlValue::Bool(false), SqlValue::Blob(b"infinity")]
    {
        assert!(matches!(canonical(value), Err(MalformedValue::WrongType { .. })), "{value:?}");
    }
}
