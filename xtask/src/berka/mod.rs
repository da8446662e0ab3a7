//! `cargo xtask berka`: a real bank's books under the cache.
//!
//! The data (a Czech bank's anonymised books, published for the PKDD'99 challenge) is not part of this repository: it is
//! expected at `../shared/data/berka`. A process that knows nothing of the cache replays the transactions by plain SQL while
//! clients read balances; afterwards every answer is checked against the bank's own balance column.

mod books;
mod check;
mod client;
mod load;
mod metrics;
mod prober;
mod readers;
mod report;
pub(crate) mod writer;

use std::{
    io::BufReader,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    books::Books,
    client::Client,
    prober::{Delays, Probe},
    readers::{Answer, Choice, Reading},
    writer::Commit,
};
use crate::{
    clock, guard, paths,
    server::{Profile, Trueup},
};

/// Fewer transactions a second would make a run longer than its answers fit into memory (32 bytes each).
const RATE_MIN: i64 = 200;
/// Probes waiting to be watched; the prober watches the present, not what has piled up.
const PROBES_WAITING_MAX: usize = 1;

/// How to replay and read.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Transactions a second; as fast as it goes without
    #[arg(long, value_parser = clap::value_parser!(u32).range(RATE_MIN..))]
    rate: Option<u32>,
    /// Clients that read at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    clients: u64,
    /// Bound of every read, in milliseconds
    #[arg(long, default_value_t = 100)]
    max_staleness_ms: u64,
    /// Which accounts are popular, and which each client reads when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A server built before, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// What happened during the replay.
pub(crate) struct Run {
    commits: Vec<Commit>,
    answers: Vec<Vec<Answer>>,
    delays: Delays,
    duration: Duration,
}

/// Loads, serves, replays, reads, checks, reports.
///
/// # Errors
/// When an answer is wrong, an account's last balance is wrong, an answer is an error, or the data is missing.
pub(crate) fn run(options: &Options) -> Result<()> {
    let data = paths::data("berka")?;
    let books = Books::read(&data)?;
    report::books(&books);
    let folder = paths::temporary("berka-")?;
    let database = folder.path().join("berka.db");
    let rows = load::load(&data, &books, &database)?;
    println!("loaded: {rows} rows besides the transactions, {} accounts", books.accounts.len());
    let binary = options.binary.clone().map_or_else(|| Trueup::build(Profile::Release), Ok)?;
    let server = Trueup::start(&binary, &database)?;

    let run = replay(options, &books, &data, &database, server.resp)?;
    report::replay(&run);
    report::stages(&metrics::delays(server.http)?);
    let verdict = judge(options, &books, &run);
    report::verdict(&verdict);

    let mut client = Client::connect(server.resp, Duration::from_millis(options.max_staleness_ms))?;
    let last = client.balances_now(&books.accounts).context("reading the last balances with a token")?;
    let right = last
        .iter()
        .enumerate()
        .filter(|(position, balance)| **balance == books.last_balance(*position))
        .count();
    println!("last balances, read with a token: {right} of {} right", books.accounts.len());
    server.stop()?;

    ensure!(verdict.wrong() == 0, "{} wrong answers", verdict.wrong());
    ensure!(right == books.accounts.len(), "{} last balances are wrong", books.accounts.len() - right);
    ensure!(run.delays.unseen == 0, "{} writes were never seen by the prober", run.delays.unseen);
    Ok(())
}

/// Starts the clients and the writer, and gathers what they saw until the last transaction.
fn replay(options: &Options, books: &Books, data: &Path, database: &Path, server: SocketAddr) -> Result<Run> {
    let max_staleness = Duration::from_millis(options.max_staleness_ms);
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sender, probes) = mpsc::sync_channel(PROBES_WAITING_MAX);
    let reading = Reading { server, books, max_staleness, stop: &stop, count: &count };
    let prober = Client::connect(server, max_staleness)?;
    let choices = (0..options.clients).map(|number| Choice::new(books, options.seed, number));
    let choices = choices.collect::<Result<Vec<_>>>()?;
    // Started by this thread, which outlives it: it dies with the thread that started it.
    let mut writer = start_writer(database, data, options.rate)?;
    thread::scope(|scope| {
        let start_ns = clock::now_ns();
        let readers: Vec<_> =
            choices.into_iter().map(|choice| scope.spawn(|| readers::read(&reading, choice))).collect();
        let prober = scope.spawn(move || prober::watch(books, prober, &probes));
        let commits = follow(&mut writer, books.postings.len(), &sender, &count);
        let duration = clock::since(start_ns);
        stop.store(true, Ordering::Relaxed);
        drop(sender);
        let answers = readers.into_iter().map(|reader| joined(reader, "a reading client")).collect();
        let delays = joined(prober, "the prober");
        // Whatever failed first is behind the others' failures: the writer has no reason of its own to stop.
        Ok(Run { commits: commits?, answers: answers_of(answers)?, delays: delays?, duration })
    })
}

fn answers_of(results: Vec<Result<Vec<Answer>>>) -> Result<Vec<Vec<Answer>>> {
    results.into_iter().collect()
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>, who: &str) -> Result<T> {
    thread.join().map_err(|_| anyhow!("{who} panicked"))?.with_context(|| format!("{who} failed"))
}

fn start_writer(database: &Path, data: &Path, rate: Option<u32>) -> Result<Child> {
    let mut command = guard::ourselves();
    command.args(writer::Options::arguments(database, data, rate)).stdout(Stdio::piped());
    command.spawn().context("cannot start the replaying process")
}

/// Reads the writer's times until it ends, and passes some on to the prober.
fn follow(
    writer: &mut Child,
    wanted: usize,
    probes: &mpsc::SyncSender<Probe>,
    reads: &AtomicU64,
) -> Result<Vec<Commit>> {
    let mut output = BufReader::new(writer.stdout.take().context("the replaying process has no output")?);
    let mut commits = Vec::with_capacity(wanted);
    // Draws nothing where there is no terminal.
    let bar = ProgressBar::new(wanted as u64).with_style(ProgressStyle::with_template(
        "{wide_bar} {pos}/{len} transactions, {per_sec}, {msg} reads, {eta} left",
    )?);
    while let Some(commit) = Commit::read(&mut output)? {
        let posting = commits.len();
        commits.push(commit);
        if posting.is_multiple_of(prober::EVERY) {
            // Full: it is still watching an earlier one.
            _ = probes.try_send(Probe { posting, acknowledged_ns: commit.acknowledged_ns });
            bar.set_position(posting as u64);
            bar.set_message(reads.load(Ordering::Relaxed).to_string());
        }
    }
    bar.finish_and_clear();
    let status = writer.wait()?;
    ensure!(
        status.success() && commits.len() == wanted,
        "the replay stopped after {} transactions",
        commits.len()
    );
    Ok(commits)
}

fn judge(options: &Options, books: &Books, run: &Run) -> check::Verdict {
    let checker = check::Checker::new(books, &run.commits, Duration::from_millis(options.max_staleness_ms));
    let mut verdict = check::Verdict::default();
    run.answers.iter().flatten().for_each(|answer| checker.check(answer, &mut verdict));
    verdict
}
