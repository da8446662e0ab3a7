//! Metrics of the node: its feed, its clients.

use std::{fmt, sync::atomic::Ordering};

use trueup_core::{
    apply::{DELAY_BOUNDS_US, StageDelays},
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
        "From a change's own time to its application here, whole and by stage",
        DELAY_UNITS_PER_S,
        [("feed", &stats.to_feed), ("node", &stats.to_node), ("applied", &stats.applied)]
            .map(|(stage, counts)| ([("stage", stage)], delays(counts))),
    )?;
    out.counter(
        "unproven_seconds",
        "Time in which the node could not prove its answers",
        [(NO_LABELS, cache.unproven_time().as_secs_f64())],
    )?;
    let status = cache.status();
    out.gauge(
        "watermark_position",
        "Through which position of the source's log the node has applied it",
        [(NO_LABELS, status.applied.0)],
    )?;
    out.gauge(
        "source_position",
        "The highest position of the source's log that the node was told",
        [(NO_LABELS, status.told.0)],
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
    out.gauge("epoch", "Epochs of the source that this process has seen", [(NO_LABELS, status.epoch)])
}

fn delays(stage: &StageDelays) -> HistogramCounts {
    let bounds = DELAY_BOUNDS_US.iter().copied().map(Some).chain([None]);
    HistogramCounts {
        buckets: bounds.zip(stage.counts()).collect(),
        sum: stage.sum_us.load(Ordering::Relaxed),
    }
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
