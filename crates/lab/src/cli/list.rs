//! `trueup-lab list`.

use serde::Serialize;

use super::{Format, print, print_json};
use crate::{fault::CATALOGUE, incident::INCIDENTS, report::aligned, world::LabError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Listed {
    incidents: Vec<Told>,
    faults: Vec<Line>,
}

#[derive(Serialize)]
struct Told {
    name: &'static str,
    story: &'static str,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    needs: String,
    what: &'static str,
}

pub(super) fn run(args: &Args) -> Result<(), LabError> {
    let lines: Vec<Line> = CATALOGUE
        .iter()
        .map(|kind| Line { name: kind.name, needs: kind.needs.words(), what: kind.what })
        .collect();
    let incidents = INCIDENTS.iter().map(|incident| Told { name: incident.name, story: incident.story });
    match args.format {
        Format::Json => print_json(&Listed { incidents: incidents.collect(), faults: lines }),
        Format::Table => {
            let told: Vec<[String; 2]> =
                incidents.map(|told| [told.name.to_owned(), told.story.to_owned()]).collect();
            print(&aligned(["incident (run)", "story"], &told));
            print("\n");
            let rows: Vec<[String; 3]> = lines
                .into_iter()
                .map(|line| [line.name.to_owned(), line.needs, line.what.to_owned()])
                .collect();
            print(&aligned(["fault (faults)", "needs", "what happens"], &rows));
            Ok(())
        }
    }
}
