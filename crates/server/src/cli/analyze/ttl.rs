//! `trueup analyze ttl`: the lives of age-bounded classes, derived from the lag that a running server has measured.

use std::{collections::BTreeMap, fmt::Write as _, str::FromStr, time::Duration};

use serde::Serialize;
use trueup_core::class::{
    ClassPlan,
    units::{parse_duration, show_duration, show_share},
};

use crate::cli::{
    Failure,
    client::{Server, TokenArgs},
    database::Database,
    exposition::Metrics,
    lag::{Delay, Lag, Left, bound_of_purpose, left, spoken},
    output::{self, Format},
    setup::{self, SourceArgs},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The running server: HOST:PORT of its HTTP side
    #[arg(long, value_name = "ADDR")]
    http: String,
    #[command(flatten)]
    token: TokenArgs,
    /// How old an answer of a class may be, such as fees=1h; 1h alone is for all classes. Without it only purposes that have a
    /// bound are held against one
    #[arg(long, value_name = "[CLASS=]SPAN")]
    bound: Vec<Bound>,
    #[command(flatten)]
    source: SourceArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How old an answer may be.
#[derive(Clone, Debug)]
struct Bound {
    /// None: of every class.
    class: Option<String>,
    span: Duration,
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, span) = match text.split_once('=') {
            Some((class, span)) => (Some(class.to_owned()), span),
            None => (None, text),
        };
        let span = parse_duration(span).map_err(|error| error.to_string())?;
        Ok(Self { class, span })
    }
}

#[derive(Debug, Serialize)]
struct Report {
    lag: Lag,
    classes: Vec<OfClass>,
    /// Classes whose present life does not keep their bound.
    findings: usize,
}

#[derive(Debug, Serialize)]
struct OfClass {
    class: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Serialize)]
#[serde(tag = "ended_by", rename_all = "kebab-case")]
enum Kind {
    /// The proof, whatever its life.
    Proof,
    /// Never cached.
    Nothing,
    /// Age alone.
    Age(Left),
}

pub(in crate::cli) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let mut plan = args.source.plan(Vec::new())?;
    if plan.classes.is_empty() {
        setup::runtime(None)?.block_on(async {
            let database = Database::look_at(&plan).await?;
            database.complete(&mut plan).await
        })?;
    }
    let classes: BTreeMap<&str, &ClassPlan> =
        plan.classes.values().map(|class| (class.name().as_str(), class)).collect();
    let named = args.bound.iter().filter_map(|bound| bound.class.as_deref());
    if let Some(unknown) = named.into_iter().find(|name| !classes.contains_key(name)) {
        let known: Vec<&str> = classes.keys().copied().collect();
        return Err(Failure::Usage(format!(
            "--bound names no class: {unknown:?}; known: {}",
            known.join(", ")
        )));
    }
    let lag = Lag::of(&Metrics::ask(&Server { address: &args.http, token: &args.token })?);
    let classes: Vec<OfClass> = classes
        .into_iter()
        .map(|(name, class)| OfClass { class: name.to_owned(), kind: kind(class, &args.bound, &lag) })
        .collect();
    let findings = classes.iter().filter(|class| class.problem().is_some()).count();
    let report = Report { lag, classes, findings };
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.table()),
    }
    match findings {
        0 => Ok(()),
        1 => Err(Failure::Findings("1 class does not keep its bound".to_owned())),
        many => Err(Failure::Findings(format!("{many} classes do not keep their bounds"))),
    }
}

fn kind(class: &ClassPlan, bounds: &[Bound], lag: &Lag) -> Kind {
    let Ok(plan) = class.cacheable() else { return Kind::Nothing };
    if plan.is_provable() {
        return Kind::Proof;
    }
    let of_class = bounds.iter().rev().find(|bound| bound.class.as_deref() == Some(class.name().as_str()));
    let stated = of_class.or_else(|| bounds.iter().rev().find(|bound| bound.class.is_none()));
    let of_purpose = bound_of_purpose(plan);
    let bound = stated.map(|bound| bound.span.min(of_purpose.unwrap_or(Duration::MAX))).or(of_purpose);
    Kind::Age(left(plan, bound, lag))
}

impl OfClass {
    fn problem(&self) -> Option<&str> {
        if let Kind::Age(left) = &self.kind { left.problem.as_deref() } else { None }
    }
}

impl Report {
    fn table(&self) -> String {
        let mut text = self.lag_table();
        let span = |span: Option<Duration>| span.map_or_else(|| "-".to_owned(), spoken);
        let rows = self.classes.iter().map(|class| match &class.kind {
            Kind::Age(left) => [
                class.class.clone(),
                spoken(left.life),
                show_share(left.jitter),
                span(left.bound),
                span(left.oldest),
                match (left.derived, left.shortest) {
                    (Some(longest), Some(shortest)) if shortest < longest => {
                        format!("{}, {} at least by jitter", spoken(longest), spoken(shortest))
                    }
                    (longest, _) => span(longest),
                },
                match (&left.problem, left.bound) {
                    (Some(problem), _) => problem.clone(),
                    (None, Some(_)) => "kept".to_owned(),
                    (None, None) => "nothing but its life bounds it: name a bound with --bound".to_owned(),
                },
            ],
            other => {
                let why = match other {
                    Kind::Proof => "no life is needed: the proof ends its entries",
                    _ => "never cached: each read asks the source",
                };
                let none = || "-".to_owned();
                [class.class.clone(), none(), none(), none(), none(), none(), why.to_owned()]
            }
        });
        let headings = ["class", "life", "jitter", "bound", "oldest answer", "derived life", "verdict"];
        text.push('\n');
        text.push_str(&output::table(headings, &rows.collect::<Vec<_>>()));
        for class in &self.classes {
            if let Kind::Age(left) = &class.kind
                && !left.plan.is_empty()
            {
                let _ = writeln!(text, "\n[class.{}]\n{}", class.class, left.plan.join("\n"));
            }
        }
        text
    }

    fn lag_table(&self) -> String {
        let delay = |delay: Option<Delay>| match delay {
            None => "no change was measured yet".to_owned(),
            Some(Delay { above, at_most: Some(most) }) => {
                format!("above {}, at most {}", show_duration(above), show_duration(most))
            }
            Some(Delay { above, at_most: None }) => format!("above {}", show_duration(above)),
        };
        let now = self
            .lag
            .now
            .map_or_else(|| "never".to_owned(), |lag| format!("{:.1} ms ago", lag.as_secs_f64() * 1_000.0));
        let rows = [
            ("source known", now),
            ("changes measured", self.lag.changes.to_string()),
            ("half arrived within", delay(self.lag.p50)),
            ("99 of 100 arrived within", delay(self.lag.p99)),
            ("the slowest arrived within", delay(self.lag.max)),
        ];
        output::table(
            ["lag", "since the server's start"],
            &rows.map(|(name, value)| [name.to_owned(), value]),
        )
    }
}
