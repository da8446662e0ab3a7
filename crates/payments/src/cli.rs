//! The command line.

use std::{
    fs, io::Write as _, net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::PathBuf, process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use once::{Once, Options, jobs::BusinessDate, lease::owner_name};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{PLAN, Source},
    demo,
    error::Failed,
    gateway::{GatewayAddress, Terms},
    http::document,
    run::{Events, Nightly, Service, Settings, StartError, open_database},
    secret::Secret,
    service::{Executed, Settled, audit, execute, settle},
};

/// Exit code of a finding.
const FINDING: u8 = 1;
/// Exit code of what could not be started or reached.
const UNREACHABLE: u8 = 3;

/// Wallets, transfers and card charges, in front of which a cache shows and never decides.
///
/// Without a command: serves a demonstration out of one folder, with SQLite and a gateway that charges nothing.
#[derive(Parser)]
#[command(name = "payments", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serves.
    Serve(Box<Serve>),
    /// Runs the settlement of a date, or goes on with it; does nothing where it has been run.
    Settle {
        /// The date that it is about, such as 2026-11-26.
        #[arg(long)]
        date: String,
        #[command(flatten)]
        place: Place,
    },
    /// Carries out the standing orders that are due on a date, or goes on with it; does nothing where it has been run.
    StandingOrders {
        /// The date, such as 2026-11-26.
        #[arg(long)]
        date: String,
        #[command(flatten)]
        place: Place,
    },
    /// Checks the books: exit code 1 where they are not right.
    Audit {
        #[command(flatten)]
        place: Place,
    },
    /// Prints the OpenAPI document.
    Openapi,
}

#[derive(Args, Clone)]
struct Place {
    /// `sqlite:PATH` or `postgres://USER@HOST:PORT/DATABASE`; unless stated a file in the data folder.
    #[arg(long, env = "PAYMENTS_DATABASE")]
    database: Option<String>,
    /// The folder for everything that is kept beside the database.
    #[arg(long, env = "PAYMENTS_DATA", default_value = "payments-data")]
    data: PathBuf,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    place: Place,
    /// Where to listen.
    #[arg(long, env = "PAYMENTS_HTTP", default_value = "127.0.0.1:7390")]
    http: SocketAddr,
    /// The remote tier: `redis://HOST:PORT`, or `redis-cluster://HOST:PORT`, several separated by commas.
    #[arg(long, env = "PAYMENTS_L2", value_delimiter = ',')]
    l2: Vec<String>,
    /// A file with the secret that all instances share, 32 bytes or more; unless stated one is drawn in the data folder.
    #[arg(long, env = "PAYMENTS_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// The card gateway, `https://HOST:PORT`, or `HOST:PORT` without TLS; unless stated a sandbox within this process, which charges nothing.
    #[arg(long, env = "PAYMENTS_GATEWAY")]
    gateway: Option<String>,
    /// A file of the certificates (PEM) that the gateway's is to lead to; unless stated those of the operating system.
    #[arg(long, env = "PAYMENTS_GATEWAY_ROOTS", requires = "gateway")]
    gateway_roots: Option<PathBuf>,
    /// Where the outbox's messages go, as a Redis stream: `redis://HOST:PORT`, or `redis-cluster://HOST:PORT,HOST:PORT`; unless stated they
    /// are consumed by this service alone.
    #[arg(long, env = "PAYMENTS_EVENTS")]
    events: Option<Events>,
    /// From which time of the day on (UTC, such as 02:30) the day's jobs run by themselves, on one of the instances: standing orders, and the settlement of the day
    /// before. Unless stated they run when somebody runs them.
    #[arg(long, env = "PAYMENTS_NIGHTLY")]
    nightly: Option<Nightly>,
    /// A plan of what is cached in place of the one that is built in.
    #[arg(long, env = "PAYMENTS_PLAN")]
    plan: Option<PathBuf>,
    /// Makes a tenant to try things with.
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    tuning: Tuning,
}

/// Times, in ms; the defaults are for production.
#[derive(Args)]
struct Tuning {
    /// How long a claim is held.
    #[arg(long, hide = true)]
    lease_ms: Option<u64>,
    /// How long finished keys are kept.
    #[arg(long, hide = true)]
    retention_ms: Option<u64>,
    /// For how long the gateway knows a key.
    #[arg(long, hide = true)]
    key_window_ms: Option<u64>,
    /// How long before that it is not used any more.
    #[arg(long, hide = true)]
    margin_ms: Option<u64>,
    /// After how long a request to the gateway cannot be under way any more.
    #[arg(long, hide = true)]
    in_flight_ms: Option<u64>,
    /// How long the gateway may take to answer.
    #[arg(long, hide = true)]
    gateway_timeout_ms: Option<u64>,
    /// How long a killed relay keeps the next one waiting.
    #[arg(long, hide = true)]
    relay_ttl_ms: Option<u64>,
}

impl Tuning {
    fn terms(&self) -> Terms {
        let usual = Terms::default();
        let or = |ms: Option<u64>, usual| ms.map_or(usual, Duration::from_millis);
        Terms {
            key_window: or(self.key_window_ms, usual.key_window),
            margin: or(self.margin_ms, usual.margin),
            in_flight_max: or(self.in_flight_ms, usual.in_flight_max),
            timeout: or(self.gateway_timeout_ms, usual.timeout),
        }
    }

