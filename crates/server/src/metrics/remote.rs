//! Metrics of the remote tier.

use std::fmt;

use trueup_core::{Delays, REMOTE_BOUNDS_US, stats::HistogramCounts};

use super::writer::{Labels, Writer};
use crate::node::Node;

/// Units in a second, as durations are counted.
const UNITS_PER_S: f64 = 1e6;
const NO_LABELS: Labels<'static, 0> = [];

/// Writes nothing where there is no remote tier.
pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let cache = node.catalog().cache();
    let Some(counts) = cache.remote_counts() else { return Ok(()) };
    let servers = cache.remote_servers();
    out.gauge(
        "l2_servers",
        "Servers of the remote tier that are known",
        [(NO_LABELS, servers.len() as u64)],
    )?;
    let told = servers.iter().filter_map(|server| Some((server.endpoint.as_str(), server.memory?)));
    let used = told.clone().map(|(server, memory)| ([("server", server)], memory.used_bytes));
    out.gauge("l2_used_bytes", "Memory in use on a server of the remote tier, as it says itself", used)?;
    let share = told.filter_map(|(server, memory)| Some(([("server", server)], memory.share()?)));
    out.gauge("l2_used_share", "Share, 0 to 1, of its bound that a server of the remote tier uses", share)?;
    let directions = [([("direction", "in")], counts.bytes_in), ([("direction", "out")], counts.bytes_out)];
    out.counter("l2_transfer_bytes", "Bytes of envelopes exchanged with the remote tier", directions)?;
    out.counter(
        "l2_lookups",
        "Keys looked up in the remote tier, by what was found",
        [("found", counts.found), ("missing", counts.missing), ("refused", counts.refused)]
            .map(|(outcome, count)| ([("outcome", outcome)], count)),
    )?;
    out.counter(
        "l2_writes",
        "Entries for the remote tier, by what became of them",
        [("stored", counts.stored), ("overflowed", counts.overflowed), ("not_sealed", counts.not_sealed)]
            .map(|(outcome, count)| ([("outcome", outcome)], count)),
    )?;
    out.counter("l2_errors", "Operations on the remote tier that failed", [(NO_LABELS, counts.errors)])?;
    out.histogram(
        "l2_duration_seconds",
        "Duration of calls to the remote tier, of one key or of several",
        UNITS_PER_S,
        [("get", counts.gets), ("put", counts.puts)]
            .map(|(operation, delays)| ([("operation", operation)], histogram(delays))),
    )
}

fn histogram(delays: Delays) -> HistogramCounts {
    let bounds = REMOTE_BOUNDS_US.iter().copied().map(Some).chain([None]);
    HistogramCounts { buckets: bounds.zip(delays.buckets).collect(), sum: delays.sum_us }
}
