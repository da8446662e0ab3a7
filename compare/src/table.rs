//! Figures of all rounds, and the table.

use crate::{harness::Found, judge::Verdict, names::Name, protocol::Answer};

/// One row a rival.
pub(crate) struct Rows(Vec<Row>);

struct Row {
    name: Name,
    rounds: Vec<Found>,
    left_out: Option<String>,
}

/// What each column is.
pub(crate) const HEADINGS: [&str; 11] = [
    "",
    "memory hit, reads/s",
    "p99",
    "second-tier hit, reads/s",
    "p99",
    "miss, reads/s",
    "p99",
    "loads of a crowd",
    "wrong per million: racing writes",
    "lost messages",
    "Redis failover",
];

impl Rows {
    pub(crate) fn new(names: &[Name]) -> Self {
        let row = |name: &Name| Row { name: *name, rounds: Vec::new(), left_out: None };
        Self(names.iter().map(row).collect())
    }

    /// Those that have not been left out.
    pub(crate) fn taking_part(&self) -> Vec<Name> {
        self.0.iter().filter(|row| row.left_out.is_none()).map(|row| row.name).collect()
    }

    pub(crate) fn add(&mut self, name: Name, found: Found) {
        self.0.iter_mut().filter(|row| row.name == name).for_each(|row| row.rounds.push(found.clone()));
    }

    /// A rival that cannot be measured, and why; the rounds before count.
    pub(crate) fn leave_out(&mut self, name: Name, why: &str) {
        let rows = self.0.iter_mut().filter(|row| row.name == name);
        rows.for_each(|row| row.left_out = Some(why.to_owned()));
    }

    pub(crate) fn is_left_out(&self, name: Name) -> bool {
        self.0.iter().any(|row| row.name == name && row.left_out.is_some())
    }

    /// What was left out, with the reason.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = (Name, &str)> {
        self.0.iter().filter_map(|row| Some((row.name, row.left_out.as_deref()?)))
    }

    /// What somebody who reads a row must know beside it.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.iter().flat_map(notes).collect()
    }

    /// The table, in Markdown, its columns aligned.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![HEADINGS.map(str::to_owned).to_vec()];
        lines.extend(self.0.iter().map(cells));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut text: Vec<String> = lines.iter().map(line).collect();
        text.insert(1, format!("|-{}-|", rule.join("-|-")));
        text.join("\n")
    }
}

fn cells(row: &Row) -> Vec<String> {
    let rounds = &row.rounds;
    let mut cells = vec![row.name.title().to_owned()];
    if rounds.is_empty() {
        cells.resize(HEADINGS.len(), "-".to_owned());
        return cells;
    }
    let phases: [fn(&Found) -> &Answer; 3] =
        [|found| &found.memory, |found| &found.remote, |found| &found.miss];
    for phase in phases {
        cells.push(thousands(median(rounds.iter().map(|found| rate(phase(found))))));
        cells.push(time(median(rounds.iter().map(|found| phase(found).p99_ns as f64))));
    }
    cells.push(format!("{:.0}", median(rounds.iter().map(|found| found.crowd as f64))));
    let verdicts: [fn(&Found) -> Option<Verdict>; 3] =
        [|found| Some(found.race), |found| found.lost, |found| found.failover];
    cells.extend(verdicts.map(|verdict| wrong(sum(rounds.iter().map(verdict)))));
    cells
}

/// All rounds together; none where there is nothing to judge.
fn sum(verdicts: impl Iterator<Item = Option<Verdict>>) -> Option<Verdict> {
    verdicts.flatten().fold(None, |all: Option<Verdict>, one| {
        let mut all = all.unwrap_or_default();
        all.add(one);
        Some(all)
    })
}

fn wrong(verdict: Option<Verdict>) -> String {
    match verdict {
        None => "-".to_owned(),
        Some(verdict) if verdict.wrong == 0 => "0".to_owned(),
        Some(verdict) => {
            let oldest = verdict.oldest as f64 / 1e9;
            format!("{} (to {oldest:.1} s)", thousands(verdict.per_million().max(1.0)))
        }
    }
}

