//! Connections and their pools.

use std::{future::Future, path::PathBuf, pin::Pin, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod,
    Runtime,
};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error};

use super::{
    address::Address,
    error::PostgresError,
    options::{PEER_SILENCE_MAX, PostgresOptions},
    tls::Tls,
};

/// What every session of ours sets, whatever role and database say, so that a value has one text: tags and JSON are made
/// of these texts.
pub(in crate::postgres) const SESSION_OPTIONS: &str = "-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=postgres \
     -c extra_float_digits=1 -c bytea_output=hex -c client_encoding=UTF8 -c standard_conforming_strings=on";

/// What a pool's sessions may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Only read: a statement that locks or writes fails.
    Read,
    /// Anything.
    Write,
    /// The same few statements again and again: each is planned once. Planning the question of how far the source is takes
    /// longer than answering it, and the server would plan it anew each time.
    Ask,
}

/// What a pool's sessions are bound by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) access: Access,
    pub(super) connections_max: usize,
    /// Of each statement.
    pub(super) limit: Duration,
    /// Of each wait for a lock.
    pub(super) lock_wait: Duration,
}

/// What a first look at the server found, to which all later connections are held.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Which cluster it is.
    pub(super) system_id: u64,
    /// Where names are looked up: a name must not mean another table in the next session.
    pub(super) search_path: String,
}

/// A pool of connections to `address`; to this very server, whatever the address leads to meanwhile, where it is known.
pub(super) fn pool(
    address: &Address,
    options: &PostgresOptions,
    bounds: Bounds,
    server: Option<&Server>,
) -> Result<Pool, PostgresError> {
    let access = match bounds.access {
        Access::Read => " -c default_transaction_read_only=on",
        Access::Write => "",
        Access::Ask => " -c plan_cache_mode=force_generic_plan",
    };
    let session = format!(
        "{SESSION_OPTIONS} -c statement_timeout={} -c lock_timeout={}{access}",
        bounds.limit.as_millis().max(1),
        bounds.lock_wait.as_millis().max(1),
    );
    let search_path = server.map(|server| {
        let escaped = server.search_path.replace('\\', "\\\\").replace(' ', "\\ ");
        format!("{session} -c search_path={escaped}")
    });
    let session = search_path.unwrap_or(session);
    let system_id = server.map(|server| server.system_id);
    let mut config = configured(address, options);
    // Ours stand last, and so win.
    let own = config.get_options().map(|given| format!("{given} {session}"));
    config.options(own.unwrap_or(session));
    let dialer = Dialer { tls: address.tls.clone(), password_file: options.password_file.clone() };
    let manager =
        Manager::from_connect(config, dialer, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let is_ours = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        Box::pin(async move {
            let Some(expected) = system_id else { return Ok(()) };
            let sql = "SELECT system_identifier FROM pg_control_system()";
            let row = client.query_one(sql, &[]).await.map_err(HookError::Backend)?;
            if row.get::<_, i64>(0).cast_unsigned() == expected {
                return Ok(());
            }
            Err(HookError::message(
                "another database cluster answers there than when this program was started; restart it if that is intended",
            ))
        })
    });
    Pool::builder(manager)
        .post_create(is_ours)
        .max_size(bounds.connections_max.max(1))
        // The one that was used last: server and processor have at hand what it needs.
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(bounds.limit))
        // None for taking one that is there: with `Fast` nothing is asked then.
        .create_timeout(Some(options.connect_wait))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| PostgresError::Unreachable {
            place: address.place().to_owned(),
            reason: error.to_string(),
        })
}

/// The address with what the options add to it.
pub(super) fn configured(address: &Address, options: &PostgresOptions) -> Config {
    let mut config = address.config.clone();
    config.application_name(&options.application_name).connect_timeout(options.connect_wait);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(PEER_SILENCE_MAX);
    }
    config.keepalives_idle(config.get_keepalives_idle().min(PEER_SILENCE_MAX));
    config
}

/// The password in `path`: its first line.
pub(super) fn read_password(path: &PathBuf) -> Result<String, PostgresError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().next().unwrap_or_default().to_owned()),
        Err(why) => Err(PostgresError::Password { path: path.clone(), reason: why.to_string() }),
    }
}

/// Makes connections as [`Postgres`](super::Postgres) does, for a pool of the service's own (`deadpool_postgres::Manager::from_connect`): `sslmode` and
/// `sslrootcert` of the URL mean what they mean to libpq. A password file is read anew each time, so that a rotated password is taken up.
pub struct Dialer {
    tls: Tls,
    password_file: Option<PathBuf>,
}

impl Dialer {
    /// What is to be connected to, and how, by a URL as [`Postgres::connect`](super::Postgres::connect) takes it. Of `options` the
    /// name of the application, the wait for a connection and the password file count.
    ///
    /// # Errors
    /// [`PostgresError`] where the URL or a file of certificates cannot be read.
    pub fn of_url(url: &str, options: &PostgresOptions) -> Result<(Config, Self), PostgresError> {
        let address = Address::parse(url)?;
        let config = configured(&address, options);
        Ok((config, Self { tls: address.tls, password_file: options.password_file.clone() }))
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("password_file", &self.password_file).finish_non_exhaustive()
    }
}

/// A connection, and the task that serves it.
type Dialed = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Dialer {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Dialed> + Send + '_>> {
        let mut config = config.clone();
        Box::pin(async move {
            // A file that cannot be read now could be at the start; the server says what it thinks of no password.
            if let Some(Ok(password)) = self.password_file.as_ref().map(read_password) {
                config.password(password);
            }
            let (client, connection) = config.connect(self.tls.make()).await?;
            #[expect(
                clippy::disallowed_methods,
                reason = "the pool owns the task and ends it with its connection"
            )]
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = super::error::words(&error), "a connection ended");
                }
            });
            Ok((client, task))
        })
    }
}
