//! Values with units, as people write them: `30s`, `64MiB`, `20%`.

use std::time::Duration;

/// Units of time with their length in nanoseconds, largest first.
const TIME_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size in bytes, largest first within each kind.
const SIZE_UNITS: [(&str, u128); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: write a number with a unit, such as {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// Reads a span of time: a whole number and `ns`, `us`, `ms`, `s`, `min`, `h` or `d`; several may follow each other
/// (`1h30min`).
///
/// # Errors
/// [`UnitError`] where the unit is missing or unknown, or the span exceeds 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error =
        || UnitError { text: text.to_owned(), what: "span of time", example: "\"250ms\", \"30s\" or \"1h\"" };
    let mut rest = text.trim();
    let mut total_ns: u128 = 0;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let (count, unit, after) = quantity(rest).ok_or_else(error)?;
        let (_, unit_ns) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        total_ns = count.checked_mul(*unit_ns).and_then(|ns| ns.checked_add(total_ns)).ok_or_else(error)?;
        rest = after;
    }
    u64::try_from(total_ns).map(Duration::from_nanos).map_err(|_| error())
}

/// Reads a size in bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` (powers of 1024) or `KB`, `MB`, `GB` (of 1000).
///
/// # Errors
/// [`UnitError`] where the unit is missing or unknown, or the size exceeds the address space.
pub fn parse_bytes(text: &str) -> Result<usize, UnitError> {
    let error = || UnitError { text: text.to_owned(), what: "size", example: "\"64MiB\" or \"512KiB\"" };
    let (count, unit, rest) = quantity(text.trim()).ok_or_else(error)?;
    let (_, unit_bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
    let bytes = count.checked_mul(*unit_bytes).ok_or_else(error)?;
    if rest.is_empty() { usize::try_from(bytes).map_err(|_| error()) } else { Err(error()) }
}

/// Reads a share: a number from 0 to 100 and `%`.
///
/// # Errors
/// [`UnitError`] where the sign is missing or the number is out of range.
pub fn parse_share(text: &str) -> Result<f64, UnitError> {
    let error =
        || UnitError { text: text.to_owned(), what: "share from 0% to 100%", example: "\"10%\" or \"0.1%\"" };
    let number = text.trim().strip_suffix('%').ok_or_else(error)?.trim_end();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !plain {
        return Err(error());
    }
    // Read as hundredths in one step: dividing by 100 may round.
    let share: f64 = format!("{number}e-2").parse().map_err(|_| error())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(error()) }
}

/// Splits `30s rest` into number, unit and rest.
fn quantity(text: &str) -> Option<(u128, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count = text[..digits].parse().ok()?;
    let tail = text[digits..].trim_start();
    let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
    Some((count, &tail[..end], tail[end..].trim_start()))
}

/// The shortest exact text that [`parse_duration`] reads as `span`: one unit.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    let ns = span.as_nanos();
    if ns == 0 {
        return "0s".to_owned();
    }
    exact(ns, &TIME_UNITS)
}

/// The shortest exact text that [`parse_bytes`] reads as `bytes`, in powers of 1024.
#[must_use]
pub fn show_bytes(bytes: usize) -> String {
    if bytes == 0 {
        "0B".to_owned()
    } else {
        exact(bytes as u128, &[SIZE_UNITS[0], SIZE_UNITS[1], SIZE_UNITS[2], SIZE_UNITS[6]])
    }
}

/// The shortest text that [`parse_share`] reads as exactly `share`, a number from 0 to 1.
#[must_use]
pub fn show_share(share: f64) -> String {
    // The point is moved in the decimal text: multiplying by 100 may round.
    let decimal = share.to_string();
    let (whole, fraction) = decimal.split_once('.').unwrap_or((&decimal, ""));
    let (percents, rest) = fraction.split_at(fraction.len().min(2));
    let percents = format!("{whole}{percents:0<2}");
    let percents = percents.trim_start_matches('0');
    let percents = if percents.is_empty() { "0" } else { percents };
    if rest.is_empty() { format!("{percents}%") } else { format!("{percents}.{rest}%") }
}

fn exact(amount: u128, units: &[(&str, u128)]) -> String {
    let fits = units.iter().find(|(_, size)| amount.is_multiple_of(*size));
    fits.map_or_else(String::new, |(name, size)| format!("{}{name}", amount / size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(parse_duration("1h30min"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration(" 250 ms "), Ok(Duration::from_millis(250)));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("3KB"), Ok(3000));
        assert_eq!(parse_share("0.1%"), Ok(0.001));
    }

    #[test]
    fn what_has_no_unit_or_no_sense_is_refused() {
        for text in
            ["", "30", "s", "-1s", "1.5s", "1m", "1S", "30s x", "1s2", "999999999999999999999d", "1000000d"]
        {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        for text in ["", "64", "64M", "64mib", "-1B", "1B1B", "99999999999999999999GiB"] {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
        for text in ["", "%", "10", "0.1", "101%", "-1%", "1e1%", "nan%", "inf%", "1.2.3%"] {
            assert!(parse_share(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse_duration("30").unwrap_err().to_string(),
            "\"30\" is no span of time: write a number with a unit, such as \"250ms\", \"30s\" or \"1h\""
        );
    }

    #[test]
    fn quantities_are_shown_shortly() {
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show_duration(Duration::from_secs(5400)), "90min");
        assert_eq!(show_bytes(1 << 20), "1MiB");
        assert_eq!(show_bytes(1000), "1000B");
        assert_eq!([0.0, 0.001, 0.07, 0.29, 1.0].map(show_share), ["0%", "0.1%", "7%", "29%", "100%"]);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ns: u64, bytes: usize, share in 0.0..=1.0_f64, millionth in 0_u32..=1_000_000) {
            let span = Duration::from_nanos(ns);
            prop_assert_eq!(parse_duration(&show_duration(span)), Ok(span));
            prop_assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
            for share in [share, f64::from(millionth) / 1e6] {
                prop_assert_eq!(parse_share(&show_share(share)), Ok(share));
            }
        }
    }
}
