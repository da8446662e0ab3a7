//! The server's own figures, from `/metrics`.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Time that the server may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Buckets of the time from a commit to its invalidation.
const DELAY_BUCKETS: &str = "trueup_invalidation_delay_seconds_bucket{";

/// For each stage of an invalidation: how many took no longer than each bound, in seconds.
pub(crate) type Stages = BTreeMap<String, Vec<(f64, f64)>>;

/// Asks the server.
pub(crate) fn delays(server: SocketAddr) -> Result<Stages> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("cannot connect to {server}"))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("no /metrics")?;
    Ok(parse(&text))
}

/// Adds up the buckets of all classes by stage.
fn parse(text: &str) -> Stages {
    let mut stages: BTreeMap<String, BTreeMap<u64, (f64, f64)>> = BTreeMap::new();
    for line in text.lines() {
        let Some((labels, count)) = line.strip_prefix(DELAY_BUCKETS).and_then(|rest| rest.rsplit_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
        };
        // Rust reads `+Inf` as well.
        let bound = label("le").and_then(|bound| bound.parse::<f64>().ok());
        if let (Some(bound), Ok(count)) = (bound, count.trim().parse::<f64>()) {
            let stage = stages.entry(label("stage").unwrap_or("all").to_owned()).or_default();
            // The bits of positive numbers are in the order of the numbers.
            stage.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += count;
        }
    }
    stages.into_iter().map(|(stage, buckets)| (stage, buckets.into_values().collect())).collect()
}

/// The bound of the bucket in which the quantile `q` lies; none without measurements.
pub(crate) fn quantile(buckets: &[(f64, f64)], q: f64) -> Option<f64> {
    let total = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    buckets.iter().find(|(_, count)| *count >= q * total).map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE trueup_invalidation_delay_seconds histogram
trueup_invalidation_delay_seconds_sum{stage=\"applied\"} 0.5
trueup_invalidation_delay_seconds_bucket{le=\"0.001\",stage=\"applied\",class=\"a\"} 40
trueup_invalidation_delay_seconds_bucket{le=\"0.01\",stage=\"applied\",class=\"a\"} 50
trueup_invalidation_delay_seconds_bucket{le=\"+Inf\",stage=\"applied\",class=\"a\"} 50
trueup_invalidation_delay_seconds_bucket{le=\"0.001\",stage=\"applied\",class=\"b\"} 50
trueup_invalidation_delay_seconds_bucket{le=\"0.01\",stage=\"applied\",class=\"b\"} 50
trueup_invalidation_delay_seconds_bucket{le=\"+Inf\",stage=\"applied\",class=\"b\"} 50
";

    #[test]
    fn quantiles_are_the_bounds_of_their_buckets_over_all_classes() {
        let stages = parse(TEXT);
        let applied = &stages["applied"];
        assert_eq!(quantile(applied, 0.5), Some(0.001));
        assert_eq!(quantile(applied, 0.99), Some(0.01));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
