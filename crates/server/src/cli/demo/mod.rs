//! `trueup demo`: everything at work on one machine, with nothing installed.

mod bank;
mod readers;
mod screen;
mod writer;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use trueup::plan::{Override, Plan};
use trueup_core::env::Clock;

pub(super) use self::writer::{Args as WriterArgs, run as write};
use self::{
    readers::{Counts, Readers},
    screen::Screen,
    writer::Writer,
};
use super::{
    Failure,
    database::Database,
    serve::{Signals, announce},
    setup,
};
use crate::{
    node::Node,
    serve::{Running, Settings, start},
};

/// Pause between two live lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Time that the server has to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Settings of the demo: a tight bound, and many answers checked, so that there is something to see.
const CONFIG: &str = "
[source]
install_feed = true
[defaults]
max_staleness = \"250ms\"
check_share = \"5%\"
";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after so many seconds; without it, on Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Where to serve RESP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    resp: SocketAddr,
    /// Where to serve HTTP and the dashboard
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Transfers per second that the second program writes
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    writes: u32,
}

/// The demo's folder; gone when this is dropped. Should this process be killed, the second program takes it away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let name =
            format!("trueup-demo-{}-{:08x}", std::process::id(), trueup_core::env::random::number() as u32);
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| {
            Failure::system(&format!("cannot make the folder {}", path.display()), &error)
        })?;
        Ok(Self(path))
    }

    fn database(&self) -> PathBuf {
        self.0.join("bank.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let folder = Folder::new()?;
    bank::create(&folder.database())?;
    let mut plan = plan(&folder.database())?;
    setup::runtime(None)?.block_on(async {
        let mut signals = Signals::new()?;
        let database = Database::open(&plan).await?;
        let left_out = database.complete(&mut plan).await?;
        let settings = Settings { resp: Some(args.resp), http: Some(args.http), ..Settings::default() };
        let node = Node::new(setup::catalog(&plan, left_out, &database, setup::Writes::Accepted).await?);
        let running = start(node, settings.stop_timeout(STOP_TIMEOUT)).await?;
        let outcome = play(args, &folder, &running, &mut signals).await;
        running.stop().await;
        outcome
    })
}

fn plan(database: &Path) -> Result<Plan, Failure> {
    let url = format!("sqlite:{}", database.display());
    Ok(Plan::parse("the demo's settings", CONFIG, &[Override::flag("demo", &["source", "url"], &url)])?)
}

/// Readers over sockets, a writer in another process, and a line each second.
async fn play(args: &Args, folder: &Folder, running: &Running, signals: &mut Signals) -> Result<(), Failure> {
    setup::until_ready(running.node()).await?;
    announce(running)?;
    screen::introduce(running);
    let counts = Arc::new(Counts::default());
    let writer = Writer::start(&folder.database(), args.writes)?;
    let readers = Readers::start(running, &counts);
    let clock = Clock::system();
    let end = args.seconds.map(|seconds| clock.now().after(Duration::from_secs(seconds)));
    let mut screen = Screen::new(running.node().clone(), Arc::clone(&counts), clock.clone());
    let mut ticks = tokio::time::interval(LINE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let outcome = loop {
        tokio::select! {
            () = signals.asked_to_end() => break Ok(()),
            () = running.failed() => break Err(Failure::Unreachable("the server has stopped by itself".to_owned())),
            _ = ticks.tick() => {}
        }
        screen.line();
        if !writer.is_running() {
            break Err(Failure::Unreachable("the second program has ended by itself".to_owned()));
        }
        if end.is_some_and(|end| clock.now() >= end) {
            break Ok(());
        }
    };
    readers.stop().await;
    writer.stop();
    outcome?;
    screen.verdict()
}
