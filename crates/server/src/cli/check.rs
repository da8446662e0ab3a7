//! `trueup check`: the ten decisions about each class, each with evidence; what does not hold is a finding.

use serde::Serialize;
use trueup::{
    catalog::CatalogBuilder,
    plan::{Plan, Skipped, WriteBehindSettings},
};
use trueup_core::{
    cache::CacheBuilder,
    class::{
        ClassPlan, ColdStart, Decision, DecisionPlan, Invalidation, Pattern, Settings, StampedeScope,
        Strategy, Tags,
        units::{show_bytes, show_duration, show_share},
    },
};

use super::{
    Failure,
    client::{Server, TokenArgs},
    database::Database,
    exposition::Metrics,
    hit_rates::Verdict,
    lag::{self, Lag},
    output::{self, Format},
    remote,
    running::Running,
    setup::{self, SourceArgs},
};
use crate::node::explain::in_trouble;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// A running server: HOST:PORT of its HTTP side. What it has counted is evidence, and what contradicts the plan a finding
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    answers: Vec<Answer>,
    /// What is left out on purpose.
    notes: Vec<Finding>,
    findings: Vec<Finding>,
}

/// One decision about one class.
#[derive(Debug, Serialize)]
struct Answer {
    class: String,
    decision: String,
    answer: String,
    evidence: String,
}

/// Something that does not hold, or (as a note) that its owner should know.
#[derive(Debug, Serialize)]
struct Finding {
    subject: String,
    problem: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    // What is wrong with the configuration is what one asks for here.
    let mut plan = args.source.plan(Vec::new()).map_err(|failure| Failure::Findings(failure.to_string()))?;
    setup::database(&plan)?;
    let server = args.http.as_deref().map(|address| Server { address, token: &args.token });
    let running = server.as_ref().map(Running::ask).transpose()?;
    let lag =
        server.as_ref().map(|server| Metrics::ask(server).map(|metrics| Lag::of(&metrics))).transpose()?;
    let report = setup::runtime(None)?.block_on(async {
        let database = match Database::look_at(&plan).await {
            Ok(database) => database,
            Err(Failure::Usage(problem)) => return Err(Failure::Findings(problem)),
            Err(other) => return Err(other),
        };
        let is_declared = !plan.classes.is_empty();
        let skipped = database.complete(&mut plan).await?;
        let mut report = report(&plan, &database, is_declared, &skipped, running.as_ref()).await?;
        report.look_at_lives(&plan, lag.as_ref());
        report.look_at_remote(&plan).await?;
        Ok::<_, Failure>(report)
    })?;
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&show(&report)),
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(Failure::Findings("1 finding".to_owned())),
        count => Err(Failure::Findings(format!("{count} findings"))),
    }
}

