//! `trueup analyze hot FILE`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use trueup::warm::{TalliedClass, Tally};
use trueup_core::{class::units::show_share, key::KeyForm};

use super::log::{self, FileArg, LogArgs};
use crate::cli::{
    Failure, output,
    setup::{self, SourceArgs},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    log: LogArgs,
    /// Keys that are shown of each class
    #[arg(long, value_name = "N", default_value_t = 50)]
    top: usize,
    /// Also what keys of several parts have in common: patterns with * for one part
    #[arg(long)]
    patterns: bool,
    /// Keys as they are written: no database is asked for their normal form
    #[arg(long)]
    as_written: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For `hot_keys` of a class's admission (with --class) and for `trueup warm --file`: count, tab, key
    List,
}

#[derive(Debug, Serialize)]
struct Report<'t> {
    /// Lines that asked for a key.
    requests: u64,
    /// Lines that asked for something else, or were no successful read.
    other: u64,
    /// Lines whose key is none of its class.
    unknown: u64,
    /// Whether keys are in the normal form of their class.
    normal_form: bool,
    classes: Vec<OfClass<'t>>,
}

#[derive(Debug, Serialize)]
struct OfClass<'t> {
    class: &'t str,
    requests: u64,
    keys: Vec<OfKey<'t>>,
    patterns: Vec<OfPattern<'t>>,
}

#[derive(Debug, Serialize)]
struct OfPattern<'t> {
    pattern: &'t str,
    /// At most.
    count: u64,
    /// By how much that may be too high.
    error: u64,
    /// Share, 0 to 1, of the class's requests that certainly fit it.
    covered: f64,
}

#[derive(Debug, Serialize)]
struct OfKey<'t> {
    key: &'t str,
    /// At most.
    count: u64,
    /// By how much that may be too high.
    error: u64,
    /// Share, 0 to 1, of the class's requests that this key and those before it certainly had.
    covered: f64,
}

pub(in crate::cli) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let (plan, forms) = log::forms(&args.source, args.as_written)?;
    let mut tally = args.log.tally(&plan.warm.routes);
    if args.patterns {
        tally = tally.with_patterns();
    }
    if let Some(forms) = &forms {
        tally = tally.in_normal_form(normal_form(forms));
    }
    log::read(&args.file.file, &mut tally)?;
    let report = report(&tally, args.top, forms.is_some());
    match args.format {
        Form::Json => output::print_json(&report)?,
        Form::Table => output::print(&table(&report)),
        Form::List => output::print(&list(&report, args.log.which.class.is_some())),
    }
    if report.requests == 0 {
        return Err(Failure::Findings(log::NO_KEY.to_owned()));
    }
    Ok(())
}

fn normal_form(
    forms: &BTreeMap<String, KeyForm>,
) -> impl Fn(&str, &str) -> Option<compact_str::CompactString> + Send {
    |class, key| Some(forms.get(class)?.parse(key).ok()?.as_str().into())
}

fn report<'t>(tally: &'t Tally<'_>, top: usize, normal_form: bool) -> Report<'t> {
    let class = |class: TalliedClass<'t>| {
        let mut certain = 0;
        let keys = class.keys.iter().map(|&(key, count, error)| {
            certain += count - error;
            OfKey { key, count, error, covered: certain as f64 / class.requests.max(1) as f64 }
        });
        let keys = keys.collect();
        let patterns = class.patterns.iter().map(|&(pattern, count, error)| {
            let covered = (count - error) as f64 / class.requests.max(1) as f64;
            OfPattern { pattern, count, error, covered }
        });
        OfClass { class: class.name, requests: class.requests, keys, patterns: patterns.collect() }
    };
    Report {
        requests: tally.counted,
        other: tally.other,
        unknown: tally.unknown,
        normal_form,
        classes: tally.classes(top).into_iter().map(class).collect(),
    }
}

fn table(report: &Report<'_>) -> String {
    let mut text = String::new();
    for class in &report.classes {
        let _ = writeln!(text, "class {}: {} requests", class.class, class.requests);
        let rows: Vec<[String; 4]> = class
            .keys
            .iter()
            .map(|key| {
                let covered = show_share((key.covered * 1_000.0).floor() / 1_000.0);
                [key.count.to_string(), key.error.to_string(), covered, key.key.to_owned()]
            })
            .collect();
        text.push_str(&output::table(["count", "too high by", "covered", "key"], &rows));
        text.push('\n');
        let rows: Vec<[String; 4]> = class
            .patterns
            .iter()
            .map(|one| {
                let covered = show_share((one.covered * 1_000.0).floor() / 1_000.0);
                [one.count.to_string(), one.error.to_string(), covered, one.pattern.to_owned()]
            })
            .collect();
        if !rows.is_empty() {
            text.push_str(&output::table(["count", "too high by", "covered", "pattern"], &rows));
            text.push('\n');
        }
    }
    let Report { requests, other, unknown, normal_form, .. } = *report;
    text + &log::closing_lines(requests, other, unknown, normal_form)
}

/// The format of `hot_keys`; of several classes, each in front of its key.
fn list(report: &Report<'_>, one_class: bool) -> String {
    let mut text = String::new();
    let form = if report.normal_form { "in normal form" } else { "as they are written" };
    for class in &report.classes {
        let covered = class.keys.last().map_or(0.0, |key| key.covered);
        let covered = show_share((covered * 1_000.0).floor() / 1_000.0);
        let (name, requests, keys) = (class.class, class.requests, class.keys.len());
        let _ = writeln!(text, "# class {name}: {keys} keys {form}, {covered} of {requests} requests");
        let patterns = class.patterns.iter().map(|one| (one.count, one.pattern));
        for (count, key) in patterns.chain(class.keys.iter().map(|one| (one.count, one.key))) {
            let _ = if one_class {
                writeln!(text, "{count}\t{key}")
            } else {
                writeln!(text, "{count}\t{name} {key}")
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use trueup::warm::Routes;
    use trueup_core::policy::HotKeys;

    use super::*;

    #[test]
    fn the_list_of_a_class_is_what_its_admission_reads_and_that_of_all_can_be_warmed() {
        let mut tally = Tally::new(Routes::default(), 10);
        for line in ["shelf hats,red", "shelf hats,red", "shelf #1", "/v1/user/7"] {
            tally.line(line);
        }
        let report = report(&tally, 9, true);
        assert_eq!(
            list(&report, false),
            "# class shelf: 2 keys in normal form, 100% of 3 requests\n2\tshelf hats,red\n1\tshelf #1\n\
             # class user: 1 keys in normal form, 100% of 1 requests\n1\tuser 7\n"
        );
        let mut again = Tally::new(Routes::default(), 10);
        list(&report, false).lines().for_each(|line| again.line(line));
        assert_eq!((again.counted, again.classes(9)[0].requests), (3, 3));
        let hot = HotKeys::parse(&list(&report, true)).unwrap();
        assert!(hot.contains("hats,red") && hot.contains("7") && !hot.contains("8"));
        assert!(table(&report).contains("2      0            66.6%    hats,red"), "{}", table(&report));
    }

    #[test]
    fn what_many_keys_have_in_common_is_told_and_can_be_given_to_admission() {
        let mut tally = Tally::new(Routes::default(), 1_000).with_patterns();
        (0..50).for_each(|page| tally.line(&format!("shelf hats,{page}")));
        let report = report(&tally, 1, true);
        assert!(table(&report).contains("50     0            100%     hats,*"), "{}", table(&report));
        let hot = HotKeys::parse(&list(&report, true)).unwrap();
        assert!(hot.contains("hats,900") && !hot.contains("shoes,1"));
    }
}
