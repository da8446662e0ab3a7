//! The service as a whole: database, cache, gateway, background tasks, listener.

mod events;
mod nightly;

use std::{path::PathBuf, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use once::{
    Completer, Once, Options,
    postgres::{PostgresOptions, PostgresStore},
    sqlite::SqliteStore,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trueup::{
    engine::env::{self, Task},
    postgres::{Dialer, PostgresOptions as ConnectionOptions},
};

pub use self::{events::Events, nightly::Nightly};

use crate::{
    cache::{CacheError, Shown, Source},
    error::Failed,
    gateway::{GatewayAddress, GatewayError, HttpGateway, Terms, fake},
    http::{Limits, router, serve},
    secret::{Secret, SecretError},
    service::{App, Completion, FileDelivery},
    store::{Database, migrate},
};

/// What the server is told of who connects.
const APPLICATION_NAME: &str = "payments";
/// Connections to PostgreSQL for transactions.
const CONNECTIONS_MAX: usize = 32;
/// Longest wait for one of them.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for a row that others change: a wallet that many pay from at once has a queue.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How the service is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database of record.
    pub source: Source,
    /// What is cached, and for how long: [`PLAN`](crate::cache::PLAN), or one with other lives. What is never cached has no way into a
    /// cache, whatever stands here.
    pub plan: String,
    /// URLs of the remote tier, if there is one.
    pub l2: Vec<String>,
    /// The service's secret.
    pub secret: Secret,
    /// The gateway; without one the sandbox.
    pub gateway: Option<GatewayAddress>,
    /// What the gateway promises.
    pub terms: Terms,
    /// Where codes are delivered, and where the sandbox keeps its book.
    pub data: PathBuf,
    /// What the service decides about its keys.
    pub keys: Options,
    /// How long a relay that was killed keeps the next one waiting.
    pub relay_ttl: Duration,
    /// Where messages go; without it they are consumed by this service alone.
    pub events: Option<Events>,
    /// When the jobs of a day run by themselves; without it somebody runs them.
    pub nightly: Option<Nightly>,
}

/// The service could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The database.
    #[error(transparent)]
    Database(#[from] Failed),
    /// The database's address.
    #[error("the database's address: {0}")]
    Address(String),
    /// The database's address, or its certificates.
    #[error(transparent)]
    Postgres(#[from] trueup::postgres::PostgresError),
    /// The gateway's address, or its certificates.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Where messages are to go.
    #[error("--events: {0}")]
    Events(once::OnceError),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file, a folder or a port.
    #[error("{what}: {why}")]
    System {
        /// What was wanted.
        what: String,
        /// What the system says.
        why: std::io::Error,
    },
}

/// A service that has been opened.
#[derive(Debug)]
pub struct Service {
    app: App,
    listener: TcpListener,
    tasks: Vec<Task>,
}

/// The transactions' way to a database, with its tables made or updated.
///
/// # Errors
/// [`StartError`].
pub async fn open_database(source: &Source) -> Result<Database, StartError> {
    let database = match source {
        Source::Sqlite(path) => Database::Sqlite(SqliteStore::new(path)),
        Source::Postgres(url) => {
            // As the cache's own connections are made: `sslmode` and `sslrootcert` mean the same to both.
            let options = ConnectionOptions {
                application_name: APPLICATION_NAME.to_owned(),
                ..ConnectionOptions::default()
            };
            let (config, dialer) = Dialer::of_url(url, &options)?;
            let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let pool = Pool::builder(Manager::from_connect(config, dialer, recycling))
                .max_size(CONNECTIONS_MAX)
                .timeouts(Timeouts {
                    wait: Some(CONNECTION_WAIT),
                    create: Some(CONNECTION_WAIT),
                    recycle: Some(CONNECTION_WAIT),
                })
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|why| StartError::Address(why.to_string()))?;
            let options = PostgresOptions { lock_wait: LOCK_WAIT, ..PostgresOptions::default() };
            Database::Postgres(PostgresStore::with_options(pool, options))
        }
    };
    migrate(&database).await?;
    Ok(database)
}

impl Service {
    /// Opens everything, and begins what runs in the background.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: Settings, listener: TcpListener) -> Result<Self, StartError> {
        let database = open_database(&settings.source).await?;
        let once = Once::new(database, settings.keys.clone());
        let shown = Shown::open(&settings.source, &settings.plan, &settings.l2).await?;
        let mut tasks = Vec::new();
        let gateway = match &settings.gateway {
            Some(address) => address.clone(),
            None => {
                let (address, task) = sandbox(&settings, &listener).await?;
                tasks.push(task);
                GatewayAddress::plain(address)
            }
        };
        let gateway = Arc::new(HttpGateway::new(gateway, settings.terms));
        let delivery = Arc::new(FileDelivery::new(settings.data.join("codes.txt")));
        let app = App::new(once.clone(), shown, gateway, delivery, settings.secret.clone());
        tasks.push(Completer::new(once.clone(), Completion::new(app.clone())).start());
        tasks.push(once.start_reaper());
        tasks.extend(events::start(&once, settings.events.as_ref(), settings.relay_ttl)?);
        tasks.extend(settings.nightly.map(|nightly| nightly.start(once)));
        Ok(Self { app, listener, tasks })
    }

    /// The service, for what is to be done beside it.
    #[must_use]
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop` is cancelled and the requests under way are answered, then ends what runs in the background.
    pub async fn serve(self, stop: CancellationToken) {
        serve(self.listener, router(&self.app), Limits::default(), stop).await;
        // Whatever they are at is undone by the database, and done by the next instance.
        for task in &self.tasks {
            task.stop();
        }
        for task in self.tasks {
            task.ended().await;
        }
        self.app.shown().shut_down().await;
    }
}

/// A gateway that charges nothing, within this process.
async fn sandbox(settings: &Settings, ours: &TcpListener) -> Result<(String, Task), StartError> {
    let system = |what: &str| {
        let what = what.to_owned();
        move |why| StartError::System { what, why }
    };
    let listener =
        TcpListener::bind("127.0.0.1:0").await.map_err(system("a port for the sandbox of the gateway"))?;
    let address = listener.local_addr().map_err(system("the sandbox's port"))?.to_string();
    let webhook = ours.local_addr().map_err(system("our own port"))?.to_string();
    let options = fake::FakeOptions {
        key_window: settings.terms.key_window,
        webhook: Some((webhook, "/webhooks/gateway".to_owned())),
        webhook_key: crate::gateway::WebhookKey::new(settings.secret.derive("webhooks")),
        book: Some(settings.data.join("sandbox-gateway.jsonl")),
    };
    let router = fake::router(options).map_err(system("the sandbox's book"))?;
    let task = env::spawn("payments sandbox gateway", async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the sandbox of the gateway has ended");
        }
    });
    Ok((address, task))
}
