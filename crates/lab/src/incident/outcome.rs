//! What a way of an incident has come to.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::Series;

/// How one way ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Nothing of what the story tells has happened.
    pub(crate) holds: bool,
    pub(crate) figures: Vec<Figure>,
    /// How what the story tells of went over time.
    pub(crate) series: Vec<Series>,
}

/// A figure of one way, to stand beside the same figure of the other.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

impl Outcome {
    pub(super) fn new(holds: bool, figures: impl IntoIterator<Item = Figure>) -> Self {
        Self { holds, figures: figures.into_iter().collect(), series: Vec::new() }
    }

    /// The same, with how it went.
    pub(super) fn over_time(mut self, series: impl IntoIterator<Item = Series>) -> Self {
        self.series.extend(series);
        self
    }

    /// The figure of this name.
    pub(super) fn figure(&self, what: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.what == what)
    }
}

impl Figure {
    pub(super) fn count(what: &'static str, value: impl TryInto<u64>) -> Self {
        let value = value.try_into().unwrap_or(u64::MAX);
        Self { what, value: value as f64, unit: "" }
    }

    pub(super) fn share(what: &'static str, part: u64, whole: u64) -> Self {
        Self { what, value: 100.0 * part as f64 / whole.max(1) as f64, unit: "%" }
    }

    pub(super) fn millis(what: &'static str, value: Duration) -> Self {
        Self { what, value: value.as_secs_f64() * 1e3, unit: "ms" }
    }
}

/// With its unit: two digits behind the point where there is one and the number is small.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.value >= 100.0 || (self.value.fract() == 0.0 && self.unit.is_empty());
        let value = grouped(&format!("{:.*}", if whole { 0 } else { 2 }, self.value));
        if self.unit.is_empty() { f.write_str(&value) } else { write!(f, "{value} {}", self.unit) }
    }
}

/// A number with a comma between each three digits before the point, from 1,000 on.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, rest) = digits.find('.').map_or((digits, ""), |point| digits.split_at(point));
    let mut text = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_write_them() {
        assert_eq!(Figure::count("a", 1_234_567_u64).to_string(), "1,234,567");
        assert_eq!(Figure::share("a", 1, 3).to_string(), "33.33 %");
        assert_eq!(Figure::millis("a", Duration::from_micros(1_500_400)).to_string(), "1,500 ms");
        assert_eq!([grouped("-1000.5"), grouped("999"), grouped("0.25")], ["-1,000.5", "999", "0.25"]);
    }
}
