//! `trueup-lab faults`.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use trueup_core::env::{Clock, Nanos, spawn};

use super::{Choice, Format, print, print_json, settings};
use crate::{
    fault::{self, Kind, Plan, Window},
    history::Judge,
    load::{Load, Rates},
    report::{Material, Report, Tally, table},
    world::{Counted, L2Kind, LabError, Settings, SourceKind, World, binary, schema},
};

/// Longest run, in minutes: a day.
const MINUTES_MAX: f64 = 24.0 * 60.0;
/// How often what was read is judged, where nothing is broken: the reads between two times are held in memory.
const JUDGE_EVERY: Duration = Duration::from_secs(10);
/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// Most nodes: an answer's node is kept in a byte, and a machine has an end.
const NODES_MAX: u64 = 32;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Chooses keys, faults and their order; the same seed asks the same again
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long to go on
    #[arg(long, value_name = "M", default_value_t = 3.0)]
    minutes: f64,
    /// Only this fault; again for more of them. See `trueup-lab list`
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<String>,
    /// No fault at all: what the load alone shows
    #[arg(long, conflicts_with = "faults")]
    calm: bool,
    /// The database of record
    #[arg(long, value_enum, default_value = "sqlite")]
    source: SourceKind,
    /// The remote tier
    #[arg(long, value_enum, default_value_t)]
    l2: L2Kind,
    /// Nodes; with none, readers ask the database themselves, which shows that the lab's own idea of the truth holds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(..=NODES_MAX))]
    nodes: u64,
    /// Reads a second over RESP, all together
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    reads: u32,
    /// Transactions a second, all together
    #[arg(long, value_name = "N", default_value_t = 100)]
    writes: u32,
    /// Rows that one transaction changes, where a fault is about many
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    bulk_rows: u32,
    /// The bound of every class, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    max_staleness: u64,
    /// Read the wrong way, too: the judge must find it, and nothing else
    #[arg(long)]
    naive: bool,
    /// The server to test; else the one that was built beside this program
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// How to show the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// True when nothing was found.
pub(super) fn run(args: &Args) -> Result<bool, LabError> {
    if !(args.minutes > 0.0 && args.minutes <= MINUTES_MAX) {
        return Err(LabError::Usage(format!("`--minutes` is above 0 and at most {MINUTES_MAX}")));
    }
    let kinds = chosen(args)?;
    let asked = Choice {
        seed: args.seed,
        nodes: args.nodes as usize,
        source: args.source,
        l2: args.l2,
        max_staleness: Duration::from_millis(args.max_staleness),
        bulk_rows: args.bulk_rows,
    };
    let settings = settings(&asked, binary(args.server.as_deref())?);
    let runtime = super::runtime()?;
    let report = runtime.block_on(play(args, &settings, kinds))?;
    match args.format {
        Format::Table => print(&table(&report)),
        Format::Json => print_json(&report)?,
    }
    Ok(report.is_clean())
}

fn chosen(args: &Args) -> Result<Vec<&'static Kind>, LabError> {
    let (source, l2, nodes) = (args.source, args.l2, args.nodes as usize);
    if args.calm {
        return Ok(Vec::new());
    }
    if args.faults.is_empty() {
        return Ok(fault::possible(source, l2, nodes));
    }
    let find = |name: &String| {
        let kind = fault::find(name).ok_or_else(|| {
            LabError::Usage(format!("there is no fault `{name}`; `trueup-lab list` shows all"))
        })?;
        if kind.needs.met(source, l2, nodes) {
            return Ok(kind);
        }
        Err(LabError::Usage(format!("the fault `{name}` needs: {}", kind.needs.words())))
    };
    args.faults.iter().map(find).collect()
}

