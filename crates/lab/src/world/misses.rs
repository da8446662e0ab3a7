//! Why memory had no answer, as the nodes themselves count it.

use std::collections::BTreeMap;

use super::World;

/// The counter, with its reason as a label.
const COUNTER: &str = "trueup_misses_total{";
const REASON: &str = "reason=\"";

impl World {
    /// Misses by reason, of all nodes since each was started last; what a node that does not answer counted is not told.
    pub(crate) async fn misses(&self) -> BTreeMap<String, u64> {
        let mut misses = BTreeMap::new();
        for node in &self.nodes {
            let text = node.get("/metrics").await.unwrap_or_default();
            for (reason, count) in text.lines().filter_map(line) {
                *misses.entry(reason.to_owned()).or_default() += count;
            }
        }
        misses
    }
}

fn line(line: &str) -> Option<(&str, u64)> {
    let (labels, count) = line.strip_prefix(COUNTER)?.split_once("} ")?;
    let reason = labels.split_once(REASON)?.1.split('"').next()?;
    // Counters are whole numbers, and may be written as if they were not.
    Some((reason, count.trim().parse::<f64>().ok()? as u64))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_of_the_counter_gives_reason_and_count() {
        assert_eq!(line("trueup_misses_total{class=\"item\",reason=\"cold\"} 42"), Some(("cold", 42)));
        assert_eq!(line("trueup_reads_total{class=\"item\",served_by=\"l1\"} 42"), None);
    }
}
