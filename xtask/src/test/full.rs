//! The fault harness at length: every source with every remote tier for a short while, then twenty seeds of a whole fleet.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{
    packages, paths,
    server::{Profile, Trueup},
    sh,
};

/// Minutes of each source with each remote tier.
const SHORT_MINUTES: f64 = 0.75;
/// Minutes of each seed of a fleet on PostgreSQL with a Redis Cluster.
const LONG_MINUTES: f64 = 3.0;
const LONG_SEEDS: std::ops::RangeInclusive<u32> = 1..=20;
/// What starting, the last fault and stopping may take beside the time that was asked for.
const BESIDE: Duration = Duration::from_secs(240);
const HEADINGS: [&str; 10] =
    ["source", "l2", "seed", "s", "checked", "faults", "hits", "unproven", "violations", "trouble"];

/// One run of the lab.
struct Run {
    source: &'static str,
    l2: &'static str,
    seed: u32,
    minutes: f64,
}

/// What is read of a run's report; `docs/operate/faults.md` tells the whole of it.
#[derive(Deserialize)]
struct Report {
    seconds: f64,
    checked: u64,
    faults_injected: u64,
    reads: Reads,
    unproven: Vec<Unproven>,
    violations: std::collections::BTreeMap<String, u64>,
    trouble: Vec<String>,
}

#[derive(Deserialize)]
struct Reads {
    answered: u64,
    served_by: std::collections::BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Unproven {
    share: f64,
}

/// Runs them all, also after one that has found something, and shows a table.
///
/// # Errors
/// When a run has found something, or none could be made.
pub(super) fn run() -> Result<()> {
    packages::ensure(&[packages::REDIS_SERVER, packages::REDIS_TOOLS])?;
    packages::ensure_postgres()?;
    let server = Trueup::build(Profile::Release)?;
    sh::run(&mut sh::cargo(&["build", "--locked", "--release", "--package", "trueup-lab"]))?;
    let lab = paths::target().join("release").join("trueup-lab");
    let folder = paths::target().join("faults");
    std::fs::create_dir_all(&folder)?;
    let (mut rows, mut found) = (vec![HEADINGS.map(str::to_owned)], Vec::new());
    for run in runs() {
        let name = format!("{}-{}-{}", run.source, run.l2, run.seed);
        let minutes = run.minutes.to_string();
        let mut command = sh::command(&lab);
        command.args(["faults", "--format", "json", "--nodes", "3", "--server"]).arg(&server);
        command.args(["--source", run.source, "--l2", run.l2, "--seed", &run.seed.to_string()]);
        command.args(["--minutes", &minutes]);
        let limit = Duration::from_secs_f64(run.minutes * 60.0) + BESIDE;
        let (status, text) = sh::outcome_within(limit, &mut command)?;
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, &text)?;
        let report: Report = serde_json::from_str(&text)
            .with_context(|| format!("the run {name} made no report ({status})"))?;
        if !status.success() {
            found.push(file.strip_prefix(paths::root()).unwrap_or(&file).display().to_string());
        }
        let row = row(&run, &report);
        eprintln!("{}", row.join("  "));
        rows.push(row);
    }
    println!("{}", aligned(&rows));
    ensure!(found.is_empty(), "something was found; see {}", found.join(", "));
    Ok(())
}

fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for source in ["sqlite", "postgres"] {
        for l2 in ["none", "redis", "cluster"] {
            runs.push(Run { source, l2, seed: 1, minutes: SHORT_MINUTES });
        }
    }
    let long = |seed| Run { source: "postgres", l2: "cluster", seed, minutes: LONG_MINUTES };
    runs.extend(LONG_SEEDS.map(long));
    runs
}

fn row(run: &Run, report: &Report) -> [String; 10] {
    let hits: u64 = ["l1", "l2"].iter().filter_map(|by| report.reads.served_by.get(*by)).sum();
    let unproven = report.unproven.iter().map(|node| node.share).fold(0.0, f64::max);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let broken: Vec<String> =
        report.violations.iter().map(|(promise, count)| format!("{promise} {count}")).collect();
    [
        run.source.to_owned(),
        run.l2.to_owned(),
        run.seed.to_string(),
        format!("{:.0}", report.seconds),
        report.checked.to_string(),
        report.faults_injected.to_string(),
        percent(hits as f64 / report.reads.answered.max(1) as f64),
        percent(unproven),
        if broken.is_empty() { "0".to_owned() } else { broken.join(" ") },
        report.trouble.len().to_string(),
    ]
}

fn aligned(rows: &[[String; 10]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let line = |row: &[String; 10]| {
        let cells =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_meets_every_tier_and_a_fleet_goes_through_twenty_seeds() {
        let runs = runs();
        assert_eq!(runs.len(), 6 + 20);
        let short = runs.iter().filter(|run| run.minutes < 1.0);
        assert_eq!(short.map(|run| (run.source, run.l2)).collect::<std::collections::HashSet<_>>().len(), 6);
    }

    #[test]
    fn a_report_becomes_a_line() {
        let report = r#"{"seconds": 181.6, "checked": 9, "faults_injected": 3, "reads": {"answered": 8, "failed": 1,
            "served_by": {"l1": 4, "l2": 2, "source": 2}}, "unproven": [{"seconds": 1.0, "share": 0.01, "counted_s": null},
            {"seconds": 2.0, "share": 0.02, "counted_s": 1.5}], "violations": {"P3": 1}, "trouble": []}"#;
        let run = Run { source: "postgres", l2: "none", seed: 4, minutes: 3.0 };
        let line = aligned(&[row(&run, &serde_json::from_str(report).unwrap())]);
        assert_eq!(line, "postgres  none  4  182  9  3  75.0 %  2.0 %  P3 1  0");
    }
}
