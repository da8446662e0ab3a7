//! `trueup-lab run`.

use std::{path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use trueup_core::env::Clock;

use super::{print, print_json, runtime};
use crate::{
    incident::{Beside, Ground, INCIDENTS, Incident, NEED_REDIS, Outcome, Servers, Setup, Way},
    report::{aligned, page},
    world::LabError,
};

/// Longest time that one way of an incident may take.
const WAY_TIME_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Incidents, or `all`. See `trueup-lab list`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Chooses keys, waits and who comes when
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A quarter of the load
    #[arg(long)]
    quick: bool,
    /// On a real PostgreSQL and a Redis Cluster of six nodes, which are started for it and stopped afterwards
    #[arg(long)]
    full: bool,
    /// Runs each protected way once more without what protects it: it must fail, or its verdict proves nothing
    #[arg(long)]
    without_protection: bool,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the report into this file
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// How a report is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// A page for a browser, which loads nothing from anywhere.
    Html,
}

/// One incident as it was shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) name: &'static str,
    pub(crate) story: &'static str,
    pub(crate) naive_does: &'static str,
    pub(crate) protection: &'static str,
    pub(crate) seed: u64,
    pub(crate) command: String,
    pub(crate) ground: Ground,
    pub(crate) seconds: f64,
    pub(crate) naive: Outcome,
    pub(crate) protected: Outcome,
    /// What those who told the story measured, beside what was measured here.
    pub(crate) account: Vec<Beside>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unprotected: Option<Outcome>,
}

impl Shown {
    /// The naive way shows what the story tells; the protected way does not, and does again without its protection.
    pub(crate) fn as_told(&self) -> bool {
        !self.naive.holds
            && self.protected.holds
            && self.unprotected.as_ref().is_none_or(|outcome| !outcome.holds)
    }
}