fn notes(row: &Row) -> Vec<String> {
    let (title, rounds) = (row.name.title(), &row.rounds);
    let mut notes = Vec::new();
    let reads: u64 = rounds.iter().map(|found| found.remote.reads).sum();
    let loads: u64 = rounds.iter().map(|found| found.remote_loads).sum();
    if loads * 100 > reads {
        notes.push(format!(
            "{title}: of the reads of the second tier {:.1} % were loaded from the database.",
            100.0 * loads as f64 / reads as f64
        ));
    }
    let phases = [
        ("in the measured phases", rounds.iter().map(measured_failures).sum::<u64>()),
        ("in the crowd", rounds.iter().map(|found| found.crowd_failed).sum()),
        ("while writes raced", rounds.iter().map(|found| found.race.failed).sum()),
        ("while messages were lost", rounds.iter().filter_map(|found| Some(found.lost?.failed)).sum()),
        ("around the failover", rounds.iter().filter_map(|found| Some(found.failover?.failed)).sum()),
    ];
    let failed = phases.iter().filter(|(_, count)| *count > 0);
    notes.extend(failed.map(|(phase, count)| format!("{title}: {count} reads {phase} got no answer.")));
    let untold: u64 = rounds.iter().filter_map(|found| Some(found.failover?.untold)).sum();
    if untold > 0 {
        notes.push(format!("{title}: {untold} invalidations failed around the failover."));
    }
    notes
}

fn measured_failures(found: &Found) -> u64 {
    found.memory.failed + found.remote.failed + found.miss.failed
}

/// A round, for whoever waits.
pub(crate) fn line(found: &Found) -> String {
    let phase = |answer: &Answer| format!("{}/s p99 {}", thousands(rate(answer)), time(answer.p99_ns as f64));
    let judged = |verdict: Option<Verdict>| {
        verdict.map_or_else(|| "-".to_owned(), |verdict| format!("{} of {}", verdict.wrong, verdict.reads))
    };
    let mut line = format!(
        "memory {}, second tier {} ({} loaded), miss {}, crowd {} loads, wrong: race {}, lost {}, failover {}",
        phase(&found.memory),
        phase(&found.remote),
        found.remote_loads,
        phase(&found.miss),
        found.crowd,
        judged(Some(found.race)),
        judged(found.lost),
        judged(found.failover),
    );
    let whys = [&found.memory, &found.remote, &found.miss].map(|answer| answer.why.as_deref());
    if let Some(why) = whys.into_iter().flatten().next() {
        line.push_str(&format!("; some reads failed: {why}"));
    }
    line
}

fn rate(answer: &Answer) -> f64 {
    answer.reads as f64 * 1e9 / answer.nanos.max(1) as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// `1,234,567`
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e5 => format!("{:.1} us", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} us", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [130.0, 1_500.0, 250_000.0, 2_500_000.0].map(time),
            ["130 ns", "1.5 us", "250 us", "2.5 ms"]
        );
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!((median([1.0, 2.0].into_iter()) - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn few_wrong_answers_are_never_shown_as_none() {
        let verdict = Verdict { reads: 10_000_000, wrong: 1, oldest: 400_000_000, ..Verdict::default() };
        assert_eq!(wrong(Some(verdict)), "1 (to 0.4 s)");
        assert_eq!(wrong(Some(Verdict { reads: 5, ..Verdict::default() })), "0");
        assert_eq!(wrong(None), "-");
    }

    #[test]
    fn a_rival_that_was_left_out_keeps_its_row() {
        let mut rows = Rows::new(&[Name::Trueup, Name::Cashews]);
        rows.leave_out(Name::Cashews, "no Python");
        assert_eq!(rows.taking_part(), [Name::Trueup]);
        assert_eq!(rows.table().lines().count(), 4);
        assert_eq!(rows.left_out().count(), 1);
    }
}