    fn keys(&self) -> Options {
        let mut options = Options::new();
        if let Some(ms) = self.lease_ms {
            options = options.lease(Duration::from_millis(ms));
        }
        if let Some(ms) = self.retention_ms {
            options = options.retention(Duration::from_millis(ms));
        }
        options
    }
}

impl Place {
    fn source(&self) -> Result<Source, StartError> {
        match &self.database {
            None => Ok(Source::Sqlite(self.data.join("payments.db"))),
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Source::Postgres(url.clone()))
            }
            Some(url) => match url.strip_prefix("sqlite:") {
                Some(path) if !path.is_empty() => Ok(Source::Sqlite(path.into())),
                _ => Err(StartError::Address(
                    "write sqlite:PATH or postgres://USER@HOST:PORT/DATABASE".to_owned(),
                )),
            },
        }
    }

    fn make_folder(&self) -> Result<(), StartError> {
        let system =
            |why| StartError::System { what: format!("the data folder {}", self.data.display()), why };
        // The database in it is the owner's alone to read.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data).map_err(system)
    }
}

/// Runs the command that was given.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => start(&Serve { demo: true, ..cli.serve }).await,
        Some(Command::Serve(serve)) => start(&serve).await,
        Some(Command::Settle { date, place }) => settlement(&date, &place).await,
        Some(Command::StandingOrders { date, place }) => standing_orders(&date, &place).await,
        Some(Command::Audit { place }) => books(&place).await,
        Some(Command::Openapi) => {
            print(&document().to_pretty_json().unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        tracing::error!(%error, "payments cannot go on");
        ExitCode::from(UNREACHABLE)
    })
}

async fn start(serve: &Serve) -> Result<ExitCode, StartError> {
    serve.place.make_folder()?;
    let data = serve.place.data.clone();
    let secret = match &serve.secret_file {
        Some(path) => Secret::read(path)?,
        None => Secret::read_or_draw(&data.join("secret"))?,
    };
    let system = |what: String| move |why| StartError::System { what, why };
    let plan = match &serve.plan {
        Some(path) => fs::read_to_string(path).map_err(system(format!("the plan {}", path.display())))?,
        None => PLAN.to_owned(),
    };
    let listener =
        TcpListener::bind(serve.http).await.map_err(system(format!("listening on {}", serve.http)))?;
    let http = listener.local_addr().map_err(system("our own address".to_owned()))?;
    let roots = serve.gateway_roots.as_deref();
    let gateway = serve.gateway.as_ref().map(|text| GatewayAddress::parse(text, roots)).transpose()?;
    let settings = Settings {
        source: serve.place.source()?,
        plan,
        l2: serve.l2.clone(),
        secret: secret.clone(),
        gateway,
        terms: serve.tuning.terms(),
        data: data.clone(),
        keys: serve.tuning.keys(),
        relay_ttl: serve.tuning.relay_ttl_ms.map_or(once::limits::LEASE_TTL_DEFAULT, Duration::from_millis),
        events: serve.events.clone(),
        nightly: serve.nightly,
    };
    let service = Service::open(settings, listener).await?;
    if serve.demo {
        demo::seed(service.app().database(), &secret, &data).await?;
        print(&demo::tour(&http.to_string(), &data));
    }
    tracing::info!(%http, "payments serves");
    let stop = CancellationToken::new();
    let waiting = stop.clone();
    let signals = trueup::engine::env::spawn("payments signals", async move {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::warn!("signals cannot be heard; end the process by force");
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("payments stops: requests under way are answered first");
        waiting.cancel();
    });
    service.serve(stop).await;
    signals.stop();
    Ok(ExitCode::SUCCESS)
}

async fn settlement(date: &str, place: &Place) -> Result<ExitCode, StartError> {
    let date: BusinessDate = date.parse().map_err(|why: once::OnceError| StartError::Database(why.into()))?;
    let once = Once::new(open_database(&place.source()?).await?, Options::new());
    match settle(&once, date, &owner_name()).await? {
        Settled::Ran { posted } => {
            print(&format!("the settlement of {date} ran to its end; {posted} postings were made now\n"))
        }
        Settled::Finished => print(&format!("the settlement of {date} has been run\n")),
        Settled::Elsewhere { owner } => {
            print(&format!("{owner} runs the settlement; nothing was done here\n"));
            return Ok(ExitCode::from(FINDING));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn standing_orders(date: &str, place: &Place) -> Result<ExitCode, StartError> {
    let date: BusinessDate = date.parse().map_err(|why: once::OnceError| StartError::Database(why.into()))?;
    let once = Once::new(open_database(&place.source()?).await?, Options::new());
    match execute(&once, date, &owner_name()).await? {
        Executed::Ran { made, declined } => print(&format!(
            "the standing orders of {date} ran to their end; {made} were carried out now and {declined} declined\n"
        )),
        Executed::Finished => print(&format!("the standing orders of {date} have been run\n")),
        Executed::Elsewhere { owner } => {
            print(&format!("{owner} runs the standing orders; nothing was done here\n"));
            return Ok(ExitCode::from(FINDING));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn books(place: &Place) -> Result<ExitCode, StartError> {
    let found = audit(&open_database(&place.source()?).await?)
        .await
        .map_err(|error: Failed| StartError::Database(error))?;
    print(&format!("{found:#?}\n"));
    Ok(if found.is_right() { ExitCode::SUCCESS } else { ExitCode::from(FINDING) })
}

/// To standard output; who has closed it does not want it.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
