//! `trueup-lab scenario`.

use std::{path::PathBuf, time::Duration};

use trueup_core::env::Clock;

use super::{Choice, print, settings};
use crate::{
    history::ServedBy,
    load::Rates,
    report::aligned,
    scenario::{self, Shown},
    world::{L2Kind, LabError, SourceKind, World, binary},
};

/// Nodes of a scenario.
const NODES: usize = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What happens
    #[arg(value_enum)]
    name: Name,
    /// Chooses keys and the order of reads
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Reads a second over RESP, all together
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    reads: u32,
    /// Transactions a second, all together
    #[arg(long, value_name = "N", default_value_t = 50)]
    writes: u32,
    /// Draw the run into this file
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// The server to test; else the one that was built beside this program
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// The remote tier is killed under load and comes back empty
    RedisKilled,
    /// The change log is silent for 30 s; what has not changed needs no load afterwards
    FeedOutage,
}

/// True when everything held that the scenario asserts.
pub(super) fn run(args: &Args) -> Result<bool, LabError> {
    let asked = Choice {
        seed: args.seed,
        nodes: NODES,
        source: SourceKind::Postgres,
        l2: L2Kind::Redis,
        max_staleness: Duration::from_millis(500),
        bulk_rows: 1,
    };
    let settings = settings(&asked, binary(args.server.as_deref())?);
    let runtime = super::runtime()?;
    let rates = Rates { reads: args.reads, writes: args.writes };
    let (shown, trouble) = runtime.block_on(async {
        let world = World::build(&settings, &Clock::system()).await?;
        let shown = match args.name {
            Name::RedisKilled => scenario::redis_killed(&world, rates).await?,
            Name::FeedOutage => scenario::feed_outage(&world, rates).await?,
        };
        Ok::<_, LabError>((shown, world.trouble.take()))
    })?;
    print(&table(&shown));
    trouble.iter().for_each(|what| print(&format!("trouble: {what}\n")));
    if let Some(path) = &args.svg {
        std::fs::write(path, scenario::svg(&shown))?;
    }
    Ok(trouble.is_empty() && shown.findings.iter().all(|finding| finding.holds))
}

fn table(shown: &Shown) -> String {
    let served = [ServedBy::L1, ServedBy::L2, ServedBy::Source];
    let row = |(index, second): (usize, &scenario::Second)| {
        let [l1, l2, source] = served.map(|by| second.by(by).to_string());
        let mark = shown.series.marks.iter().find(|mark| mark.at_s as usize == index);
        let mark = mark.map(|mark| mark.what.to_owned()).unwrap_or_default();
        let (failed, loads) = (second.failed.to_string(), format!("{:.0}", second.loads));
        [index.to_string(), l1, l2, source, failed, loads, format!("{:.1}", second.p99_ms), mark]
    };
    let rows: Vec<[String; 8]> = shown.series.seconds.iter().enumerate().map(row).collect();
    let headings = ["s", "l1", "l2", "source", "failed", "loads/s", "p99 ms", ""];
    let mut text = format!("{}\n\n{}\n", shown.title, aligned(headings, &rows));
    for finding in &shown.findings {
        text.push_str(&format!("{} {}\n", if finding.holds { "holds:" } else { "FAILS:" }, finding.what));
    }
    text
}
