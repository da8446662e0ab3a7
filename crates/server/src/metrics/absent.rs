//! Metrics of the filters of the keys there are.

use std::fmt;

use trueup_core::{FilterStart, FilterStatus};

use super::writer::Writer;
use crate::node::Node;

pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let filters: Vec<(&str, FilterStatus)> = node
        .catalog()
        .classes()
        .filter_map(|class| Some((class.name().as_str(), class.cached()?.filter()?)))
        .collect();
    let each = |value: fn(&FilterStatus) -> u64| {
        filters.iter().map(move |(class, status)| ([("class", *class)], value(status)))
    };
    out.counter(
        "bloom_rejected",
        "Reads answered as absent by the filter of the keys there are",
        each(|filter| filter.rejected),
    )?;
    out.counter(
        "bloom_passed",
        "Reads that the filter let through: the key may exist",
        each(|filter| filter.passed),
    )?;
    out.counter(
        "bloom_passed_absent",
        "Loads of keys that the filter let through and that do not exist",
        each(|filter| filter.passed_absent),
    )?;
    out.counter("bloom_builds", "Times that the filter was built", each(|filter| filter.builds))?;
    let starts = filters.iter().flat_map(|(class, status)| {
        FilterStart::ALL.into_iter().map(move |how| {
            ([("class", *class), ("outcome", how.as_str())], u64::from(status.start == Some(how)))
        })
    });
    out.gauge(
        "bloom_start",
        "1 for how the filter began in this process, where filters are kept over a restart; all 0 before that is known, and elsewhere",
        starts,
    )?;
    out.gauge(
        "bloom_answering",
        "1 while the filter can say that a key is absent; else 0",
        each(|filter| u64::from(filter.answers)),
    )?;
    out.gauge(
        "bloom_rows_read",
        "Rows read so far for the filter that is being built; 0 while none is",
        each(|filter| match filter.state {
            trueup_core::FilterState::Building { rows } => rows,
            _ => 0,
        }),
    )?;
    out.gauge(
        "bloom_entries",
        "Keys in the filter, gone ones included",
        each(|filter| filter.entries.unwrap_or(0)),
    )?;
    out.gauge(
        "bloom_entries_declared",
        "Rows for which the filter is made",
        each(|filter| filter.entries_declared),
    )?;
    out.gauge("bloom_bytes", "Memory of the filter", each(|filter| filter.bytes))
}
