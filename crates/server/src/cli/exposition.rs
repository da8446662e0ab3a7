//! The metrics of a running server, as it shows them to Prometheus.

use super::{Failure, client::Server};

/// All lines of one answer.
#[derive(Debug, Default)]
pub(super) struct Metrics(Vec<Line>);

#[derive(Debug)]
struct Line {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Asks a running server.
    pub(super) fn ask(server: &Server<'_>) -> Result<Self, Failure> {
        Ok(Self::parse(&server.get_text("/metrics")?))
    }

    /// Reads the text format; what is no metric is passed over.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(read).collect())
    }

    fn of<'m>(&'m self, name: &'m str, labels: &'m [(&'m str, &'m str)]) -> impl Iterator<Item = &'m Line> {
        let has = |line: &Line, (label, value): &(&str, &str)| {
            line.labels.iter().any(|(known, is)| known == label && is == value)
        };
        self.0.iter().filter(move |line| line.name == name && labels.iter().all(|one| has(line, one)))
    }

    /// The value of the first line of this name with these labels, among others.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.of(name, labels).next().map(|line| line.value)
    }

    /// Upper bounds of a histogram's buckets, ascending, and how many values lie at or below each.
    pub(super) fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, u64)> {
        let name = format!("{name}_bucket");
        let bound = |line: &Line| {
            let bound = line.labels.iter().find(|(label, _)| label == "le")?;
            Some((bound.1.parse().ok()?, line.value as u64))
        };
        self.of(&name, labels).filter_map(bound).collect()
    }
}

/// `name{label="value",...} 1.5`
fn read(line: &str) -> Option<Line> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Line { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn read_labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &after[end..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_found_by_name_and_labels() {
        let metrics = Metrics::parse(
            "# HELP trueup_entries Entries, {all} of them\n\
             trueup_entries{class=\"a\\\"b}\",tier=\"l1\"} 7\n\
             trueup_entries{class=\"c\"} 8.5\n\
             trueup_lag_seconds{} NaN\n\
             trueup_up 1 1700000000\n\
             trueup_delay_seconds_bucket{stage=\"x\",le=\"0.5\"} 3\n\
             trueup_delay_seconds_bucket{stage=\"y\",le=\"0.5\"} 1\n\
             trueup_delay_seconds_bucket{stage=\"y\",le=\"+Inf\"} 2\n\
             nonsense\n{\nx{a=\"\n",
        );
        assert_eq!(metrics.value("trueup_entries", &[("class", "a\"b}")]), Some(7.0));
        assert_eq!(metrics.value("trueup_entries", &[("class", "c")]), Some(8.5));
        assert_eq!(metrics.value("trueup_entries", &[("class", "d")]), None);
        assert_eq!(metrics.value("trueup_up", &[]), Some(1.0));
        assert!(metrics.value("trueup_lag_seconds", &[]).is_some_and(f64::is_nan));
        let buckets = metrics.buckets("trueup_delay_seconds", &[("stage", "y")]);
        assert_eq!(buckets, [(0.5, 1), (f64::INFINITY, 2)]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{}=\"\\\\, 0-9\n]{0,80}") {
            let _ = Metrics::parse(&text);
        }
    }
}
