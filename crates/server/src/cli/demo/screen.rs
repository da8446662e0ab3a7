//! What the demo shows.

use std::{
    io::IsTerminal as _,
    sync::{Arc, atomic::Ordering},
};

use trueup_core::env::{Clock, Nanos};

use super::{Failure, readers::Counts};
use crate::{
    cli::output::print,
    node::{Node, Status},
    serve::Running,
};

/// Where the bank is served, and what to try.
pub(super) fn introduce(running: &Running) {
    let mut text = String::new();
    if let Some(http) = running.http() {
        text.push_str(&format!("dashboard  http://{http}/\n"));
    }
    if let Some(resp) = running.resp() {
        text.push_str(&format!("try        redis-cli -p {} GET account:42\n", resp.port()));
    }
    if let Some(http) = running.http() {
        text.push_str(&format!("           curl -i http://{http}/v1/account/42\n"));
    }
    text.push_str(
        "Another process moves money with plain SQL, and tells the cache nothing. Ctrl-C ends it.\n\n",
    );
    print(&text);
}

/// The live line.
pub(super) struct Screen {
    node: Node,
    counts: Arc<Counts>,
    clock: Clock,
    started: Nanos,
    last: Option<(Nanos, Status)>,
    overwrites: bool,
}

impl Screen {
    pub(super) fn new(node: Node, counts: Arc<Counts>, clock: Clock) -> Self {
        let (started, overwrites) = (clock.now(), std::io::stdout().is_terminal());
        let last = Some((started, node.status()));
        Self { node, counts, clock, started, last, overwrites }
    }

    /// Shows what happened since the line before.
    pub(super) fn line(&mut self) {
        let (now, status) = (self.clock.now(), self.node.status());
        if let Some((before, last)) = &self.last {
            let seconds = now.since(*before).as_secs_f64();
            let line =
                describe(now.since(self.started).as_secs(), seconds, last, &status, self.violations(&status));
            print(&if self.overwrites { format!("\r\x1b[2K{line}") } else { format!("{line}\n") });
        }
        self.last = Some((now, status));
    }

    /// Answers that broke a promise.
    fn violations(&self, status: &Status) -> u64 {
        let stale = status.totals.checks.get("stale").copied().unwrap_or(0);
        stale + self.counts.wrong_sums.load(Ordering::Relaxed)
    }

    /// What all of it comes to.
    pub(super) fn verdict(self) -> Result<(), Failure> {
        let status = self.node.status();
        let checks: u64 = status.totals.checks.values().sum();
        let (audits, errors) =
            (self.counts.audits.load(Ordering::Relaxed), self.counts.errors.load(Ordering::Relaxed));
        let violations = self.violations(&status);
        print(&format!(
            "\n{} reads, {:.1} % of them without asking the database; {} changes followed; {checks} answers compared \
             with the database, {audits} times the sum of all balances: violations: {violations}\n",
            status.totals.reads,
            status.totals.hit_rate.unwrap_or(0.0) * 100.0,
            status.feed.changes,
        ));
        match (violations, errors) {
            (0, 0) => Ok(()),
            (0, errors) => Err(Failure::Findings(format!("{errors} reads were answered with an error"))),
            (violations, _) => Err(Failure::Findings(format!("{violations} answers broke a promise"))),
        }
    }
}

fn describe(at_s: u64, seconds: f64, last: &Status, now: &Status, violations: u64) -> String {
    let rate = |now: u64, last: u64| now.saturating_sub(last) as f64 / seconds.max(f64::EPSILON);
    let cached = |status: &Status| {
        ["l1", "l2", "filter"].iter().filter_map(|by| status.totals.served.get(by)).sum::<u64>()
    };
    let reads = rate(now.totals.reads, last.totals.reads);
    let hits = rate(cached(now), cached(last));
    let hit_rate = if reads > 0.0 { hits / reads * 100.0 } else { 0.0 };
    let checks: u64 = now.totals.checks.values().sum();
    format!(
        "{at_s:>4} s  {reads:>7.0} reads/s  hit {hit_rate:>5.1} %  source {:>5.0} loads/s  {:>4.0} changes/s  \
         lag {:>3.0} ms  checks {checks} (violations: {violations})",
        rate(now.totals.loads, last.totals.loads),
        rate(now.feed.changes, last.feed.changes),
        now.feed.lag_ms.unwrap_or(f64::NAN),
    )
}
