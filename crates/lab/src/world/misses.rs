//! Why memory had no answer, and for how long nodes could not prove any: as they count it themselves.

use std::collections::BTreeMap;

use super::World;

/// The counter, with its reason as a label.
const COUNTER: &str = "trueup_misses_total{";
const REASON: &str = "reason=\"";
/// The number of loads, by class and outcome.
const LOADS: &str = "trueup_load_duration_seconds_count{";
/// The counter of seconds without proof.
const UNPROVEN: &str = "trueup_unproven_seconds_total";

/// What nodes have counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Misses of all nodes by reason.
    pub(crate) misses: BTreeMap<String, u64>,
    /// For each node, the seconds in which it could not prove its answers.
    pub(crate) unproven_s: Vec<Option<f64>>,
}

impl World {
    /// What the nodes have counted since each was started last; what a node that does not answer counted is not told.
    pub(crate) async fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for node in &self.nodes {
            let text = node.get("/metrics").await.unwrap_or_default();
            counted.unproven_s.push(text.lines().find_map(unproven));
            let misses = &mut counted.misses;
            for (reason, count) in text.lines().filter_map(line) {
                *misses.entry(reason.to_owned()).or_default() += count;
            }
        }
        counted
    }

    /// How often all nodes together have asked the database, since each was started last; none where one does not answer.
    pub(crate) async fn loads(&self) -> Option<u64> {
        let mut loads = 0;
        for node in &self.nodes {
            let text = node.get("/metrics").await.ok()?;
            let counts = text.lines().filter_map(|line| line.strip_prefix(LOADS)?.split_once("} "));
            loads += counts.filter_map(|(_, count)| count.trim().parse::<f64>().ok()).sum::<f64>() as u64;
        }
        Some(loads)
    }
}

fn line(line: &str) -> Option<(&str, u64)> {
    let (labels, count) = line.strip_prefix(COUNTER)?.split_once("} ")?;
    let reason = labels.split_once(REASON)?.1.split('"').next()?;
    // Counters are whole numbers, and may be written as if they were not.
    Some((reason, count.trim().parse::<f64>().ok()? as u64))
}

fn unproven(line: &str) -> Option<f64> {
    // The name may be followed by an empty set of labels.
    line.strip_prefix(UNPROVEN)?.trim_start_matches("{}").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{line, unproven};

    #[test]
    fn seconds_without_proof_are_read_with_and_without_labels() {
        assert_eq!(unproven("trueup_unproven_seconds_total 1.5"), Some(1.5));
        assert_eq!(unproven("trueup_unproven_seconds_total{} 0.0"), Some(0.0));
        assert_eq!(unproven("# HELP trueup_unproven_seconds Time"), None);
    }

    #[test]
    fn a_line_of_the_counter_gives_reason_and_count() {
        assert_eq!(line("trueup_misses_total{class=\"item\",reason=\"cold\"} 42"), Some(("cold", 42)));
        assert_eq!(line("trueup_reads_total{class=\"item\",served_by=\"l1\"} 42"), None);
    }
}
