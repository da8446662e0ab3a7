//! A report for people.

use std::fmt::Write as _;

use super::{FaultReport, Report, Unproven};

/// Violations that are shown; JSON has more.
const SHOWN_MAX: usize = 10;

/// The report as text.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(text: &mut String, report: &Report) -> std::fmt::Result {
    let (reads, writes) = (&report.reads, &report.writes);
    writeln!(
        text,
        "seed {}, {}, l2 {}, {} nodes, {:.0} s",
        report.seed, report.source, report.l2, report.nodes, report.seconds
    )?;
    let served: Vec<String> = reads
        .served_by
        .iter()
        .map(|(by, count)| format!("{} {count} ({})", by.as_str(), percent(*count, reads.answered)))
        .collect();
    writeln!(text, "reads   {} answered: {}", reads.answered, served.join(", "))?;
    writeln!(
        text,
        "        {} checked against what was written, {} faults injected",
        report.checked, report.faults_injected
    )?;
    writeln!(
        text,
        "        {} failed; {} with a token, {} of sessions, {} several as one, {} absent; p50 {:.2} ms, p99 {:.2} ms",
        reads.failed,
        reads.with_token,
        reads.of_sessions,
        reads.together,
        reads.absent,
        reads.p50_ms,
        reads.p99_ms
    )?;
    if !reads.misses.is_empty() {
        let misses: Vec<_> = reads.misses.iter().map(|(why, count)| format!("{why} {count}")).collect();
        writeln!(text, "misses  {} (since each node was started last)", misses.join(", "))?;
    }
    if !report.unproven.is_empty() {
        let nodes: Vec<String> = report.unproven.iter().enumerate().map(unproven).collect();
        writeln!(text, "unproven {}", nodes.join("; "))?;
    }
    let own = &report.own_tokens;
    if own.reads > 0 {
        writeln!(
            text,
            "tokens  of more than 20 ms: {} reads, {} sent to the database for the token alone; while nothing was broken \
             {}, {}",
            own.reads,
            percent_fine(own.bypassed, own.reads),
            own.reads_calm,
            percent_fine(own.bypassed_calm, own.reads_calm)
        )?;
    }
    writeln!(
        text,
        "writes  {} committed, {} without an answer, slowest {:.0} ms; the database went back {} times and took {} \
         acknowledged writes with it",
        writes.committed, writes.failed, writes.slowest_ms, writes.rewinds, writes.taken_back
    )?;
    if !report.faults.is_empty() {
        writeln!(text, "\n{}", faults(&report.faults))?;
    }
    for trouble in &report.trouble {
        writeln!(text, "trouble: {trouble}")?;
    }
    if let Some(naive) = &report.naive {
        let found: Vec<_> = naive.violations.iter().map(|(p, count)| format!("{p} {count}")).collect();
        let found = if found.is_empty() { "none: THE JUDGE IS ASLEEP".to_owned() } else { found.join(", ") };
        writeln!(text, "the wrong way beside it: {} reads, violations: {found}", naive.reads)?;
    }
    if report.violations.is_empty() {
        return writeln!(text, "violations: 0");
    }
    let found: Vec<_> = report.violations.iter().map(|(p, count)| format!("{p} {count}")).collect();
    writeln!(text, "violations: {}", found.join(", "))?;
    for evidence in report.evidence.iter().take(SHOWN_MAX) {
        let during = if evidence.during.is_empty() { "calm".to_owned() } else { evidence.during.join(" + ") };
        writeln!(text, "  {} ({during}): {}", evidence.promise, evidence.what)?;
    }
    Ok(())
}

/// A node's seconds without proof: as its readers saw it, and as it counts itself.
fn unproven((node, unproven): (usize, &Unproven)) -> String {
    let counted = unproven.counted_s.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}"));
    format!(
        "node {node} {:.1} s ({:.1} %; itself {counted} s since it was started last)",
        unproven.seconds,
        100.0 * unproven.share
    )
}

fn faults(faults: &[FaultReport]) -> String {
    let headings = [
        "at s",
        "held s",
        "ready ms",
        "answered",
        "p99 ms",
        "hits",
        "recovered ms",
        "failed writes",
        "fault",
    ];
    let rows: Vec<[String; 9]> = faults
        .iter()
        .map(|fault| {
            [
                format!("{:.1}", fault.at_s),
                format!("{:.1}", fault.held_s),
                format!("{:.0}", fault.ready_ms),
                format!("{:.1} %", 100.0 * fault.answered),
                format!("{:.1}", fault.p99_ms),
                format!("{:.0} -> {:.0} %", 100.0 * fault.hit_rate_before, 100.0 * fault.hit_rate),
                fault.recovered_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}")),
                fault.failed_writes.to_string(),
                fault.faults.join(" + "),
            ]
        })
        .collect();
    aligned(headings, &rows)
}

/// Rows under headings, columns aligned.
pub(crate) fn aligned<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(headings)).chain(body).collect()
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn percent_fine(part: u64, whole: u64) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn columns_are_aligned() {
        let rows = [["1".to_owned(), "x".to_owned()], ["200".to_owned(), "longer".to_owned()]];
        assert_eq!(aligned(["n", "what"], &rows), "n    what\n1    x\n200  longer\n");
    }
}
