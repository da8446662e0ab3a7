//! Metrics of the node: its feed, its clients.

use std::{fmt, sync::atomic::Ordering};

use trueup_core::{
    apply::{DELAY_BOUNDS_US, FeedStats},
    stats::HistogramCounts,
};

use super::writer::{Labels, Writer};
use crate::node::Node;

/// Units in a second, as the feed's delays are counted.
const DELAY_UNITS_PER_S: f64 = 1e6;
/// Lines without labels.
const NO_LABELS: Labels<'static, 0> = [];

pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    write_feed(node, out)?;
    write_clients(node, out)?;
    out.gauge(
        "ready",
        "1 while answers can be proven",
        [(NO_LABELS, i64::from(node.not_ready().is_none()))],
    )?;
    out.gauge("build_info", "The version of the program", [([("version", env!("CARGO_PKG_VERSION"))], 1_i64)])
}

fn write_feed(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let cache = node.catalog().cache();
    let (stats, description) = (cache.feed_stats(), cache.source());
    // The kind alone: a path or an address is no label.
    let source = description.split(':').next().unwrap_or_default();
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    out.counter(
        "changes",
        "Tags raised by the changes applied",
        [([("source", source)], get(&stats.changes))],
    )?;
    out.histogram(
        "invalidation_delay_seconds",
        "From a change's own time to its application here",
        DELAY_UNITS_PER_S,
        [([("stage", "applied")], delays(stats))],
    )?;
    out.gauge(
        "watermark_lag_seconds",
        "Time since the node last knew how far the source was; NaN before the first time",
        [(NO_LABELS, cache.lag().map_or(f64::NAN, |lag| lag.as_secs_f64()))],
    )?;
    out.counter(
        "feed_gaps",
        "Messages that did not continue where the feed was",
        [(NO_LABELS, get(&stats.gaps))],
    )?;
    out.counter(
        "feed_failures",
        "Times that following the feed failed",
        [(NO_LABELS, get(&stats.failures))],
    )?;
    out.gauge("epoch", "Epochs of the source that this process has seen", [(NO_LABELS, cache.status().epoch)])
}

fn delays(stats: &FeedStats) -> HistogramCounts {
    let bounds = DELAY_BOUNDS_US.iter().copied().map(Some).chain([None]);
    let counts = stats.delays.iter().map(|count| count.load(Ordering::Relaxed));
    HistogramCounts { buckets: bounds.zip(counts).collect(), sum: stats.delay_sum_us.load(Ordering::Relaxed) }
}

fn write_clients(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let counters = node.resp_counters();
    let resp = [("protocol", "resp")];
    out.gauge(
        "connections",
        "Connections open",
        [(resp, counters.connections_open.load(Ordering::Relaxed))],
    )?;
    out.counter("commands", "Commands taken up", [(resp, counters.commands.load(Ordering::Relaxed))])?;
    out.counter(
        "authentication_failures",
        "Wrong credentials",
        [(resp, counters.authentication_failures.load(Ordering::Relaxed))],
    )
}
