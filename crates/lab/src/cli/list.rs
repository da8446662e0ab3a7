//! `trueup-lab list`.

use serde::Serialize;

use super::{Format, print, print_json};
use crate::{fault::CATALOGUE, report::aligned, world::LabError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
    match args.format {
        Format::Json => print_json(&lines),
        Format::Table => {
            let rows: Vec<[String; 3]> = lines
                .into_iter()
                .map(|line| [line.name.to_owned(), line.needs, line.what.to_owned()])
                .collect();
            print(&aligned(["fault", "needs", "what happens"], &rows));
            Ok(())
        }
    }
}
