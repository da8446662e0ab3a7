//! A Redis server of an incident's own: to count what it is asked, and to be killed.

use std::{net::SocketAddr, time::Duration};

use redis::{
    AsyncCommands as _,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use trueup::redis::{Redis, RedisOptions};
use trueup_testbed::{Redis as Server, RedisOptions as ServerOptions};

use crate::{
    proxy::{Proxy, Weather},
    world::{LabError, blocking},
};

/// How long the application waits for its cache, and Trueup for its remote tier: the network has such waits.
const PATIENCE: Duration = Duration::from_millis(250);

/// The server, behind a network.
pub(super) struct OwnRedis {
    server: Server,
    way: Proxy,
}

/// The application's connection: `GET`, and `SET` with a life. A cache that fails is asked again next time, and the
/// database instead.
#[derive(Clone)]
pub(super) struct Client(ConnectionManager);

impl OwnRedis {
    /// Starts it; `seed` chooses the waits of the network.
    pub(super) async fn start(seed: u64) -> Result<Self, LabError> {
        let server = blocking(|| Ok(Server::start(&ServerOptions::default())?))?;
        let way = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), seed).await?;
        way.set(Weather::uneven());
        Ok(Self { server, way })
    }

    fn url(&self) -> String {
        format!("redis://{}", self.way.address())
    }

    /// The server as a remote tier.
    pub(super) fn tier(&self) -> Redis {
        let mut options = RedisOptions::default();
        (options.get_timeout, options.put_timeout) = (PATIENCE, PATIENCE);
        Redis::standalone(&self.url()).options(options)
    }

    pub(super) fn kill(&mut self) {
        self.server.kill();
    }

    /// The same, empty.
    pub(super) fn start_again(&mut self) -> Result<(), LabError> {
        blocking(|| Ok(self.server.start_again()?))
    }

    /// How many keys it has been asked for since it was started.
    pub(super) fn asked(&self) -> Result<u64, LabError> {
        let info = blocking(|| Ok(self.server.cli(&["INFO", "stats"])?))?;
        let of =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let both = of("keyspace_hits:").zip(of("keyspace_misses:"));
        both.map(|(hits, misses)| hits + misses)
            .ok_or_else(|| LabError::failed("what Redis was asked", "it does not say"))
    }

    /// A connection as an application has it.
    pub(super) async fn client(&self) -> Result<Client, LabError> {
        let settings = ConnectionManagerConfig::new()
            .set_response_timeout(Some(PATIENCE))
            .set_connection_timeout(Some(PATIENCE))
            .set_number_of_retries(0);
        let client = redis::Client::open(self.url())?;
        Ok(Client(ConnectionManager::new_with_config(client, settings).await?))
    }
}

impl Client {
    pub(super) async fn get(&self, key: &str) -> Result<Option<String>, LabError> {
        Ok(self.0.clone().get(key).await?)
    }

    pub(super) async fn set(&self, key: &str, value: &str, life: Duration) -> Result<(), LabError> {
        Ok(self.0.clone().pset_ex(key, value, life.as_millis() as u64).await?)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), LabError> {
        Ok(self.0.clone().del(key).await?)
    }
}
