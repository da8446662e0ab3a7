//! What following needs of the source's handle.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_postgres::config::Host as ServerHost;
use trueup_core::env::{BoxFuture, Clock, spawn};

use super::{error::FeedError, mapper::Mapper, options::FeedOptions, status::FeedStatus};
use crate::postgres::{
    ask::Answer,
    connect::{configured, read_password},
    error::PostgresError,
    handle::Shared,
    identity::Identity,
};

/// Where servers listen unless their address says otherwise.
const PORT_DEFAULT: u16 = 5432;

/// How changes become tags.
pub(super) struct Mapping {
    pub(super) mapper: Arc<dyn Mapper>,
    /// Equal on all nodes that map alike.
    pub(super) digest: [u8; 16],
}

/// The source's handle, as the feed sees it.
pub(super) trait Host: Send + Sync + 'static {
    /// How to connect for replication, in the form `key='value' ...`.
    fn conninfo(&self) -> Result<String, FeedError>;

    /// A plain connection of the feed's own.
    fn open(&self) -> BoxFuture<'_, Result<tokio_postgres::Client, FeedError>>;

    /// How far is the source, what is visible, and has the catalogue moved?
    fn ask(&self) -> BoxFuture<'_, Result<Answer, FeedError>>;

    /// The catalogue has moved: relations are read again, classes whose relations moved are told.
    fn catalogue_moved(&self) -> BoxFuture<'_, Result<(), FeedError>>;

    /// The node has entered the epoch of `identity`, or left it.
    fn set_identity(&self, identity: Option<Identity>);

    /// The only cluster that this handle knows.
    fn system_id(&self) -> u64;

    /// The identity that was set last.
    fn identity(&self) -> Option<Identity>;

    /// How changes become tags now.
    fn mapping(&self) -> Mapping;

    /// How to follow.
    fn options(&self) -> &FeedOptions;

    /// Longest pause between two questions now.
    fn ask_idle(&self) -> Duration;

    /// Where to say what is being done.
    fn status(&self) -> &FeedStatus;

    /// The clock.
    fn clock(&self) -> &Clock;
}

impl Host for Shared {
    fn conninfo(&self) -> Result<String, FeedError> {
        let config = &self.address.config;
        let tcp = config.get_hosts().iter().enumerate().find_map(|(i, host)| match host {
            ServerHost::Tcp(name) => Some((i, name.clone())),
            ServerHost::Unix(_) => None,
        });
        let Some((i, host)) = tcp else {
            let problem =
                "the change log is followed over TCP only; give a URL with a host name, such as localhost";
            return Err(FeedError::Source(problem.to_owned()));
        };
        let port = config.get_ports().get(i).or_else(|| config.get_ports().first()).copied();
        let user = config.get_user().unwrap_or_default().to_owned();
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        let given = config.get_password().map(|password| String::from_utf8_lossy(password).into_owned());
        // A file is read anew each time, so that a rotated password is taken up.
        let read = |path: &PathBuf| read_password(path).map_err(|e| failed(&e));
        let password = self.options.password_file.as_ref().map(read).transpose()?.or(given);
        let own = [
            Some(("host", host)),
            Some(("port", port.unwrap_or(PORT_DEFAULT).to_string())),
            Some(("user", user)),
            Some(("dbname", database)),
            password.map(|password| ("password", password)),
        ];
        let all = own.into_iter().flatten().chain(self.address.ssl.iter().cloned());
        let all = all.map(|(name, value)| format!("{name}='{}'", value.replace('\'', "''")));
        Ok(all.collect::<Vec<_>>().join(" "))
    }

    fn open(&self) -> BoxFuture<'_, Result<tokio_postgres::Client, FeedError>> {
        Box::pin(async move {
            let doing = "connecting";
            let mut config = configured(&self.address, &self.options);
            if let Some(path) = &self.options.password_file {
                config.password(read_password(path).map_err(|e| failed(&e))?);
            }
            let connect = config.connect(self.address.tls.make());
            let limit = self.options.connect_wait;
            let connected = tokio::time::timeout(limit, connect).await;
            let connected = connected.map_err(|_| FeedError::Late { doing, limit })?;
            let (client, connection) = connected.map_err(|e| FeedError::database(doing, &e))?;
            // Ends with its client.
            spawn("a connection of the feed", async move { drop(connection.await) });
            Ok(client)
        })
    }

    fn ask(&self) -> BoxFuture<'_, Result<Answer, FeedError>> {
        Box::pin(async move { Self::ask(self).await.map_err(|e| failed(&e)) })
    }

    fn catalogue_moved(&self) -> BoxFuture<'_, Result<(), FeedError>> {
        Box::pin(async move { Self::catalogue_moved(self).await.map_err(|e| failed(&e)) })
    }

    fn set_identity(&self, identity: Option<Identity>) {
        Self::set_identity(self, identity);
    }

    fn system_id(&self) -> u64 {
        self.system_id
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.load().as_deref().copied()
    }

    fn mapping(&self) -> Mapping {
        let registry = self.registry.load_full();
        let digest = self.feed_status.mapping_digest(&registry);
        Mapping { mapper: registry, digest }
    }

    fn options(&self) -> &FeedOptions {
        &self.options.feed
    }

    fn ask_idle(&self) -> Duration {
        Duration::from_micros(self.ask_idle_us.load(Ordering::Relaxed))
    }

    fn status(&self) -> &FeedStatus {
        &self.feed_status
    }

    fn clock(&self) -> &Clock {
        &self.options.clock
    }
}

fn failed(error: &PostgresError) -> FeedError {
    FeedError::Source(error.to_string())
}
