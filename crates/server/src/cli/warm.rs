//! `trueup warm`: has a running server read keys before anybody asks for them.

use std::{num::NonZeroU32, path::PathBuf, thread, time::Duration};

use clap::ValueHint;
use serde::{Deserialize, Serialize};
use serde_json::json;
use trueup_core::env::Clock;

use super::{
    Failure,
    analyze::log::{self, LogArgs},
    client::{Server, TokenArgs},
    output::{self, Format},
    setup::{self, SourceArgs},
};
use crate::{http::WarmOutcome, serve::HTTP_PORT_DEFAULT};

/// Keys of one request.
const KEYS_PER_REQUEST: usize = 256;
/// How long a request may take: a little more than the server gives it.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server: HOST:PORT of its HTTP side [default: 127.0.0.1:7380]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// An access log, or a list of keys (- for standard input); without one the keys that the server has recorded
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    /// Keys of each class that are read, the hottest first
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    top: usize,
    /// Keys in a second at most [default: as fast as the source lets it]
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// How to show what became of them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The configuration, for the routes of its [warm]
    #[arg(long, value_name = "CONFIG", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// What became of the keys of one class.
#[derive(Debug, Serialize)]
struct OfClass {
    class: String,
    #[serde(flatten)]
    outcome: WarmOutcome,
}

#[derive(Debug, Deserialize)]
struct Status {
    classes: Vec<Class>,
}

#[derive(Debug, Deserialize)]
struct Class {
    name: String,
    cached: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let address = args.http.clone().unwrap_or_else(|| format!("127.0.0.1:{HTTP_PORT_DEFAULT}"));
    let server = Server { address: &address, token: &args.token };
    let classes = match &args.file {
        Some(file) => warm_file(args, &server, file)?,
        None => warm_recorded(args, &server)?,
    };
    match args.format {
        Format::Json => output::print_json(&classes)?,
        Format::Table => output::print(&show(&classes)),
    }
    let left: u64 = classes.iter().map(|class| class.outcome.refused + class.outcome.failed).sum();
    match left {
        0 => Ok(()),
        left => Err(Failure::Findings(format!("{left} keys could not be read; see `refused` and `failed`"))),
    }
}

/// Keys of a file, the server brings them into normal form.
fn warm_file(args: &Args, server: &Server<'_>, file: &std::path::Path) -> Result<Vec<OfClass>, Failure> {
    let plan = SourceArgs { config: args.config.clone(), ..SourceArgs::default() }.plan(Vec::new())?;
    let mut tally = args.log.tally(&plan.warm.routes);
    log::read(file, &mut tally)?;
    let classes = tally.classes(args.top);
    if classes.is_empty() {
        let why = "no line asks for a key of a class: name the shape of its URLs with --route, or the class of a list of keys \
                   with --class";
        return Err(Failure::Findings(why.to_owned()));
    }
    let total: usize = classes.iter().map(|class| class.keys.len()).sum();
    let mut pace = Pace::new(args.rate, total as u64);
    let mut outcomes = Vec::new();
    for class in &classes {
        let mut outcome = WarmOutcome::default();
        for keys in class.keys.chunks(KEYS_PER_REQUEST) {
            let keys: Vec<&str> = keys.iter().map(|(key, ..)| *key).collect();
            pace.wait(keys.len());
            let body = json!({ "class": class.name, "keys": keys });
            outcome.add(&server.post_json("/v1/warm", &body, PATIENCE)?);
        }
        outcomes.push(OfClass { class: class.name.to_owned(), outcome });
    }
    Ok(outcomes)
}

/// Keys that the server has recorded.
fn warm_recorded(args: &Args, server: &Server<'_>) -> Result<Vec<OfClass>, Failure> {
    let names = match &args.log.which.class {
        Some(class) => vec![class.clone()],
        None => {
            let status: Status = server.get_json("/v1/status")?;
            status.classes.into_iter().filter(|class| class.cached).map(|class| class.name).collect()
        }
    };
    let mut pace = Pace::new(args.rate, 0);
    let mut outcomes = Vec::new();
    for class in names {
        let (mut outcome, mut from) = (WarmOutcome::default(), 0);
        loop {
            let most = KEYS_PER_REQUEST.min(args.top - from);
            let body = json!({ "class": class, "recorded": { "from": from, "most": most } });
            let part: WarmOutcome = server.post_json("/v1/warm", &body, PATIENCE)?;
            if from == 0 {
                pace.expect(part.total.min(args.top as u64));
            }
            outcome.add(&WarmOutcome {
                total: most.min((part.total as usize).saturating_sub(from)) as u64,
                ..part
            });
            from += most;
            pace.wait(most.min(part.total as usize));
            if from >= args.top || from as u64 >= part.total {
                break;
            }
        }
        if outcome.total > 0 {
            outcomes.push(OfClass { class, outcome });
        }
    }
    if outcomes.is_empty() {
        let why = "the server has recorded no hot keys: write `cold_start = \"warm\"` in its classes, or give a file with --file";
        return Err(Failure::Findings(why.to_owned()));
    }
    Ok(outcomes)
}

/// So many keys in a second, with a bar.
struct Pace {
    clock: Clock,
    rate: Option<NonZeroU32>,
    begun: trueup_core::env::Nanos,
    asked: u64,
    bar: indicatif::ProgressBar,
}

impl Pace {
    fn new(rate: Option<NonZeroU32>, total: u64) -> Self {
        let clock = Clock::system();
        let begun = clock.now();
        Self { clock, rate, begun, asked: 0, bar: log::progress(total, "{pos} of {len} keys, {eta} left") }
    }

    fn expect(&mut self, keys: u64) {
        self.bar.inc_length(keys);
    }

    /// Waits until so many more keys may be asked for.
    fn wait(&mut self, keys: usize) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(self.asked as f64 / f64::from(rate.get()));
            thread::sleep(due.saturating_sub(self.clock.now().since(self.begun)));
        }
        self.asked += keys as u64;
        self.bar.inc(keys as u64);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn show(classes: &[OfClass]) -> String {
    let row = |class: &OfClass| {
        let WarmOutcome { total, hits, l2, source, refused, failed, unknown } = class.outcome;
        let [total, hits, l2, source, refused, failed, unknown] =
            [total, hits, l2, source, refused, failed, unknown].map(|count| count.to_string());
        [class.class.clone(), total, hits, l2, source, refused, failed, unknown]
    };
    let rows: Vec<_> = classes.iter().map(row).collect();
    output::table(["class", "keys", "hits", "l2", "source", "refused", "failed", "no key"], &rows)
}
