//! What a run prints.

use std::time::Duration;

use super::{
    Run,
    books::Books,
    check::Verdict,
    client::Origin,
    metrics::{Stages, quantile},
};

const NANOS_PER_MILLI: f64 = 1e6;
const MILLIS_PER_SECOND: f64 = 1e3;

/// How the bank's rows fit together.
pub(crate) fn books(books: &Books) {
    let found = books.findings;
    let active = books.balances.iter().filter(|history| history.len() > 1).count();
    println!("books: {} transactions of {active} accounts", books.postings.len());
    println!(
        "  the balance column follows from the amounts in {} rows, up to the bank's rounding (0.10) in {}, not at all in {} \
         (rows missing from the file)",
        found.exact, found.rounded, found.gaps
    );
    println!(
        "  {} rows stand in another order within their day; {} accounts do not begin with nothing",
        found.moved, found.openings
    );
    println!(
        "  each transaction applies its amount and, as a correction of its own, what the bank's column moved beyond it"
    );
}

/// Rates, origins, and the prober's delays.
pub(crate) fn replay(run: &Run) {
    let seconds = run.duration.as_secs_f64();
    let reads: usize = run.answers.iter().map(Vec::len).sum();
    println!("replay: {seconds:.1} s, {} clients", run.answers.len());
    println!("  writes  {:>12.0}/s  ({})", run.commits.len() as f64 / seconds, run.commits.len());
    println!("  reads   {:>12.0}/s  ({reads})", reads as f64 / seconds);
    let share = |origins: &[Origin]| {
        let count = run.answers.iter().flatten().filter(|answer| origins.contains(&answer.origin)).count();
        100.0 * count as f64 / reads.max(1) as f64
    };
    println!("  hit rate {:.2} %", share(&[Origin::L1, Origin::L2]));
    let shares: Vec<_> =
        Origin::ALL.iter().map(|origin| format!("{} {:.2} %", origin.name(), share(&[*origin]))).collect();
    println!("  served by: {}", shares.join(", "));
    let delays = &run.delays.histogram;
    let at = |quantile| delays.value_at_quantile(quantile) as f64 / NANOS_PER_MILLI;
    println!(
        "  commit to invalidation, from the writer's acknowledgement to the end of the first read that shows it: p50 {:.2} \
         ms, p99 {:.2} ms, longest {:.2} ms ({} probes)",
        at(0.5),
        at(0.99),
        delays.max() as f64 / NANOS_PER_MILLI,
        delays.len()
    );
}

/// The server's own view of the same delay.
pub(crate) fn stages(stages: &Stages) {
    if stages.is_empty() {
        println!("  the server tells no trueup_invalidation_delay_seconds");
    }
    for (stage, buckets) in stages {
        let bound = |q| match quantile(buckets, q) {
            Some(seconds) => format!("{} ms", seconds * MILLIS_PER_SECOND),
            None => "-".into(),
        };
        println!("  server's metric, {stage}: p50 <= {}, p99 <= {}", bound(0.5), bound(0.99));
    }
}

/// Right and wrong.
pub(crate) fn verdict(verdict: &Verdict) {
    println!(
        "answers: {} right, {} wrong ({} too old, {} too new, {} never true)",
        verdict.right,
        verdict.wrong(),
        verdict.too_old,
        verdict.too_new,
        verdict.never
    );
    println!(
        "  {} right ones lacked a commit acknowledged before they were asked for, by {:.2} ms at most",
        verdict.behind,
        millis(verdict.behind_max)
    );
    verdict.shown.iter().for_each(|wrong| println!("  wrong: {wrong}"));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * MILLIS_PER_SECOND
}
