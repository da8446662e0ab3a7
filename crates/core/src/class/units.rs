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
    let percent: f64 = if plain { number.parse().map_err(|_| error())? } else { return Err(error()) };
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(error()) }
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

/// A text that [`parse_share`] reads as `share`, to the last digit that a number holds.
#[must_use]
pub fn show_share(share: f64) -> String {
    // The shortest decimal that reads back as `share`, its point moved by two places: exact where multiplying is not.
    let percent = (share * 100.0).to_string();
    if parse_share(&format!("{percent}%")) == Ok(share) {
        return format!("{percent}%");
    }
    (12..=20)
        .map(|places| format!("{:.places$}%", share * 100.0))
        .find(|t| parse_share(t) == Ok(share))
        .unwrap_or(percent)
}

fn exact(amount: u128, units: &[(&str, u128)]) -> String {
    let fits = units.iter().find(|(_, size)| amount.is_multiple_of(*size));
    fits.map_or_else(String::new, |(name, size)| format!("{}{name}", amount / size))
}
