//! `trueup init`: what serving a database would take, and putting it in place or taking it out.

use serde::Serialize;
use trueup::plan::{Plan, Skipped, render};

use super::{
    Failure,
    database::{self, Feed},
    output::{self, Format},
    setup::{self, SourceArgs},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Put the change feed into the database
    #[arg(long, conflicts_with = "remove")]
    apply: bool,
    /// Take out of the database everything that was put into it
    #[arg(long)]
    remove: bool,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What was found, and what would be (or was) done.
#[derive(Debug, Serialize)]
struct Report {
    /// A `trueup.toml` in which every decision is spelled out; none when removing.
    toml: Option<String>,
    /// The statements, in order.
    statements: Vec<String>,
    /// What the one who installs should know.
    warnings: Vec<String>,
    /// Tables that cannot be followed, with the reason.
    refused: Vec<(String, String)>,
    /// Whether the statements were executed.
    applied: bool,
}

/// What installing would do, and which tables get no class.
pub(super) struct Installation {
    pub(super) feed: Feed,
    pub(super) skipped: Vec<Skipped>,
}

/// What was taken out.
pub(super) struct Removal {
    pub(super) statements: Vec<String>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let mut plan = args.source.plan(Vec::new())?;
    let report = setup::runtime(None)?.block_on(async {
        if args.remove {
            return database::remove(&plan).await.map(removed);
        }
        let installation = database::installation(&mut plan).await?;
        if args.apply {
            installation.feed.apply().await?;
        }
        Ok(install(&installation, &plan, args.apply))
    })?;
    match args.format {
        Format::Json => output::print_json(&report),
        Format::Table => {
            output::print(&show(args, &report));
            Ok(())
        }
    }
}

fn install(installation: &Installation, plan: &Plan, applied: bool) -> Report {
    let Installation { feed, skipped } = installation;
    Report {
        toml: Some(render(plan, skipped)),
        statements: feed.statements(),
        warnings: feed.warnings().to_vec(),
        refused: feed.refused().to_vec(),
        applied,
    }
}

fn removed(removal: Removal) -> Report {
    let Removal { statements, warnings } = removal;
    Report { toml: None, statements, warnings, refused: Vec::new(), applied: true }
}

/// The report as a `trueup.toml` with everything else in comments, so that it can be kept as it is.
fn show(args: &Args, report: &Report) -> String {
    let mut text = report.toml.clone().unwrap_or_default();
    let mut comment = |line: &str| {
        text.push_str("# ");
        text.push_str(&line.replace('\n', "\n# "));
        text.push('\n');
    };
    match (report.statements.is_empty(), report.applied, args.remove) {
        (true, _, true) => comment("Nothing of Trueup was in the database."),
        (true, _, false) => comment("The feed is in place; nothing is missing."),
        (false, true, true) => comment("Taken out of the database by these statements:"),
        (false, true, false) => comment("Put into the database by these statements:"),
        (false, false, _) => comment("The database was not changed. `trueup init --apply` would execute:"),
    }
    for statement in &report.statements {
        comment(&format!("{};", statement.trim_end_matches(';')));
    }
    for (table, reason) in &report.refused {
        comment(&format!("Table {table:?} cannot be followed: {reason}"));
    }
    for warning in &report.warnings {
        comment(&format!("Note: {warning}"));
    }
    text
}