async fn report(
    plan: &Plan,
    database: &Database,
    is_declared: bool,
    skipped: &[Skipped],
    running: Option<&Running>,
) -> Result<Report, Failure> {
    let finding = |subject: &str, problem: String| Finding { subject: subject.to_owned(), problem };
    let of_table = |one: &Skipped| finding(&format!("table {}", one.table), one.reason.clone());
    let (problems, warnings) = database.preflight().await?;
    let of_source = |(subject, problem)| Finding { subject, problem };
    let mut findings: Vec<Finding> = problems.into_iter().map(of_source).collect();
    if let Err(failure) = super::serve::can_be_warm(plan) {
        findings.push(finding("cold start", failure.to_string()));
    }
    let mut answers = Vec::new();
    let followed = database.followed()?;
    // What is outdated is a finding, not left out on purpose.
    let is_outdated = |table: &str| {
        followed.iter().any(|known| known.outdated.is_some() && known.name.eq_ignore_ascii_case(table))
    };
    let left_out = skipped.iter().filter(|one| !is_outdated(&one.table)).map(of_table);
    let mut notes: Vec<Finding> = warnings.into_iter().map(of_source).chain(left_out).collect();
    match running {
        Some(running) => {
            findings.extend(running.gaps().into_iter().map(of_source));
            notes.push(finding("evidence", format!("counted by a server {}", running.summary())));
        }
        None => {
            let problem = "no running server was asked: name one with --http, and what it has counted is held against the plan";
            notes.push(finding("evidence", problem.to_owned()));
        }
    }
    if let Some(journal) = &plan.write_behind {
        let (problem, is_finding) = journal_facts(journal);
        let list = if is_finding { &mut findings } else { &mut notes };
        list.push(finding("write_behind", problem));
    }
    let cache = CacheBuilder::new(database.source()).written_elsewhere().start();
    for class in plan.classes.values() {
        // Opened as the server would open it: what does not hold shows now, not in the night.
        let mut only = Plan::default();
        only.classes.insert(class.name().clone(), class.clone());
        let opened = database.add_classes(CatalogBuilder::new(cache.clone()), &only).await.map(drop);
        let evidence = match &opened {
            Ok(()) => "opened against the database as it is".to_owned(),
            Err(error) => {
                findings.push(finding(&format!("class {}", class.name()), error.to_string()));
                "cannot be served: see the findings".to_owned()
            }
        };
        let feed = format!("{} tables followed by {}, none outdated", followed.len(), database.feed());
        let outdated = followed.iter().find_map(|table| Some((&table.name, table.outdated.as_ref()?)));
        let feed = outdated.map_or(feed, |(table, why)| format!("table `{table}`: {why}"));
        findings.extend(running.into_iter().flat_map(|running| running.gaps_of(class)).map(of_source));
        let measured = measured(class, running);
        if let Some(verdict) = measured.as_ref().filter(|verdict| verdict.is_below) {
            let fix = "look at the reasons of `trueup_misses_total`, or lower `hit_rate_floor`";
            let problem = format!("{}; {fix}", verdict.evidence);
            findings.push(finding(&format!("class {}", class.name()), problem));
        }
        for decision in Decision::ALL {
            let (answer, mut why) = match class {
                ClassPlan::Cacheable(plan) => cached(plan, decision),
                ClassPlan::Decision(plan) => never(plan, decision),
            };
            if decision == Decision::Measurement
                && let Some(verdict) = &measured
            {
                why.clone_from(&verdict.evidence);
            }
            match decision {
                Decision::Pattern => why = evidence.clone(),
                Decision::Invalidation if class.cacheable().is_ok_and(|plan| plan.is_provable()) => {
                    why = feed.clone();
                }
                _ if why.is_empty() => {
                    why = if is_declared { "trueup.toml, else the default" } else { "the safe default" }
                        .to_owned();
                }
                _ => {}
            }
            if let Some(counted) = running.and_then(|running| running.evidence(class, decision)) {
                why = format!("{why}; {counted}");
            }
            let (class, decision) = (class.name().to_string(), decision.to_string());
            answers.push(Answer { class, decision, answer, evidence: why });
        }
    }
    let outdated = followed.iter().filter_map(|table| Some((table, table.outdated.as_ref()?)));
    findings.extend(outdated.map(|(table, why)| {
        finding(&format!("table {}", table.name), format!("{why}; run `trueup init --apply` again"))
    }));
    Ok(Report { answers, notes, findings })
}

impl Report {
    /// Adds classes bounded by age whose life does not keep the bound of their purpose, by the lag that was measured.
    fn look_at_lives(&mut self, plan: &Plan, lag: Option<&Lag>) {
        let classes = plan.classes.values().filter_map(|class| class.cacheable().ok());
        for plan in classes.filter(|plan| !plan.is_provable()) {
            let left = lag.map(|lag| lag::left(plan, lag::bound_of_purpose(plan), lag));
            if let Some(problem) = left.and_then(|left| left.problem) {
                self.findings.push(Finding { subject: format!("class {}", plan.name), problem });
            }
        }
    }

    /// Adds what the servers of the remote tier say of themselves.
    async fn look_at_remote(&mut self, plan: &Plan) -> Result<(), Failure> {
        for facts in remote::inspect(plan).await? {
            let subject = format!("remote tier {}", facts.endpoint);
            if facts.unreachable.is_none() {
                self.notes.push(Finding { subject: subject.clone(), problem: remote::summary(&facts) });
            }
            for finding in facts.findings() {
                let list = if finding.is_note { &mut self.notes } else { &mut self.findings };
                list.push(Finding { subject: subject.clone(), problem: finding.problem });
            }
        }
        Ok(())
    }
}

/// Where accepted writes are kept, as it is now; whether that is a finding. The journal itself is left to whoever serves.
fn journal_facts(journal: &WriteBehindSettings) -> (String, bool) {
    let path = journal.journal.display();
    let files = match std::fs::read_dir(&journal.journal) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (format!("the journal in {path} is made when a server starts"), false);
        }
        Err(error) => {
            return (format!("the journal in {path} cannot be read: {error}; check its permissions"), true);
        }
    };
    let sizes = files.flatten().filter_map(|file| Some(file.metadata().ok()?.len() as usize));
    let bytes: usize = sizes.sum();
    let (held, most) = (show_bytes(bytes), show_bytes(journal.journal_bytes_max));
    if bytes * 2 > journal.journal_bytes_max {
        let problem = format!(
            "the journal in {path} takes {held} of {most}: the database is behind; look for what keeps it from writing"
        );
        return (problem, true);
    }
    (format!("the journal in {path} takes {held} of {most}"), false)
}

/// What is known of the class's hit rate; nothing where no floor is set.
fn measured(class: &ClassPlan, running: Option<&Running>) -> Option<Verdict> {
    let floor = class.cacheable().ok()?.measurement.hit_rate_floor?;
    let judge = |running: &Running| running.hit_rates().judge(class.name().as_str(), floor);
    Some(running.map_or_else(Verdict::unasked, judge))
}

