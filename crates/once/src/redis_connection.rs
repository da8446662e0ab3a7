//! A connection to Redis that is made when it is needed, and made anew after any failure.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ScriptInvocation, Value,
    aio::MultiplexedConnection, cluster::ClusterClient, cluster_async::ClusterConnection,
};
use tokio::sync::Mutex;

use crate::error::OnceError;

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A server or a cluster, and the connection to it that there is.
pub(crate) struct Remote {
    target: Target,
    connection: Mutex<Option<Connection>>,
}

enum Target {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Remote {
    pub(crate) fn single(url: &str) -> Result<Self, OnceError> {
        let client = Client::open(url).map_err(|why| unusable(&why))?;
        Ok(Self { target: Target::Single(Box::new(client)), connection: Mutex::default() })
    }

    pub(crate) fn cluster(urls: &[&str]) -> Result<Self, OnceError> {
        let client = ClusterClient::builder(urls.to_vec())
            .connection_timeout(CONNECT_LIMIT)
            .response_timeout(ANSWER_LIMIT)
            .build()
            .map_err(|why| unusable(&why))?;
        Ok(Self { target: Target::Cluster(Box::new(client)), connection: Mutex::default() })
    }

    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = async {
            match self.connection().await? {
                Connection::Single(mut connection) => command.query_async(&mut connection).await,
                Connection::Cluster(mut connection) => command.query_async(&mut connection).await,
            }
        };
        self.in_time(answer).await
    }

    pub(crate) async fn run(&self, script: &ScriptInvocation<'_>) -> Result<Value, RedisError> {
        let answer = async {
            match self.connection().await? {
                Connection::Single(mut connection) => script.invoke_async(&mut connection).await,
                Connection::Cluster(mut connection) => script.invoke_async(&mut connection).await,
            }
        };
        self.in_time(answer).await
    }

    async fn in_time(
        &self,
        answer: impl Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, RedisError> {
        let answer = match tokio::time::timeout(CONNECT_LIMIT + ANSWER_LIMIT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err((ErrorKind::Io, "Redis did not answer in time").into()),
        };
        if answer.as_ref().is_err_and(|why| why.code().is_none()) {
            // No answer of the server's: a connection that hung once would hang again.
            *self.connection.lock().await = None;
        }
        answer
    }

    /// The connection there is, or a new one.
    async fn connection(&self) -> Result<Connection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let made = match &self.target {
            Target::Single(client) => {
                Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Target::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        *held = Some(made.clone());
        Ok(made)
    }
}

fn unusable(why: &RedisError) -> OnceError {
    OnceError::invalid("the address of Redis", format!("cannot be used: {}", why.category()))
}
