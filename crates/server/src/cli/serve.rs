//! `trueup serve`.

use std::{io::Write as _, num::NonZeroUsize, path::PathBuf};

use clap::ValueHint;
use tokio::signal::unix::{Signal, SignalKind, signal};
use trueup::plan::{Override, Plan, ServerSettings};
use trueup_core::class::{ClassPlan, ColdStart};

use super::{
    Failure,
    database::Database,
    setup::{self, SourceArgs},
};
use crate::{
    http,
    node::Node,
    resp,
    serve::{Running, Settings, start},
    warm,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Where to serve RESP: IP:PORT, or off [default: 127.0.0.1:7379]
    #[arg(long, value_name = "ADDR")]
    resp: Option<String>,
    /// Where to serve HTTP: IP:PORT, or off [default: 127.0.0.1:7380]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// A file with the token that clients must present; needed on any address but loopback
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// Put the change feed into the database where it is missing
    #[arg(long)]
    install_feed: bool,
    /// Threads that serve connections [default: one per processor]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
}

impl Args {
    fn plan(&self) -> Result<Plan, Failure> {
        let mut flags = Vec::new();
        let mut set = |flag, path: &[&str], value: Option<&str>| {
            flags.extend(value.map(|value| Override::flag(flag, path, value)));
        };
        let token_file = self.token_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        set("--token-file", &["server", "password_file"], token_file.as_deref());
        set("--resp", &["server", "resp"], self.resp.as_deref());
        set("--http", &["server", "http"], self.http.as_deref());
        set("--install-feed", &["source", "install_feed"], self.install_feed.then_some("true"));
        self.source.plan(flags)
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("info");
    let mut plan = args.plan()?;
    let settings = settings(&plan.server)?;
    can_be_warm(&plan)?;
    setup::runtime(args.workers)?.block_on(async {
        // Listened for from here on, so that none is lost while the server starts.
        let mut signals = Signals::new()?;
        let database = tokio::select! {
            database = Database::open(&plan) => database?,
            () = signals.asked_to_end() => return Ok(()),
        };
        let left_out = database.complete(&mut plan).await?;
        for left_out in &left_out {
            tracing::warn!(table = left_out.table, reason = left_out.reason, "a table is not served");
        }
        if plan.classes.is_empty() {
            tracing::warn!(
                "there is nothing to serve: no class is declared, and no table can be served unasked"
            );
        }
        if plan.l2.is_some() && matches!(database, Database::Postgres(_)) && plan.fleet.is_none() {
            tracing::warn!(
                "the remote tier is shared with no other node: a node with a slot of its own is in an epoch of its own; \
                 write a `[fleet]` section on each node that is to share entries"
            );
        }
        let catalog = setup::catalog(&plan, left_out, &database, setup::Writes::Accepted).await?;
        let warm = warm::Settings::of(&plan.warm, plan.state_dir().map(Into::into));
        let settings = Settings { fleet: database.fleet(), warm, ..settings };
        let running = start(Node::new(catalog), settings).await?;
        announce(&running)?;
        signals.serve_until_asked(args, &plan, &running).await;
        tracing::info!("stopping");
        running.stop().await;
        Ok(())
    })
}

/// A class that starts warm needs a place where its hot keys outlive the process.
pub(super) fn can_be_warm(plan: &Plan) -> Result<(), Failure> {
    let starts_warm = |class: &&ClassPlan| {
        class.cacheable().is_ok_and(|class| matches!(class.cold_start, ColdStart::Warm { .. }))
    };
    match plan.classes.values().find(starts_warm) {
        Some(class) if plan.state_dir().is_none() => Err(Failure::Usage(format!(
            "class `{}` is to start warm, and there is no place to keep its hot keys over a restart: write `state_dir` under \
             [warm], or `cold_start = \"empty\"`",
            class.name()
        ))),
        _ => Ok(()),
    }
}

/// The server's settings, from the plan's.
pub(super) fn settings(server: &ServerSettings) -> Result<Settings, Failure> {
    let secret = server.password_file.as_ref().map(setup::token);
    let mut resp_config = resp::Config {
        clients_max: server.clients_max,
        commands_per_turn: server.pipeline_max,
        idle_timeout: Some(server.idle_timeout),
        drain_timeout: server.write_timeout,
        ..resp::Config::default()
    };
    let frame_bytes_max = u32::try_from(server.frame_bytes_max).unwrap_or(u32::MAX);
    resp_config.limits.frame_bytes_max = frame_bytes_max;
    resp_config.limits.bulk_bytes_max = resp_config.limits.bulk_bytes_max.min(frame_bytes_max);
    let http_limits = http::Limits {
        connections_max: server.clients_max,
        body_bytes_max: server.frame_bytes_max,
        ..http::Limits::default()
    };
    let settings = Settings {
        resp: server.resp,
        http: server.http,
        secret: secret.transpose()?,
        resp_config,
        http_limits,
        fleet: None,
        warm: warm::Settings::default(),
    };
    Ok(settings.stop_timeout(server.shutdown_timeout))
}

/// The one line on standard output: programs wait for it.
pub(super) fn announce(running: &Running) -> Result<(), Failure> {
    let shown = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| "off".to_owned(), |address| address.to_string())
    };
    let mut out = std::io::stdout();
    writeln!(out, "listening resp={} http={}", shown(running.resp()), shown(running.http()))
        .and_then(|()| out.flush())
        .map_err(|error| Failure::system("cannot write to standard output", &error))
}

/// What an operator can tell the process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::system("cannot listen for signals", &error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns when the process is asked to end.
    pub(super) async fn asked_to_end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn serve_until_asked(&mut self, args: &Args, plan: &Plan, running: &Running) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                () = running.failed() => return,
                _ = self.hang_up.recv() => look_again(args, plan),
            }
        }
    }
}

/// Reads the configuration again. What stands keeps being served; a change of it needs a restart.
fn look_again(args: &Args, plan: &Plan) {
    match args.plan() {
        Err(failure) => {
            tracing::error!(%failure, "the configuration does not hold; the one before stays in force")
        }
        Ok(read) if read.classes == plan.classes || read.classes.is_empty() => {
            tracing::info!("the configuration holds, and its classes are those that are served");
        }
        Ok(_) => {
            tracing::warn!("the configuration holds, and its classes have changed: restart to serve them")
        }
    }
}
