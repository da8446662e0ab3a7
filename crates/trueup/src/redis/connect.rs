//! A connection to one server.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _,
    RedisConnectionInfo, TlsCertificates, aio::MultiplexedConnection, io::tcp::TcpSettings,
};

use super::{
    fault::{Failure, RedisError},
    options::Tls,
};
use crate::plan::{RemoteAddress, RemoteNode};

/// Commands that a connection takes in before it has sent them. The library's own default of 50 halves its throughput.
const PIPELINE_BUFFER: usize = 1_024;

/// How servers of one tier are spoken to.
#[derive(Debug)]
pub(super) struct Connector {
    greeting: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
    timeout: Duration,
}

impl Connector {
    /// # Errors
    /// [`RedisError::Certificates`].
    pub(super) fn new(address: &RemoteAddress, tls: &Tls, timeout: Duration) -> Result<Self, RedisError> {
        let mut greeting = RedisConnectionInfo::default()
            .set_db(address.database)
            .set_lib_name("trueup", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &address.user {
            greeting = greeting.set_username(user);
        }
        if let Some(password) = &address.password {
            greeting = greeting.set_password(password);
        }
        let client_tls = tls.client.clone();
        let certificates = address.has_tls.then(|| TlsCertificates {
            client_tls: client_tls
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
            root_cert: tls.roots.clone(),
        });
        let this = Self { greeting, certificates, timeout };
        // Certificates are read here once, so that bad ones are an error now and not at each attempt to connect.
        let node = address.nodes.first().cloned();
        let node = node.unwrap_or_else(|| RemoteNode { host: "localhost".to_owned(), port: 0 });
        this.client(&node).map_err(|why| RedisError::Certificates(why.to_string()))?;
        if tls.roots.as_ref().is_some_and(|pem| !holds_certificate(pem)) {
            return Err(RedisError::Certificates("there is no certificate in the file".to_owned()));
        }
        Ok(this)
    }

    fn client(&self, node: &RemoteNode) -> redis::RedisResult<Client> {
        let (host, port) = (node.host.clone(), node.port);
        let address = match &self.certificates {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(self.greeting.clone())
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    /// Connects and greets; the time for both is bounded.
    pub(super) async fn connect(&self, node: &RemoteNode) -> Result<MultiplexedConnection, Failure> {
        let client = self.client(node).map_err(|error| Failure::of(&error))?;
        // Answers are timed by the calls themselves.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::Late),
        }
    }
}

fn holds_certificate(pem: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    pem.windows(BEGIN.len()).any(|window| window == BEGIN)
}
