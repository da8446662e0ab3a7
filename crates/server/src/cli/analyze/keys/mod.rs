//! `trueup analyze keys FILE`: values that are cached under several keys, because their keys are spelled in several ways.

mod difference;
mod form;
mod parameters;
mod report;
mod tally;

use trueup_core::class::units::parse_bytes;

use self::{form::Wishes, report::Report, tally::Tally};
use super::log::{self, FileArg, LogArgs};
use crate::cli::{
    Failure,
    output::{self, Format},
    setup::{self, SourceArgs},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    log: LogArgs,
    /// Keys of each class that are shown, those with most spellings first
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Spellings that are shown of each of them, 8 at most
    #[arg(long, value_name = "N", default_value_t = 4)]
    examples: usize,
    /// What an entry takes in memory, such as 2KiB: value, key and bookkeeping [default: the mean answer, where the log tells it]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    entry_size: Option<usize>,
    /// Without a plan: a parameter that says nothing about the answer; NAME* for all that begin so
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// Without a plan: a value that is the same as leaving the parameter out, such as page=1
    #[arg(long, value_name = "NAME=VALUE", value_parser = default_value)]
    default_value: Vec<(String, String)>,
    /// By what the values in the log look like, although a database is named
    #[arg(long)]
    as_written: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn default_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as page=1")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(in crate::cli) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let (plan, forms) = log::forms(&args.source, args.as_written)?;
    let has_plan = forms.is_some();
    let wishes = Wishes { ignore: args.ignore.clone(), defaults: args.default_value.clone() };
    if has_plan && !(wishes.ignore.is_empty() && wishes.defaults.is_empty()) {
        let why = "the plan says what is ignored and what is a default: write it there, or add --as-written to try it without";
        return Err(Failure::Usage(why.to_owned()));
    }
    let mut tally = Tally::new(forms, wishes, args.log.counted_max.max(1));
    let passed = log::each_read(&args.file.file, &args.log.which, &plan.warm.routes, |asked| {
        tally.note(asked.class, asked.key, asked.times, asked.bytes)
    })?;
    tally.finish()?;
    let report = Report::new(&tally, args.top, args.examples, args.entry_size, passed.other);
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.table()),
    }
    if report.requests == 0 {
        return Err(Failure::Findings(log::NO_KEY.to_owned()));
    }
    match report.spelled_otherwise() {
        // Under the class's own form they are one key already.
        0 => Ok(()),
        _ if has_plan => Ok(()),
        many => Err(Failure::Findings(format!(
            "{} spelled in several ways; declare the class's parameters in a plan, and name it with --config",
            if many == 1 { "1 key is".to_owned() } else { format!("{many} keys are") }
        ))),
    }
}
