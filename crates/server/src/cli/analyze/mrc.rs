//! `trueup analyze mrc FILE`: the miss-ratio curve of a log, by replaying it through the memory tier.

use std::fmt::Write as _;

use serde::Serialize;
use trueup_core::tier::Policy;

use super::{
    log::{self, FileArg, WhichArgs},
    workload::{Curve, Requests, SizeArgs, Workload},
};
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
    which: WhichArgs,
    /// Policies to compare; what is enough is said of the first [default: s3-fifo,lru,lfu,fifo,sieve]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    policy: Vec<Policy>,
    #[command(flatten)]
    sizes: SizeArgs,
    /// Keys as they are written: no database is asked for their normal form
    #[arg(long)]
    as_written: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Requests for keys.
    requests: u64,
    /// Lines that asked for something else, or were no successful read.
    other: u64,
    /// Lines whose key is none of its class.
    unknown: u64,
    /// Whether keys are in the normal form of their class.
    normal_form: bool,
    classes: Vec<OfClass>,
}

#[derive(Debug, Serialize)]
struct OfClass {
    class: String,
    requests: u64,
    /// Different keys; of a sample about so many.
    keys: u64,
    /// Share, 0 to 1, of the keys that was replayed.
    sample: f64,
    /// Requests at the end of the log that were left out.
    left_out: u64,
    sizes: Vec<OfSize>,
    /// Stated sizes, in entries, for which the sample is too small.
    too_small: Vec<usize>,
    /// What a memory without end would have missed, 0 to 1.
    least_miss_ratio: f64,
    /// The smallest size, in entries, within one point of that, under the first policy.
    enough: Option<usize>,
    /// The smallest size, in entries, from which on doubling gives less than one point, under the first policy.
    doubling_ends: Option<usize>,
}

#[derive(Debug, Serialize)]
struct OfSize {
    entries: usize,
    /// Where somebody tells what an entry takes.
    bytes: Option<u64>,
    /// By policy, 0 to 1.
    miss_ratio: Vec<OfPolicy>,
}

#[derive(Debug, Serialize)]
struct OfPolicy {
    policy: &'static str,
    miss_ratio: f64,
}

pub(in crate::cli) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let (plan, forms) = log::forms(&args.source, args.as_written)?;
    let normal_form = forms.is_some();
    let workload = Workload::read(&args.file, &args.which, &plan.warm.routes, forms, args.sizes.sample)?;
    let mut policies = args.policy.clone();
    if policies.is_empty() {
        policies = Policy::ALL.to_vec();
    }
    let classes = workload
        .classes
        .iter()
        .map(|(name, class)| of_class(name, class, &policies, &args.sizes))
        .collect::<Result<_, _>>()?;
    let Workload { other, unknown, .. } = workload;
    let report = Report { requests: workload.requests(), other, unknown, normal_form, classes };
    match args.format {
        Format::Json => output::print_json(&report),
        Format::Table => {
            output::print(&table(&report, &policies, args.sizes.entry_size));
            Ok(())
        }
    }
}

/// Replays a class, with a progress bar.
pub(super) fn curve(requests: &Requests, sizes: &[usize], policies: &[Policy]) -> Curve {
    let replays = Curve::replays(sizes.len(), policies.len()) as u64;
    let bar = log::progress(replays, "{pos} of {len} replays, {eta} left");
    let curve = Curve::measure(&requests.replay, sizes, policies, || bar.inc(1));
    bar.finish_and_clear();
    curve
}

fn of_class(name: &str, class: &Requests, policies: &[Policy], args: &SizeArgs) -> Result<OfClass, Failure> {
    let ladder = class.ladder(&args.sizes, args.entry_size)?;
    let curve = curve(class, &ladder.sizes, policies);
    let of_size = |(entries, ratios): &(usize, Vec<f64>)| OfSize {
        entries: *entries,
        bytes: args.entry_size.map(|each| *entries as u64 * each as u64),
        miss_ratio: policies
            .iter()
            .zip(ratios)
            .map(|(policy, ratio)| OfPolicy { policy: policy.as_str(), miss_ratio: *ratio })
            .collect(),
    };
    Ok(OfClass {
        class: name.to_owned(),
        requests: class.count(),
        keys: class.replay.keys(),
        sample: class.replay.share(),
        left_out: class.replay.left_out(),
        sizes: curve.rows.iter().map(of_size).collect(),
        too_small: ladder.too_small,
        least_miss_ratio: curve.least,
        enough: curve.enough(),
        doubling_ends: curve.doubling_ends(),
    })
}

/// A miss ratio for people.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.2}%", ratio * 100.0)
}

fn table(report: &Report, policies: &[Policy], entry_bytes: Option<usize>) -> String {
    let mut text = String::new();
    let mut headings = vec!["entries"];
    if entry_bytes.is_some() {
        headings.push("memory");
    }
    headings.extend(policies.iter().map(|policy| policy.as_str()));
    let first = policies.first().map_or("", |policy| policy.as_str());
    let memory = |entries: usize| {
        let bytes = entry_bytes.map(|each| format!(" ({})", output::bytes(entries as u64 * each as u64)));
        format!("{entries} entries{}", bytes.unwrap_or_default())
    };
    for class in &report.classes {
        let about = if class.sample < 1.0 { "about " } else { "" };
        let _ = writeln!(
            text,
            "class {}: {} requests, {about}{} keys; miss ratios",
            class.class, class.requests, class.keys
        );
        text.push_str(&sampled(class.sample, class.requests, class.left_out));
        let rows: Vec<Vec<String>> = class
            .sizes
            .iter()
            .map(|size| {
                let mut row = vec![size.entries.to_string()];
                row.extend(size.bytes.map(output::bytes));
                row.extend(size.miss_ratio.iter().map(|one| percent(one.miss_ratio)));
                row
            })
            .collect();
        text.push_str(&output::wide_table(&headings, &rows));
        let _ = writeln!(text, "a memory without end would miss {}", percent(class.least_miss_ratio));
        match class.enough {
            Some(size) => {
                let _ = writeln!(text, "enough: {}, within one point of that ({first})", memory(size));
            }
            None => {
                let _ = writeln!(text, "none of these sizes is within one point of that ({first})");
            }
        }
        if let Some(size) = class.doubling_ends {
            let _ = writeln!(text, "from {} on doubling gives less than one point ({first})", memory(size));
        }
        text.push_str(&too_small(&class.too_small));
        text.push('\n');
    }
    let Report { requests, other, unknown, normal_form, .. } = *report;
    text + &log::closing_lines(requests, other, unknown, normal_form)
}

/// Sizes that were left out, if any were.
pub(super) fn too_small(sizes: &[usize]) -> String {
    if sizes.is_empty() {
        return String::new();
    }
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    format!(
        "left out: {} entries, too small for this sample; --sample 100% replays every key\n",
        sizes.join(", ")
    )
}

/// What was not replayed; nothing where everything was.
pub(super) fn sampled(share: f64, requests: u64, left_out: u64) -> String {
    let mut text = String::new();
    if share < 1.0 {
        let _ = writeln!(text, "replayed: one key in {:.0}, with all of its requests", 1.0 / share);
    }
    if left_out > 0 {
        let _ = writeln!(text, "replayed: the first {} requests", requests - left_out);
    }
    text
}