/// Answer and evidence for a class that is never cached.
fn never(plan: &DecisionPlan, decision: Decision) -> (String, String) {
    let reason = plan.purpose.never_reason().unwrap_or_default().to_owned();
    match decision {
        Decision::NeverCache => (format!("everything: purpose = \"{}\"", plan.purpose), reason),
        Decision::KeyScope => (key_and_scope(&plan.key.columns, &plan.key.scope), String::new()),
        Decision::ConsistencyBound => ("read from the source each time".to_owned(), reason),
        _ => ("does not arise: nothing is held".to_owned(), reason),
    }
}

/// Answer and, where it is not the plan alone, evidence for a class that is cached.
fn cached(plan: &Settings, decision: Decision) -> (String, String) {
    let mut evidence = String::new();
    let answer = match decision {
        Decision::Pattern => match &plan.pattern {
            Pattern::WriteBehind { loss } => format!("write-behind; what may be lost: {loss}"),
            other => other.as_str().to_owned(),
        },
        Decision::Invalidation => match &plan.invalidation {
            Invalidation::Feed(Tags::Row) => "the change feed, by row".to_owned(),
            Invalidation::Feed(Tags::Any) => "the change feed, by any row of each table read".to_owned(),
            Invalidation::Feed(Tags::Groups(groups)) => {
                let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
                format!("the change feed, by {}", groups.join(", "))
            }
            Invalidation::AgeBounded { owner, reason } => {
                evidence = format!("{reason} ({owner} answers for it)");
                "age alone".to_owned()
            }
        },
        Decision::Stampede => {
            let strategy = match plan.stampede.strategy {
                Strategy::Wait => "the others wait".to_owned(),
                Strategy::Early { beta } => format!("refreshed before the end by chance (weight {beta})"),
                Strategy::Background { ahead } => {
                    format!("kept warm, refreshed {} before the end", show_duration(ahead))
                }
            };
            let scope = match plan.stampede.scope {
                StampedeScope::Fleet if plan.l2.is_some() => "fleet",
                _ => "node",
            };
            format!("one load per key and {scope}; {strategy}; {} loads at most", plan.stampede.loads_max)
        }
        Decision::NeverCache => match (plan.never_cache.columns.as_slice(), &plan.never_cache.allowed) {
            ([], allowed) if allowed.is_empty() => "columns that look like secrets".to_owned(),
            (columns, allowed) => {
                evidence = format!("allowed although they look secret: {}", list(allowed));
                format!("columns that look like secrets, and {}", list(columns))
            }
        },
        Decision::Eviction => {
            format!("{}, life {}", plan.l1.eviction.as_str(), show_duration(plan.l1.life))
        }
        Decision::ColdStart => {
            let cold = match plan.cold_start {
                ColdStart::Empty => "serves at once, loads limited".to_owned(),
                ColdStart::Warm { keys_max } => {
                    format!("reads {keys_max} recorded hot keys before it is ready")
                }
            };
            format!("{cold}; {}", in_trouble(plan))
        }
        Decision::ConsistencyBound => format!("at most {} old", show_duration(plan.max_staleness)),
        Decision::KeyScope => key_and_scope(&plan.key.columns, &plan.key.scope),
        Decision::Measurement => {
            let floor = plan.measurement.hit_rate_floor.map(|floor| {
                let window = show_duration(plan.guards.hit_rate_window);
                format!(", hit rate above {} over {window}, else loads are limited", show_share(floor))
            });
            format!(
                "{} of answers checked{}",
                show_share(plan.measurement.check_share),
                floor.unwrap_or_default()
            )
        }
        Decision::Size => {
            format!(
                "{} a value, {} in all",
                show_bytes(plan.value_bytes_max),
                show_bytes(plan.l1.capacity_bytes)
            )
        }
    };
    (answer, evidence)
}

fn key_and_scope(columns: &[impl AsRef<str>], scope: &[impl AsRef<str>]) -> String {
    let key = if columns.is_empty() { "parameters".to_owned() } else { list(columns) };
    if scope.is_empty() {
        format!("{key}; the same for everyone")
    } else {
        format!("{key}; within {}", list(scope))
    }
}

fn list(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

fn show(report: &Report) -> String {
    let rows: Vec<[String; 4]> = report
        .answers
        .iter()
        .map(|one| [one.class.clone(), one.decision.clone(), one.answer.clone(), one.evidence.clone()])
        .collect();
    let mut text = output::table(["class", "decision", "answer", "evidence"], &rows);
    for (title, list) in [("note", &report.notes), ("finding", &report.findings)] {
        let rows: Vec<[String; 2]> =
            list.iter().map(|one| [one.subject.clone(), one.problem.clone()]).collect();
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&output::table(["subject", title], &rows));
        }
    }
    text
}
