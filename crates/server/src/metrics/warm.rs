//! Metrics of what is read before anybody asks for it.

use std::fmt;

use super::writer::{Labels, Writer};
use crate::{node::Node, warm::WarmEnd};

const NO_LABELS: Labels<'static, 0> = [];

pub(super) fn write(node: &Node, out: &mut Writer<'_>) -> fmt::Result {
    let state = node.warm_state();
    let status = state.status();
    let ends = WarmEnd::ALL.map(|end| ([("outcome", end.as_str())], u64::from(status.phase == end.as_str())));
    out.gauge("warm_start", "1 for how the warming at the start has ended; all 0 before that", ends)?;
    out.gauge(
        "warm_start_keys",
        "Recorded hot keys that are to be read at the start",
        [(NO_LABELS, status.total)],
    )?;
    out.gauge("warm_start_done_keys", "Those of them that have been taken up", [(NO_LABELS, status.done)])?;
    out.gauge(
        "warm_start_seconds",
        "How long that took; NaN before its end",
        [(NO_LABELS, status.took_s.unwrap_or(f64::NAN))],
    )?;
    out.counter(
        "preheats",
        "Times that keys were read ahead of a set time, by outcome",
        state.preheats().map(|(outcome, count)| ([("outcome", outcome)], count)),
    )
}
