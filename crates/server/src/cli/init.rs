//! `trueup init`: what serving a database would take, and putting it in place or taking it out.

use serde::Serialize;
use trueup::{
    catalog::sqlite::{discover_classes, install_options},
    plan::{Plan, Skipped, render},
    sqlite::{FeedPlan, RemovePlan, discover_file},
};

use super::{
    Failure,
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

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let mut plan = args.source.plan(Vec::new())?;
    let source = setup::database(&plan)?.clone();
    let path = setup::path(&source);
    let report = if args.remove {
        remove(&RemovePlan::new(path)?)?
    } else {
        let feed = FeedPlan::new(path, &install_options(&plan))?;
        let skipped = if plan.classes.is_empty() {
            discover_classes(&mut plan, &discover_file(path)?, None)
        } else {
            Vec::new()
        };
        if args.apply {
            feed.apply()?;
        }
        install(&feed, &plan, &skipped, args.apply)
    };
    match args.format {
        Format::Json => output::print_json(&report),
        Format::Table => {
            output::print(&show(args, &report));
            Ok(())
        }
    }
}

fn install(feed: &FeedPlan, plan: &Plan, skipped: &[Skipped], applied: bool) -> Report {
    Report {
        toml: Some(render(plan, skipped)),
        statements: feed.statements().to_vec(),
        warnings: feed.warnings().to_vec(),
        refused: feed.refused().to_vec(),
        applied,
    }
}

fn remove(plan: &RemovePlan) -> Result<Report, Failure> {
    let warning = plan.apply()?;
    Ok(Report {
        toml: None,
        statements: plan.statements().to_vec(),
        warnings: warning.into_iter().collect(),
        refused: Vec::new(),
        applied: true,
    })
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
