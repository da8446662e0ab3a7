//! Metrics of what stands between the classes and the source.

use std::fmt;

use trueup_core::{class::Priority, source::ShedReason};

use super::writer::{Labels, Writer};
use crate::node::Node;

const NO_LABELS: Labels<'static, 0> = [];

pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let cache = node.catalog().cache();
    let status = cache.source_guard().status();
    let servers = cache.remote_servers();
    let left_alone = servers.iter().filter(|server| server.left_alone.is_some()).count() as u64;
    // One family for all dependencies.
    let source = ([("dependency", "source")], u64::from(status.left_alone.is_some()));
    let l2 = cache.remote_counts().map(|_| ([("dependency", "l2")], left_alone));
    out.gauge(
        "breaker_open",
        "Servers of a dependency that are left alone because they failed",
        [source].into_iter().chain(l2),
    )?;
    let limiter = &status.limiter;
    out.gauge(
        "source_loads_limit",
        "Loads that may be under way at once, by the latency of the source",
        [(NO_LABELS, limiter.limit.floor())],
    )?;
    let ceiling = f64::from(status.limits.loads_max.get());
    out.gauge("source_loads_max", "Loads that may be under way at once at the most", [(NO_LABELS, ceiling)])?;
    out.gauge(
        "source_loads_in_flight",
        "Loads under way, all classes together",
        [(NO_LABELS, u64::from(limiter.in_flight))],
    )?;
    out.gauge(
        "ramp_share",
        "Share of the loads for readers that is let through, critical ones aside; below 1 after a start only",
        [(NO_LABELS, limiter.ramp_share)],
    )?;
    let by = |priority: Priority| [("priority", priority.as_str())];
    out.gauge(
        "source_loads_waiting",
        "Loads that wait for the source",
        Priority::ALL.map(|priority| (by(priority), limiter.waiting[priority.index()] as u64)),
    )?;
    out.counter(
        "source_loads",
        "Loads let through to the source",
        Priority::ALL.map(|priority| (by(priority), limiter.counts.admitted[priority.index()])),
    )?;
    let refused = Priority::ALL.into_iter().flat_map(|priority| {
        let counts = limiter.counts.shed[priority.index()];
        let row = move |(reason, count): (ShedReason, u64)| {
            ([("priority", priority.as_str()), ("reason", reason.as_str())], count)
        };
        ShedReason::ALL.into_iter().zip(counts).map(row)
    });
    out.counter("source_loads_shed", "Loads refused without asking the source, by reason", refused)
}
