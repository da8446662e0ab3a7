//! Metrics of rows that were published by writes, and of the journal of accepted ones.

use std::fmt;

use super::writer::{Labels, Writer};
use crate::node::Node;

const NO_LABELS: Labels<'static, 0> = [];

pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let Some(counts) = node.catalog().cache().write_behind_counts() else { return Ok(()) };
    let one = |count: u64| [(NO_LABELS, count)];
    out.gauge(
        "write_behind_pending",
        "Accepted writes that the database does not have yet",
        one(counts.pending),
    )?;
    out.gauge("write_behind_journal_bytes", "Bytes of the journal on disk", one(counts.journal_bytes))?;
    out.gauge(
        "write_behind_journal_bytes_max",
        "The most that the journal may take; beyond it writes are refused",
        one(counts.journal_bytes_max),
    )?;
    out.gauge(
        "write_behind_oldest_seconds",
        "Time since the oldest of the pending writes was accepted; 0 without one",
        [(NO_LABELS, counts.oldest_s)],
    )?;
    out.counter("write_behind_accepted", "Writes accepted into the journal", one(counts.accepted))?;
    out.counter(
        "write_behind_coalesced",
        "Writes, among those, that a later one of the same row made unnecessary",
        one(counts.coalesced),
    )?;
    out.counter("write_behind_applied", "Rows applied to the database", one(counts.applied))?;
    out.counter(
        "write_behind_rejected",
        "Rows that the database refused for what they hold, and that lie in its table of refused writes",
        one(counts.rejected),
    )?;
    out.counter(
        "write_behind_failures",
        "Attempts to apply that failed, and are made again",
        one(counts.failures),
    )?;
    out.counter("write_behind_syncs", "Calls that made the journal durable", one(counts.syncs))?;
    out.counter(
        "write_behind_replayed",
        "Writes found in the journal at the start, and applied before anything was served",
        one(counts.replayed),
    )?;
    out.counter(
        "write_behind_refused",
        "Writes that were not accepted, by reason",
        counts.refused.map(|(reason, count)| ([("reason", reason)], count)),
    )
}