async fn play(args: &Args, settings: &Settings, kinds: Vec<&'static Kind>) -> Result<Report, LabError> {
    let clock = Clock::system();
    let bar = progress();
    bar.set_message("starting");
    let world = World::build(settings, &clock).await?;
    let rates = Rates { reads: args.reads, writes: args.writes };
    let origin = clock.now();
    let span = Duration::from_secs_f64(args.minutes * 60.0);
    let end = origin.after(span);
    let mut load = Load::start(&world, rates, args.naive);
    bar.set_length(span.as_millis() as u64);
    let shown = spawn("lab progress", show(bar.clone(), Arc::clone(&world), Arc::clone(&load.log), origin));
    let mut bench = Bench::new(origin, args.naive);
    let windows = fault::run(
        &world,
        Plan::new(kinds, args.seed),
        end,
        |faults| bar.set_message(if faults.is_empty() { "calm".to_owned() } else { faults.join(" + ") }),
        async || bench.judge_so_far(&world, &load).await,
    )
    .await;
    // What is left is too short for another fault.
    while clock.now() < end {
        tokio::time::sleep(end.since(clock.now()).min(JUDGE_EVERY)).await;
        bench.judge_so_far(&world, &load).await;
    }
    bar.set_message("stopping");
    load.stop().await;
    shown.stop();
    bar.finish_and_clear();
    let counted = world.counted().await;
    tokio::task::block_in_place(|| bench.judge(&world, &load));
    Ok(report(settings, &world, &windows, bench, counted, origin))
}

/// Where what was read is judged and counted, so that it need not be kept.
struct Bench {
    judge: Judge,
    naive: Option<Judge>,
    tally: Tally,
}

impl Bench {
    fn new(origin: Nanos, naive: bool) -> Self {
        let judge = || Judge::new(schema::PAIR_SUM);
        Self { judge: judge(), naive: naive.then(judge), tally: Tally::new(origin) }
    }

    /// Judges all that was read so far, as soon as it is known what became of every write. Later, if that takes long.
    async fn judge_so_far(&mut self, world: &World, load: &Load) {
        if let Ok(nobody) = world.gate.quiet().await {
            tokio::task::block_in_place(|| self.judge(world, load));
            drop(nobody);
        }
    }

    /// Nobody is writing, and every write's outcome is known.
    fn judge(&mut self, world: &World, load: &Load) {
        let log = load.log.take();
        let naive = load.naive.as_ref().map(|log| log.take());
        let (writes, rewinds) = world.book.so_far();
        self.judge.hear(&writes, &rewinds, &log.reads, &log.together);
        if let (Some(judge), Some(log)) = (&mut self.naive, naive) {
            judge.hear(&writes, &rewinds, &log.reads, &log.together);
        }
        self.tally.add(&log);
    }
}

fn report(
    settings: &Settings,
    world: &World,
    windows: &[Window],
    bench: Bench,
    counted: Counted,
    origin: Nanos,
) -> Report {
    let end = world.book.clock.now();
    let attempts = world.book.attempts();
    let source = match settings.source {
        SourceKind::Sqlite => "sqlite",
        SourceKind::Postgres => "postgres",
    };
    let l2 = match settings.l2 {
        L2Kind::None => "none",
        L2Kind::Redis => "redis",
        L2Kind::Cluster => "cluster",
    };
    let material = Material {
        origin,
        end,
        nodes: settings.nodes,
        tally: bench.tally,
        verdict: bench.judge.verdict(),
        windows,
        attempts: &attempts,
        rewinds: world.book.so_far().1.len(),
        taken_back: world.book.taken_back(),
        counted,
        trouble: world.trouble.take(),
        naive: bench.naive.map(Judge::verdict),
    };
    Report::new(settings.seed, source, l2, material)
}

/// A bar where somebody looks.
fn progress() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = "{elapsed_precise} [{bar:30}] {prefix} {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

async fn show(bar: ProgressBar, world: Arc<World>, log: Arc<crate::load::SharedLog>, origin: Nanos) {
    loop {
        bar.set_position(world.book.since(origin).as_millis() as u64);
        bar.set_prefix(format!("{} reads, {} writes,", log.count(), world.book.written()));
        tokio::time::sleep(SHOW_EVERY).await;
    }
}