/// True when every incident went as its story says.
pub(super) fn run(args: &Args) -> Result<bool, LabError> {
    let mut wanted = wanted(&args.names)?;
    let needs = |incident: &&Incident| NEED_REDIS.contains(&incident.name);
    if wanted.len() > NEED_REDIS.len() && wanted.iter().any(needs) && !is_installed(REDIS) {
        let left_out = NEED_REDIS.join(", ");
        eprintln!("left out, because there is no {REDIS} here (the package has the same name): {left_out}");
        wanted.retain(|incident| !needs(incident));
    }
    let runtime = runtime()?;
    let bar = ProgressBar::new(wanted.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    let full = if args.full {
        bar.set_message("starting PostgreSQL and a Redis Cluster");
        Some(runtime.block_on(Servers::start(args.seed))?)
    } else {
        None
    };
    let setup = Setup { seed: args.seed, quick: args.quick, full };
    let mut shown = Vec::with_capacity(wanted.len());
    for incident in wanted {
        bar.set_message(incident.name);
        shown.push(runtime.block_on(show(incident, &setup, args.without_protection))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = match args.format {
        Format::Table => table(&shown),
        Format::Html => page(&shown),
        Format::Json if args.out.is_none() => {
            print_json(&shown)?;
            String::new()
        }
        Format::Json => {
            serde_json::to_string_pretty(&shown).map_err(|why| LabError::failed("writing JSON", why))?
        }
    };
    match &args.out {
        Some(path) => std::fs::write(path, report)
            .map_err(|why| LabError::failed(format!("cannot write {}", path.display()), why))?,
        None => print(&report),
    }
    Ok(shown.iter().all(Shown::as_told))
}

/// The program, and the package that brings it.
const REDIS: &str = "redis-server";

/// Whether a program is on the path.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The incidents of these names, in the order in which they are listed.
fn wanted(names: &[String]) -> Result<Vec<&'static Incident>, LabError> {
    let is = |name: &str, incident: &Incident| name == "all" || name == incident.name;
    let unknown = names.iter().find(|name| !INCIDENTS.iter().any(|incident| is(name, incident)));
    if let Some(name) = unknown {
        let names: Vec<_> = INCIDENTS.iter().map(|incident| incident.name).collect();
        let names = names.join(", ");
        return Err(LabError::Usage(format!(
            "there is no incident `{name}`; ask for `all`, or one of: {names}"
        )));
    }
    Ok(INCIDENTS.iter().filter(|incident| names.iter().any(|name| is(name, incident))).collect())
}

async fn show(
    incident: &'static Incident,
    setup: &Setup,
    without_protection: bool,
) -> Result<Shown, LabError> {
    let clock = Clock::system();
    let began = clock.now();
    let way = async |way| {
        let ended = tokio::time::timeout(WAY_TIME_MAX, incident.run(setup.clone(), way)).await;
        ended.unwrap_or_else(|_| {
            let limit = WAY_TIME_MAX.as_secs();
            Err(LabError::failed(incident.name, format!("it did not end within {limit} s")))
        })
    };
    let (naive, protected) = (way(Way::Naive).await?, way(Way::Protected).await?);
    let unprotected = if without_protection { Some(way(Way::Unprotected).await?) } else { None };
    let quick = if setup.quick { " --quick" } else { "" };
    let full = if setup.full.is_some() { " --full" } else { "" };
    let account = incident.account.iter().filter_map(|told| told.beside(&naive, &protected)).collect();
    Ok(Shown {
        name: incident.name,
        story: incident.story,
        naive_does: incident.naive,
        protection: incident.protection,
        seed: setup.seed,
        command: format!("trueup-lab run {} --seed {}{quick}{full}", incident.name, setup.seed),
        ground: setup.full.as_ref().map_or_else(Ground::embedded, |servers| servers.ground()),
        seconds: clock.now().since(began).as_secs_f64(),
        naive,
        protected,
        account,
        unprotected,
    })
}

fn table(shown: &[Shown]) -> String {
    let (mut rows, mut accounts) = (Vec::new(), Vec::new());
    for one in shown {
        for (index, figure) in one.naive.figures.iter().enumerate() {
            let beside =
                |outcome: &Outcome| outcome.figures.get(index).map(ToString::to_string).unwrap_or_default();
            let name = if index == 0 { one.name } else { "" };
            let without = one.unprotected.as_ref().map(beside).unwrap_or_default();
            rows.push([
                name.to_owned(),
                figure.what.to_owned(),
                figure.to_string(),
                beside(&one.protected),
                without,
            ]);
        }
        let holds = |outcome: &Outcome| if outcome.holds { "holds" } else { "fails" }.to_owned();
        let verdict = if one.as_told() { "as told" } else { "NOT AS TOLD" };
        let without = one.unprotected.as_ref().map(holds).unwrap_or_default();
        rows.push([String::new(), verdict.to_owned(), holds(&one.naive), holds(&one.protected), without]);
        accounts.extend(one.account.iter().map(|beside| row_of(one.name, beside)));
    }
    let as_told = shown.iter().filter(|one| one.as_told()).count();
    let seconds: f64 = shown.iter().map(|one| one.seconds).sum();
    let on = shown.first().map(|one| format!(", on {} and {}", one.ground.database, one.ground.cache));
    let figures = aligned(["incident", "", "naive", "Trueup", "unprotected"], &rows);
    let beside = if accounts.is_empty() {
        String::new()
    } else {
        aligned(["incident", "figure", "as it was told", "here", ""], &accounts) + "\n"
    };
    format!(
        "{figures}\n{beside}{as_told} of {} as told, in {seconds:.0} s{}\n",
        shown.len(),
        on.unwrap_or_default()
    )
}

fn row_of(incident: &str, beside: &Beside) -> [String; 5] {
    let short = if beside.short.is_empty() { String::new() } else { format!(": {}", beside.short) };
    let reached = if beside.reached { "reached".to_owned() } else { format!("FALLS SHORT{short}") };
    [incident.to_owned(), beside.figure.to_owned(), beside.told.to_owned(), beside.here.clone(), reached]
}
